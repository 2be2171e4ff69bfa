"""The config sections every model has. A model's own (`model.*`), its loss's (`loss.*`) and the data's (`data.*`) join them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool.specs import option


@dataclass(frozen=True, kw_only=True)
class Train:
    """train.*"""

    steps: int = option(1000, "optimiser steps in all; 0: as many as the minutes allow", ge=0)
    minutes: float = option(0.0, "stop after so many minutes of training; 0: no limit", ge=0)
    batch_size: int = option(64, "examples a step", ge=1, le=1_000_000)
    accumulate: int = option(1, "micro-batches a step is split into, to save memory", ge=1, le=4096)
    clip: float = option(0.0, "clip the gradient's norm, each phase alone; 0: off", ge=0)
    ema: float = option(0.0, "decay of the averaged weights that sampling uses; 0: off", ge=0, lt=1)
    seed: int = option(0, "of everything random", ge=0, le=2**62)
    device: str = option("auto", "auto, cpu, cuda or cuda:i")
    precision: Literal["auto", "fp32", "bf16"] = option("auto", "auto: what was measured faster on this device")
    compile: bool = option(False, "torch.compile each phase's module (minutes on a CPU; pays on long runs)")
    cuda_graph: Literal["no", "yes"] = option(
        "no", "record a step's launches on a GPU once and replay them, where the loss allows it (not yet timed)"
    )
    channels_last: Literal["auto", "yes", "no"] = option("auto", "memory format of convolutions")
    threads: int = option(
        0, "CPU threads; 0: as torch has them. Kept on resume, where bits depend on it", ge=0, le=1024
    )


@dataclass(frozen=True, kw_only=True)
class Optim:
    """optim.<phase>.*"""

    name: Literal["adamw", "adam", "sgd", "rmsprop"] = option("adamw", "the optimiser")
    lr: float = option(1e-3, "learning rate at its peak", ge=0, le=100)
    betas: tuple[float, float] = option((0.9, 0.999), "adam, adamw: decay of the two moments")
    eps: float = option(1e-8, "adam, adamw, rmsprop: added to the denominator", gt=0, le=1)
    weight_decay: float = option(0.0, "decoupled for adamw, L2 for the others", ge=0, le=10)
    momentum: float = option(0.0, "sgd, rmsprop", ge=0, lt=1)
    alpha: float = option(0.99, "rmsprop: decay of the squared gradient", ge=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """schedule.*"""

    name: Literal["constant", "cosine"] = option("constant", "what the rate does after the warm-up")
    warmup: int = option(0, "steps over which the rate rises from 0", ge=0)
    final: float = option(0.0, "cosine: where the rate ends, as a share of its peak", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """checkpoint.*"""

    every: int = option(0, "steps between checkpoints; 0: ten in a run", ge=0)
    keep: int = option(2, "how many of the newest to keep; the best is kept beside them", ge=1, le=10_000)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """preview.*"""

    every: int = option(0, "steps between pictures of samples; 0: five in a run", ge=0)
    n: int = option(16, "samples in a picture; 0: no previews", ge=0, le=256)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """validation.*"""

    every: int = option(0, "steps between validations; 0: ten in a run", ge=0)
    examples: int = option(1024, "how many validation examples; 0: no validation", ge=0)


SECTIONS: dict[str, type] = {
    "train": Train,
    "schedule": Schedule,
    "checkpoint": Checkpoint,
    "preview": Preview,
    "validation": Validation,
}
