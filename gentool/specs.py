"""Frozen descriptions of what a plugin offers. Light: nothing here or in a plugin's `__init__` imports torch.

Objects are named as ``"package.module:attribute"`` and imported only when they are used.

How parts find each other: a model *offers* capabilities (words such as ``"reconstruct"``), a loss, sampler or
evaluator *needs* some. A part fits a model when every word it needs is offered. `gentool/capabilities.py` is the
vocabulary: which methods each word promises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


class Output(StrEnum):
    """What a model gives: it decides which samplers, evaluators and viewers fit."""

    IMAGE = "image"
    TEXT = "text"
    BOXES = "boxes"
    LABEL = "label"
    MASK = "mask"
    DEPTH = "depth"
    FEATURES = "features"


def option(
    default: T,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    initial: bool = False,
) -> T:
    """A documented dataclass field of a config. `ge`, `gt`, `le`, `lt` bound a number; use ``Literal`` for choices.

    initial: a model's setting that matters only where its training begins, such as a file of weights to start from:
    checkpoints, and runs that go on from one, do without it.

    Use it only inside frozen dataclasses: ``hidden: int = option(512, "width of the hidden layers", ge=1)``.
    """
    limits = {key: limit for key, limit in (("ge", ge), ("gt", gt), ("le", le), ("lt", lt)) if limit is not None}
    made: Any = field(default=default, metadata={"help": help, "limits": limits, "initial": initial})
    return made  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class NoConfig:
    """The config of a part that has nothing to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model: a `torch.nn.Module` made as ``factory(config, info)`` with `info` a `gentool.DataInfo`.

    The module keeps both as ``model.config`` and ``model.info``. A conditional one has ``model.conditional = True``
    and takes ``labels`` (int64, shape (N,)) wherever its capabilities name them.
    """

    name: str  # what the user types: "vqvae"
    summary: str  # one line for `gentool list`
    factory: str  # "gentool_vqvae.model:VQVAE"
    config: type  # a frozen dataclass of typed, documented fields (`option`)
    output: Output
    loss: str  # default names in the other registries
    sampler: str | None
    evaluators: tuple[str, ...]
    dataset: str  # default, embedded
    offers: tuple[str, ...]  # capabilities, see gentool/capabilities.py
    paper: str
    inputs: tuple[str, ...] = ("image",)  # fields of a Batch it reads: "image", "label", "tokens", "boxes", ...
    phases: tuple[str, ...] = ("model",)  # submodules with an optimiser each; "model" is the whole
    defaults: Mapping[str, object] = field(default_factory=dict)  # dotted keys over the host's defaults
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # "debug" trains two steps in a second
    checkpoints: Mapping[str, str] = field(default_factory=dict)  # preset -> file in the package, the first is default
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """An objective: ``factory(config)`` gives a callable ``(model, batch, step) -> Iterator[Phase]``.

    With `monitor`, validation runs the objective without gradients in eval mode, and the named scalar (or phase)
    decides the best checkpoint: smaller is better. Without, there is no validation pass (adversarial games).
    """

    name: str
    summary: str
    factory: str
    needs: tuple[str, ...]
    config: type = NoConfig
    monitor: str | None = None
    paper: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSpec:
    """A sampler: a generator function ``(model, n, *, step, labels=None, **options) -> Iterator[Partial | Samples]``.

    `options` are the fields of `config`. It yields `Partial`s as it goes and ends with one `Samples` of n items.
    With `view`, it is a way to look at a model (`gentool viz MODEL --NAME`): n is ignored and the picture is laid out
    by the sampler (`Samples.columns`).

    With `pictures`, it starts from pictures, and takes ``given``, a `gentool.Batch` of n of them as the model's data
    settings make it: "must" (a detector) is given those of `--image`, or else some of the test split; "may" (completing
    or changing a picture) is given those of `--image`, or None. Boxes that it finds are in pixels of ``given.images``;
    the host maps them back to the pictures they came from.
    """

    name: str
    summary: str
    factory: str
    needs: tuple[str, ...]
    output: Output = Output.IMAGE
    config: type = NoConfig
    view: bool = False
    pictures: str = ""  # "may" or "must": whether it starts from pictures
    paper: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSpec:
    """An evaluator: ``factory(config, context)`` gives an object with `update`, `merge` and `compute`.

    `streams` says what the host feeds to ``update(batch, outputs)``: ``"data"`` (outputs is None), ``"samples"``
    (outputs is a `Samples` as large as the batch), or ``"none"``: `compute` does everything by the context.

    `predictions` names a function ``(config, gentool.evaluating.Predictions) -> Report`` that scores what any program
    wrote into a file (`gentool eval MODEL --NAME --predictions FILE`); no model is opened.
    """

    name: str
    summary: str
    factory: str
    needs: tuple[str, ...]
    outputs: tuple[Output, ...] = (Output.IMAGE,)
    config: type = NoConfig
    streams: str = "data"
    split: str = "test"  # the split `update` sees by default
    view: bool = False  # also offered by `gentool viz MODEL --NAME`
    predictions: str = ""
    paper: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """A data set: ``factory(argument, split, where)`` gives one split of it, as its `kind` wants it.

    `argument` is what follows the colon of a `prefix` set (``folder:PATH``) or "". `fields` are those a Batch of it has.
    `kind` (`gentool.data.kinds`) decides the settings `data.*` and how batches are made: "images" wants a
    `gentool.data.sets.Dataset`, "text" a `gentool.data.text.TextSet`, "pairs" a `gentool.data.pairs.PairSet`, "boxes" a
    `gentool.data.boxes.BoxSet`.

    `truth` names a function of the same arguments that gives a split's boxes as they are written, without opening a
    picture (`gentool.data.ground_truth.GroundTruth`), or None where it cannot: then they are those of the set.
    """

    name: str
    summary: str
    factory: str
    fields: tuple[str, ...]  # "image", "label", ...
    licence: str
    origin: str  # "embedded", "named" (found or fetched by name) or "own" (a prefix)
    kind: str = "images"
    prefix: bool = False
    size: str = ""  # how much there is: "60,000 + 10,000 of 28x28 grey"
    truth: str = ""
    aliases: tuple[str, ...] = ()


Spec = ModelSpec | LossSpec | SamplerSpec | EvaluatorSpec | DatasetSpec

KINDS: Mapping[str, type] = {
    "model": ModelSpec,
    "loss": LossSpec,
    "sampler": SamplerSpec,
    "evaluator": EvaluatorSpec,
    "dataset": DatasetSpec,
}


def fits(part: LossSpec | SamplerSpec | EvaluatorSpec, model: ModelSpec) -> bool:
    """Whether a part can be used with a model: what it needs is offered, and the kind of output agrees."""
    if isinstance(part, SamplerSpec) and part.output != model.output:
        return False
    if isinstance(part, EvaluatorSpec) and model.output not in part.outputs:
        return False
    return set(part.needs) <= set(model.offers)


def initial_fields(config: type) -> dict[str, Any]:
    """The defaults of the settings that matter only where training begins (`option`), by name."""
    return {name: f.default for name, f in config_fields(config).items() if f.metadata.get("initial")}


def config_fields(config: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a config dataclass by name."""
    return {f.name: f for f in dataclasses.fields(config)}
