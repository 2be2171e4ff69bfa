"""A family in one file that misbehaves on demand, and otherwise decodes latent vectors by a formula."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gentool import DataInfo, ModelSpec, Output, Partial, SamplerSpec, Samples, Step, UsageError, hookimpl, option

Deed = Literal["paint", "print", "memory", "raise", "refuse", "exit", "kill"]


@dataclass(frozen=True, kw_only=True)
class Config:
    side: int = option(6, "pixels a side", ge=2, le=64)


class Imp(nn.Module):
    latent = 3

    def __init__(self, config: Config, info: DataInfo) -> None:
        super().__init__()
        self.config, self.info = config, info
        self.conditional = bool(info.classes)
        self.shade = nn.Parameter(torch.tensor(0.5))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Three bands, each as bright as its number; the class of a conditional one is added to the first."""
        assert (labels is not None) == self.conditional
        bands = z if labels is None else z + labels[:, None] * torch.tensor([1.0, 0.0, 0.0])
        rows = bands.tanh().repeat_interleave(self.config.side // 3, 1)
        return rows[:, None, :, None].expand(-1, 1, -1, self.config.side).contiguous()


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    deed: Deed = option("paint", "what to do")  # noqa: RUF009
    steps: int = option(20, "partial pictures", ge=1, le=10_000)
    pause: float = option(0.0, "seconds between two", ge=0, le=10)


def draw(
    model: Imp,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    deed: Deed = "paint",
    steps: int = 20,
    pause: float = 0.0,
) -> Iterator[Partial | Samples]:
    whole = model.decode(step.noise(n, 3), labels)
    if deed == "print":
        print("\x1b[2Jnot for the pipe")
        os.write(1, b"nor this\n")
    if deed == "memory":
        torch.empty(1 << 50)
    if deed == "raise":
        raise ZeroDivisionError("[bold]\x1b[31mno")
    if deed == "refuse":
        raise UsageError("It does not want to.")
    if deed == "exit":
        os.write(2, b"last words \x1b[31mof it\n")
        os._exit(7)
    if deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    for done in range(1, steps + 1):
        time.sleep(pause)
        yield Partial(done, steps, images=whole * (done / steps))
    yield Samples(images=whole, labels=labels)


def checkpoint(classes: tuple[str, ...] = (), side: int = 6) -> bytes:
    """A file of the model that `gentool sample` opens."""
    from gentool.runs.checkpoint import tensor_bytes

    info = DataInfo(name="digits", image=(1, side, side), classes=classes)
    meta: dict[str, Any] = {"model": "imp", "config": {"side": side}, "info": info.to_json(), "step": 3, "data": {}}
    return tensor_bytes({"shade": torch.tensor(0.5)}, meta)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="imp",
            summary="misbehaves on demand",
            factory="imp_family:Imp",
            config=Config,
            output=Output.IMAGE,
            loss="none",
            sampler="imp-draw",
            evaluators=(),
            dataset="digits",
            offers=("decode", "imp"),
            paper="none",
        )
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="imp-draw",
            summary="on demand",
            factory="imp_family:draw",
            config=DrawConfig,
            needs=("imp",),
            view=False,
        ),
        SamplerSpec(
            name="imp-go-on",
            summary="from pictures",
            factory="imp_family:draw",
            config=DrawConfig,
            needs=("imp",),
            pictures="must",
        ),
    ]
