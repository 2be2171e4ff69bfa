"""Autoregressive models of pictures: an exact likelihood, one pixel after another.

    pixelcnn   van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders" (gated), after
               van den Oord et al. 2016a, "Pixel Recurrent Neural Networks" (masked convolutions)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, hookimpl, option


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


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """sampler.* of `ancestral` and `wavefront`."""

    temperature: float = option(1.0, "divides the logits: below 1 the likelier values come more often", gt=0, le=100)


@dataclass(frozen=True, kw_only=True)
class CompleteConfig:
    """Of `complete`."""

    n: int = option(8, "pictures", ge=1, le=64)
    tries: int = option(5, "completions of each", ge=1, le=64)
    share: float = option(0.5, "of the rows that are given", ge=0, le=1)
    temperature: float = option(1.0, "divides the logits", gt=0, le=100)


_MNIST: dict[str, object] = {  # binarised anew each step: 45 CPU-minutes of one core
    "data.name": "mnist",
    "data.binarize": "stochastic",
    "data.levels": 256,
    "model.layers": 8,
    "train.steps": 10_000,
    "train.batch_size": 16,
    "train.ema": 0.999,
    "schedule.warmup": 200,
    "validation.every": 1000,
}
_FASHION: dict[str, object] = {  # 16 grey values: 30 CPU-minutes of one core
    "data.name": "fashion-mnist",
    "data.levels": 16,
    "model.layers": 8,
    "model.conditional": True,
    "train.steps": 6500,
    "train.batch_size": 16,
    "train.ema": 0.999,
    "schedule.warmup": 200,
    "validation.every": 1000,
}

PIXELCNN = ModelSpec(
    name="pixelcnn",
    summary="Gated PixelCNN: an exact density, pixel after pixel",
    factory="gentool_autoregressive.model:PixelCNN",
    config=PixelCNNConfig,
    output=Output.IMAGE,
    loss="nll",
    sampler="ancestral",
    evaluators=("nll", "bits-per-dim"),
    dataset="digits",
    offers=("log-prob", "likelihood", "grid-density", "causal-stacks"),
    paper="van den Oord et al. 2016, arXiv:1606.05328",
    # digits has 17 grey values, which are kept. About 40 CPU-seconds.
    defaults={
        "data.levels": 17,
        "model.layers": 6,
        "train.steps": 800,
        "train.batch_size": 32,
        "train.clip": 1.0,
        "train.ema": 0.99,
        "optim.model.lr": 2e-3,
        "schedule.name": "cosine",
        "schedule.warmup": 50,
    },
    checkpoints={
        "mnist": "checkpoints/pixelcnn-mnist.safetensors",
        "fashion-mnist": "checkpoints/pixelcnn-fashion-mnist.safetensors",
    },
    presets={
        "debug": {
            "train.steps": 2,
            "train.batch_size": 8,
            "model.channels": 8,
            "model.layers": 2,
            "model.hidden": 8,
        },
        "conditional": {"model.conditional": True},
        "cone": {"model.field": "cone"},
        "mnist": _MNIST,
        "fashion-mnist": _FASHION,
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


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="ancestral",
            summary="Pixel after pixel in raster order, evaluating only what a new pixel changes",
            factory="gentool_autoregressive.sampler:ancestral",
            needs=("causal-stacks",),
            config=DrawConfig,
            aliases=("raster",),
            paper="van den Oord et al. 2016, arXiv:1606.05328",
        ),
        SamplerSpec(
            name="wavefront",
            summary="The same pictures, whole anti-diagonals at once where the receptive field allows it",
            factory="gentool_autoregressive.sampler:wavefront",
            needs=("causal-stacks",),
            config=DrawConfig,
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="complete",
            summary="Upper halves of test pictures, painted on",
            factory="gentool_autoregressive.evaluate:Complete",
            needs=("causal-stacks",),
            config=CompleteConfig,
            view=True,
            paper="van den Oord et al. 2016, arXiv:1601.06759, figure 1",
        ),
        EvaluatorSpec(
            name="receptive-field",
            summary="Which pixels the middle one depends on, by the gradient",
            factory="gentool_autoregressive.evaluate:ReceptiveField",
            needs=("causal-stacks",),
            streams="none",
            view=True,
            paper="van den Oord et al. 2016, arXiv:1606.05328, figure 1",
        ),
    ]
