"""What a plugin may offer, as pluggy hook specifications. Each hook returns an iterable of frozen specs."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from gentool.specs import DatasetSpec, EvaluatorSpec, LossSpec, ModelSpec, SamplerSpec

hookspec = pluggy.HookspecMarker("gentool")
hookimpl = pluggy.HookimplMarker("gentool")


@hookspec
def gentool_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Models: what `gentool train NAME` can train."""


@hookspec
def gentool_losses() -> Iterable[LossSpec]:  # type: ignore[empty-body]
    """Objectives: generators of training phases (`--loss NAME`)."""


@hookspec
def gentool_samplers() -> Iterable[SamplerSpec]:  # type: ignore[empty-body]
    """Samplers: generators of partial and finished samples (`--sampler NAME`, `gentool viz --NAME`)."""


@hookspec
def gentool_evaluators() -> Iterable[EvaluatorSpec]:  # type: ignore[empty-body]
    """Evaluators: streams that end in a report (`gentool eval MODEL --NAME`)."""


@hookspec
def gentool_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Data sets, or prefixes such as `folder:` that open a user's own (`--data NAME`)."""
