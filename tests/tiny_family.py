"""A family in one file for tests of the host: two phases, dropout, batch norm and noise, so that resume has much to miss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gentool import (
    Batch,
    Context,
    DataInfo,
    EvaluatorSpec,
    LossSpec,
    ModelSpec,
    Output,
    Partial,
    Phase,
    Report,
    SamplerSpec,
    Samples,
    Scalar,
    Step,
    hookimpl,
    option,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    hidden: int = option(12, "width", ge=1, le=4096)
    dropout: float = option(0.2, "share of units dropped", ge=0, lt=1)


class Tiny(nn.Module):
    conditional = False
    latent = 4

    def __init__(self, config: Config, info: DataInfo) -> None:
        super().__init__()
        self.config, self.info = config, info
        assert info.image is not None
        size = info.image[0] * info.image[1] * info.image[2]
        self.generator = nn.Sequential(
            nn.Linear(self.latent, config.hidden),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, size),
            nn.Tanh(),
        )
        self.critic = nn.Sequential(
            nn.Linear(size, config.hidden), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(config.hidden, 1)
        )

    def draw(self, z: Tensor) -> Tensor:
        assert self.info.image is not None
        return self.generator(z).unflatten(1, self.info.image)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    poison_at: int = option(-1, "make the loss NaN at this step", ge=-1)
    scale: float = option(1.0, "times the loss", gt=0)


class Duel:
    """Two alternating phases with noise of their own."""

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __call__(self, model: Tiny, batch: Batch, step: Step) -> Iterator[Phase]:
        assert batch.images is not None
        fake = model.draw(step.noise(batch.images, model.latent))
        real = model.critic(batch.images.flatten(1))
        loss = self.config.scale * (model.critic(fake.detach().flatten(1)).square().mean() + (real - 1).square().mean())
        if step.index == self.config.poison_at:
            loss = loss * float("nan")
        yield Phase("critic", loss, {"real": real.detach().mean()})
        yield Phase("generator", (model.critic(fake.flatten(1)) - 1).square().mean())


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    spread: float = option(1.0, "times the noise", ge=0, le=10)


def draw(
    model: Tiny, n: int, *, step: Step, labels: Tensor | None = None, spread: float = 1.0
) -> Iterator[Partial | Samples]:
    yield Partial(0, 1)
    yield Samples(images=model.draw(spread * step.noise(n, model.latent)))


class Mean:
    def __init__(self, config: object, context: Context) -> None:
        self.total, self.count = 0.0, 0

    def update(self, batch: Batch, outputs: Samples | None) -> None:
        assert outputs is not None
        assert outputs.images is not None
        assert len(outputs) == len(batch)
        self.total += float(outputs.images.double().mean((1, 2, 3)).sum())
        self.count += len(batch)

    def merge(self, other: Mean) -> None:
        self.total, self.count = self.total + other.total, self.count + other.count

    def compute(self) -> Report:
        return Report("tiny-mean", [Scalar("mean", self.total / self.count)], f"{self.count} samples")


SPEC: Any = {
    "summary": "A tiny two-phase model for tests",
    "factory": "tiny_family:Tiny",
    "config": Config,
    "output": Output.IMAGE,
    "loss": "duel",
    "sampler": "tiny-draw",
    "evaluators": ("tiny-mean",),
    "dataset": "digits",
    "offers": ("duel",),
    "paper": "none",
    "phases": ("critic", "generator"),
    "defaults": {"train.steps": 12, "train.batch_size": 8, "train.ema": 0.9, "checkpoint.every": 3, "preview.n": 0},
    "presets": {"debug": {"train.steps": 2}},
}


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [ModelSpec(name="tiny", **SPEC)]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [LossSpec(name="duel", summary="two phases", factory="tiny_family:Duel", config=LossConfig, needs=("duel",))]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(name="tiny-draw", summary="noise", factory="tiny_family:draw", config=DrawConfig, needs=("duel",))
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="tiny-mean", summary="mean pixel", factory="tiny_family:Mean", needs=("duel",), streams="samples"
        )
    ]
