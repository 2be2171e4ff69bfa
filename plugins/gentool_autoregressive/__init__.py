"""Autoregressive models of pictures: an exact likelihood, one pixel after another.

    pixelcnn   van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders" (gated), after
               van den Oord et al. 2016a, "Pixel Recurrent Neural Networks" (masked convolutions)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool import LossSpec, ModelSpec, Output, hookimpl, option


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig:
    """model.* of `pixelcnn`."""

    channels: int = option(32, "p: features of each stack", ge=1, le=1024)
    layers: int = option(8, "gated layers, the first included", ge=1, le=100)
    first_kernel: int = option(7, "width of the first layer's kernel (mask A), odd", ge=3, le=31)
    kernel: int = option(3, "width of the other layers' kernels (mask B), odd", ge=3, le=31)
    field: Literal["full", "cone"] = option(
        "full",
        "full: every earlier pixel within reach; cone: none further right than half a kernel for each row up, "
        "for which whole anti-diagonals can be drawn at once",
    )
    hidden: int = option(64, "hidden units between the stacks and the logits", ge=1, le=4096)
    input: Literal["auto", "scalar", "embedding"] = option(
        "auto", "scalar: values are amounts; embedding: they are names (codes); auto: names if above 256"
    )
    embed: int = option(16, "embedding: features of each value", ge=1, le=1024)
    place: bool = option(True, "a learned bias for every position, in the first layer")
    conditional: bool = option(False, "condition every layer on the class")


@dataclass(frozen=True, kw_only=True)
class NllConfig:
    """loss.* of `nll`: nothing to set."""


PIXELCNN = ModelSpec(
    name="pixelcnn",
    summary="Gated PixelCNN: an exact density, pixel after pixel",
    factory="gentool_autoregressive.model:PixelCNN",
    config=PixelCNNConfig,
    output=Output.IMAGE,
    loss="nll",
    sampler=None,
    evaluators=("nll", "bits-per-dim"),
    dataset="digits",
    offers=("log-prob", "likelihood", "grid-density", "causal-stacks"),
    paper="van den Oord et al. 2016, arXiv:1606.05328",
    presets={
        "debug": {
            "train.steps": 2,
            "train.batch_size": 8,
            "model.channels": 8,
            "model.layers": 2,
            "model.hidden": 8,
        },
    },
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [PIXELCNN]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="nll",
            summary="Minus the exact log-likelihood, per dimension",
            factory="gentool_autoregressive.loss:NegativeLogLikelihood",
            needs=("log-prob",),
            config=NllConfig,
            monitor="nll",
            paper="van den Oord et al. 2016, arXiv:1601.06759, section 5.1",
        )
    ]
