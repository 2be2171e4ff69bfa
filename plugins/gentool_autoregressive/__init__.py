"""Autoregressive models of pictures: an exact likelihood, one pixel after another.

nade       Larochelle & Murray 2011, "The Neural Autoregressive Distribution Estimator"
made       Germain et al. 2015, "MADE: Masked Autoencoder for Distribution Estimation"
pixelcnn   van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders" (gated), after
           van den Oord et al. 2016a, "Pixel Recurrent Neural Networks" (masked convolutions)
"""

from __future__ import annotations

from gentool.hooks import hookimpl
from gentool.specs import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec

from . import presets
from .configs import (
    CompleteConfig,
    CompletionConfig,
    DrawConfig,
    MadeConfig,
    NadeConfig,
    NllConfig,
    PixelCNNConfig,
    PixelRNNConfig,
)

__all__ = ["MadeConfig", "NadeConfig", "PixelCNNConfig", "PixelRNNConfig"]


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
    offers=("log-prob", "likelihood", "grid-density", "pixel-context", "causal-stacks"),
    paper="van den Oord et al. 2016, arXiv:1606.05328",
    defaults=presets.PIXELCNN_DEFAULTS,
    checkpoints={
        "mnist": "checkpoints/pixelcnn-mnist.safetensors",
        "fashion-mnist": "checkpoints/pixelcnn-fashion-mnist.safetensors",
    },
    presets=presets.PIXELCNN,
)

MADE = ModelSpec(
    name="made",
    summary="Masked autoencoder: every conditional of an exact density in one pass",
    factory="gentool_autoregressive.made:Made",
    config=MadeConfig,
    output=Output.IMAGE,
    loss="order-agnostic",
    sampler="ancestral",
    evaluators=("nll", "bits-per-dim"),
    dataset="digits",
    offers=("log-prob", "likelihood", "grid-density", "components"),
    paper="Germain et al. 2015, arXiv:1502.03509",
    defaults=presets.MADE_DEFAULTS,
    presets=presets.MADE,
    checkpoints={"mnist": "checkpoints/made-mnist.safetensors"},
)

NADE = ModelSpec(
    name="nade",
    summary="Neural autoregressive density: one hidden layer that grows by a row of weights a pixel",
    factory="gentool_autoregressive.nade:Nade",
    config=NadeConfig,
    output=Output.IMAGE,
    loss="nll",
    sampler="ancestral",
    evaluators=("nll", "bits-per-dim"),
    dataset="digits",
    offers=("log-prob", "likelihood", "grid-density"),
    paper="Larochelle & Murray 2011, proceedings.mlr.press/v15/larochelle11a",
    defaults=presets.NADE_DEFAULTS,
    checkpoints={"mnist": "checkpoints/nade-mnist.safetensors"},
    presets=presets.NADE,
)

PIXELRNN = ModelSpec(
    name="pixelrnn",
    summary="Row LSTM or Diagonal BiLSTM: an exact density, all earlier pixels carried along",
    factory="gentool_autoregressive.pixelrnn:PixelRNN",
    config=PixelRNNConfig,
    output=Output.IMAGE,
    loss="nll",
    sampler="ancestral",
    evaluators=("nll", "bits-per-dim"),
    dataset="digits",
    offers=("log-prob", "likelihood", "grid-density", "pixel-context"),
    paper="van den Oord et al. 2016, arXiv:1601.06759",
    defaults=presets.PIXELRNN_DEFAULTS,
    presets=presets.PIXELRNN,
    checkpoints={
        "mnist": "checkpoints/pixelrnn-mnist.safetensors",
        "mnist-row-lstm": "checkpoints/pixelrnn-mnist-row-lstm.safetensors",
    },
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [NADE, MADE, PIXELRNN, PIXELCNN]


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
        ),
        LossSpec(
            name="order-agnostic",
            summary="nll of one order and mask a step, in turn; validation by the mixture of all",
            factory="gentool_autoregressive.loss:OrderAgnostic",
            needs=("components",),
            config=NllConfig,
            monitor="nll",
            paper="Germain et al. 2015, arXiv:1502.03509, section 4",
        ),
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="ancestral",
            summary="Pixel after pixel, evaluating only what a new pixel changes",
            factory="gentool_autoregressive.sampler:ancestral",
            needs=("grid-density",),
            config=DrawConfig,
            aliases=("raster",),
            paper="van den Oord et al. 2016, arXiv:1606.05328",
        ),
        SamplerSpec(
            name="completion",
            summary="Upper rows of pictures are kept, and what comes below is drawn given them",
            factory="gentool_autoregressive.sampler:completion",
            needs=("grid-density",),
            config=CompletionConfig,
            pictures="must",
            paper="van den Oord et al. 2016, arXiv:1601.06759, figure 1",
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
            needs=("grid-density",),
            config=CompleteConfig,
            view=True,
            paper="van den Oord et al. 2016, arXiv:1601.06759, figure 1",
        ),
        EvaluatorSpec(
            name="receptive-field",
            summary="Which pixels the middle one depends on, by the gradient",
            factory="gentool_autoregressive.evaluate:ReceptiveField",
            needs=("pixel-context",),
            streams="none",
            view=True,
            paper="van den Oord et al. 2016, arXiv:1606.05328, figure 1",
        ),
    ]
