"""Runs evaluators over a trained model: opens the data, feeds the streams, gathers the reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from gentool.config import build_dataclass, check_data, data_config
from gentool.data.batch import Batch
from gentool.data.given import from_split
from gentool.data.pipeline import Pipeline, open_pipeline
from gentool.errors import UsageError
from gentool.evaluating import Context, Report
from gentool.randomness import Step, derive_seed, seed_default_generator
from gentool.registry import registry
from gentool.runs.source import Source
from gentool.sampling import Samples, draw
from gentool.specs import EvaluatorSpec, SamplerSpec

BATCH = 250


@dataclasses.dataclass
class Scorer:
    """Evaluates one source. `data`: the data set's name if another than it was trained on; `split` if not the usual;
    `sampler` and `sampler_changes` where samples are not to be drawn as the source's own settings have it."""

    source: Source
    device: torch.device
    seed: int = 0
    data: str | None = None
    split: str | None = None
    limit: int | None = None
    data_changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sampler: str | None = None
    sampler_changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    on_progress: Callable[[str, int, int], None] = lambda name, done, total: None
    drew: bool = dataclasses.field(default=False, init=False)  # whether an evaluator has asked for samples
    _pipeline: Pipeline | None = None
    _shared: dict[Any, Any] = dataclasses.field(default_factory=dict)

    @property
    def pipeline(self) -> Pipeline:
        """The data with the transforms the model was trained with."""
        if self._pipeline is None:
            trained = dict(self.source.meta.get("data", {}))
            changes = {**trained, **({"name": self.data} if self.data else {}), **self.data_changes}
            schema = data_config(check_data(str(changes["name"]), self.source.spec))
            known = {f.name for f in dataclasses.fields(schema)} | set(self.data_changes)
            config = build_dataclass(
                schema, {k: v for k, v in changes.items() if k in known}, "the checkpoint's data settings"
            )
            made: Pipeline = open_pipeline(
                config, self.device, self.seed, fetch=self.data is not None, vocabularies=self.source.info.vocabularies
            )
            made.check(self.source.info)
            self._pipeline = made
        return self._pipeline

    def context(self, spec: EvaluatorSpec) -> Context:
        split = self.split or spec.split

        def batches(which: str, limit: int | None) -> Iterator[Batch]:
            yield from self.pipeline.batches(which, BATCH, limit if limit is not None else self.limit)

        def samples(n: int) -> Iterator[Samples]:
            drawn = 0
            for event in self._draw(n):
                if isinstance(event, Samples):
                    drawn += len(event)
                    self.on_progress("samples", drawn, n)
                    yield event

        return Context(
            model=self.source.model,
            model_name=self.source.spec.name,
            info=self.source.info,
            step=Step(seed=self.seed, device=self.device, stream=f"eval.{spec.name}"),
            device=self.device,
            dataset=self.data or self.source.info.name or str(self.source.meta.get("data", {}).get("name", "")),
            split=split,
            limit=self.limit,
            open_batches=batches,
            draw_samples=samples,
            shared=self._shared,
            open_split=lambda which: self.pipeline.split(which),
        )

    def _draw(self, n: int) -> Iterator[Any]:
        self.drew = True
        spec, options = sampler_of(self.source, self.sampler, self.sampler_changes)
        given = from_split(self.pipeline, self.split or "test", n) if spec.pictures == "must" else None
        return draw(
            self.source.model,
            spec,
            options,
            n,
            seed=self.seed,
            device=self.device,
            chunk=BATCH,
            stream="eval.samples",
            given=given,
        )

    def run(self, spec: EvaluatorSpec, options: Mapping[str, Any]) -> Report:
        """One evaluator from its first batch to its report."""
        config = build_dataclass(spec.config, options, f"--set {spec.name}.*")
        context = self.context(spec)
        evaluator = registry().load(spec.factory)(config, context)
        seed_default_generator(derive_seed(self.seed, "eval", spec.name), self.device)
        if spec.streams != "none":
            total = self.pipeline.count(context.split)
            total = min(total, self.limit) if self.limit else total
            samples = self._draw(total) if spec.streams == "samples" else None
            done = 0
            with torch.no_grad():
                for batch in context.batches():
                    outputs = _next_samples(samples) if samples is not None else None
                    evaluator.update(batch, outputs)
                    done += len(batch)
                    self.on_progress(spec.name, min(done, total), total)
            if not done:
                raise UsageError(f"The split '{context.split}' of '{context.dataset}' is empty.")
        report: Report = evaluator.compute()
        return report


def sampler_of(
    source: Source, name: str | None = None, changes: Mapping[str, Any] | None = None
) -> tuple[SamplerSpec, dict[str, Any]]:
    """The sampler a source uses by default (or the one named), with the options it was trained with and the changes."""
    reg = registry()
    kept = str(source.meta.get("sampler") or source.spec.sampler or "")
    chosen = name or kept
    if not chosen:
        there = ", ".join(sorted(s.name for s in reg.fitting("sampler", source.spec))) or "none"
        raise UsageError(f"'{source.spec.name}' has no default sampler; samplers that fit: {there}.")
    spec: SamplerSpec = reg.find_fitting("sampler", chosen, source.spec)
    options = dict(source.meta.get("sampler_options", {})) if spec.name == kept else {}
    built = dataclasses.asdict(build_dataclass(spec.config, options, "the checkpoint's sampler settings"))
    if changes:
        built = dataclasses.asdict(build_dataclass(spec.config, {**built, **changes}, f"--set of sampler {spec.name}"))
    return spec, built


def choose(source: Source, names: Sequence[str]) -> list[EvaluatorSpec]:
    """The evaluators named by flags, or the model's own list; one that does not fit is refused."""
    reg = registry()
    return [reg.find_fitting("evaluator", name, source.spec) for name in (names or source.spec.evaluators)]


def _next_samples(events: Iterator[Any]) -> Samples:
    return next(event for event in events if isinstance(event, Samples))
