"""The vector-quantised autoencoder and a prior over its codes.

    vqvae   van den Oord, Vinyals & Kavukcuoglu 2017, "Neural Discrete Representation Learning"

An encoder gives a vector for every place of an h x w grid, each is replaced by the nearest of K codes, and a decoder
paints the picture from these. One run trains both stages: first the autoencoder, then, on its codes, the prior (a
`pixelcnn`, asked of the registry by name). Samples are codes drawn from the prior, decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gentool import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, hookimpl, option

PAPER = "van den Oord et al. 2017, arXiv:1711.00937"


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig:
    """model.* of `vqvae`."""

    codes: int = option(512, "K: how many codes the codebook has", ge=2, le=65536)
    dim: int = option(64, "D: dimensions of a code", ge=1, le=4096)
    hidden: int = option(128, "channels of the convolutions", ge=2, le=4096)
    blocks: int = option(2, "residual blocks in the encoder, and in the decoder", ge=0, le=64)
    downsample: Literal[0, 1, 2, 4, 8, 16] = option(0, "pixels a code is wide; 0: 2 for pictures under 16, else 4")
    codebook: Literal["ema", "gradient"] = option("ema", "how codes learn: moving averages (A.1), or equation 3")
    decay: float = option(0.99, "gamma of the moving averages of the codes' use (A.1)", ge=0, lt=1)
    prior: str = option("pixelcnn", "the model of the codes: one that offers grid-density")
    prior_channels: int = option(64, "channels of the prior", ge=1, le=4096)
    prior_layers: int = option(8, "layers of the prior", ge=1, le=100)
    prior_hidden: int = option(128, "hidden units before the prior's logits", ge=1, le=8192)
    prior_embed: int = option(32, "features the prior learns for each code", ge=1, le=4096)
    conditional: bool = option(False, "the prior is given the class; the autoencoder is not")


@dataclass(frozen=True, kw_only=True)
class VQConfig:
    """loss.* of `vq`."""

    beta: float = option(0.25, "weight of the commitment term of equation 3", ge=0, le=100)
    likelihood: Literal["gaussian", "logistic"] = option(
        "gaussian", "log p(x|z_q): of fixed variance (squared error), or the discretised logistic that is scored"
    )
    init: Literal["kmeans", "samples", "uniform"] = option(
        "kmeans", "first codes: k-means or a draw of the first batch's encoder outputs, or uniform in +-1/K"
    )
    restart: float = option(
        0.1, "codes used less than this share of the even 1/K are put onto encoder outputs; 0: off", ge=0, lt=1
    )
    prior_from: float = option(0.5, "share of the budget after which the prior is trained, codes frozen", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class CodesConfig:
    """sampler.* of `codes`."""

    temperature: float = option(1.0, "of the prior: below 1 the likely codes are drawn more often", gt=0, le=10)


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """sampler.* of `codebook-map`."""

    codes: int = option(256, "how many of the codes are shown, the most used first", ge=1, le=4096)


def _recipe(data: str, settings: Mapping[str, object]) -> dict[str, object]:
    """For 28x28 pictures and larger: fine codes, and a prior that gets most of the time."""
    return {
        "data.name": data,
        "model.dim": 32,
        "model.prior_hidden": 128,
        "model.prior_embed": 32,
        "optim.autoencoder.lr": 1e-3,
        "optim.prior.lr": 2e-3,
        **settings,
    }


VQVAE = ModelSpec(
    name="vqvae",
    summary="Autoencoder with a discrete bottleneck, and a PixelCNN prior over its codes",
    factory="gentool_vqvae.model:VQVAE",
    config=VQVAEConfig,
    output=Output.IMAGE,
    loss="vq",
    sampler="codes",
    evaluators=("reconstruction", "codebook", "code-bits"),
    dataset="digits",
    offers=("reconstruct", "features", "codebook", "latent-grid", "elbo", "likelihood", "code-prior"),
    paper=PAPER,
    phases=("autoencoder", "prior"),
    # For 8x8 digits, of which there are 1437: few codes and a small prior, or it learns the pictures by heart.
    defaults={
        "model.codes": 32,
        "model.dim": 16,
        "model.hidden": 64,
        "model.prior_channels": 32,
        "model.prior_layers": 4,
        "model.prior_hidden": 64,
        "model.prior_embed": 16,
        "loss.prior_from": 0.6,
        "train.steps": 1000,
        "train.ema": 0.99,
        "optim.autoencoder.lr": 2e-3,
        "optim.prior.lr": 2e-3,
        "schedule.name": "cosine",
    },
    checkpoints={
        "fashion-mnist": "checkpoints/vqvae-fashion-mnist.safetensors",
        "mnist": "checkpoints/vqvae-mnist.safetensors",
        "cifar10": "checkpoints/vqvae-cifar10.safetensors",
    },
    presets={
        "debug": {
            "train.steps": 2,
            "train.batch_size": 8,
            "model.codes": 8,
            "model.dim": 4,
            "model.hidden": 8,
            "model.blocks": 1,
            "model.prior_channels": 8,
            "model.prior_layers": 2,
            "model.prior_hidden": 8,
        },
        "conditional": {"model.conditional": True},
        "mnist": _recipe(
            "mnist",
            {
                "model.codes": 128,
                "model.prior_channels": 48,
                "model.prior_layers": 5,
                "loss.prior_from": 0.25,
                "train.steps": 3200,
                "train.ema": 0.995,
            },
        ),
        "fashion-mnist": _recipe(
            "fashion-mnist",
            {
                "model.codes": 512,
                "model.prior_channels": 64,
                "model.prior_layers": 6,
                "loss.prior_from": 0.44,
                "train.steps": 3170,
                "train.ema": 0.995,
            },
        ),
        "cifar10": _recipe(  # 13 CPU-minutes of one core
            "cifar10",
            {
                "model.codes": 512,
                "model.dim": 64,
                "model.hidden": 96,
                "model.prior_channels": 64,
                "model.prior_layers": 6,
                "loss.prior_from": 0.5,
                "train.steps": 6000,
                "train.ema": 0.995,
            },
        ),
    },
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [VQVAE]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="vq",
            summary="Equation 3 of the VQ-VAE paper, then the exact NLL of the prior over the codes",
            factory="gentool_vqvae.loss:TwoStage",
            needs=("codebook", "code-prior"),
            config=VQConfig,
            monitor="loss",
            paper=PAPER,
        )
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="codes",
            summary="Codes drawn from the prior, then decoded",
            factory="gentool_vqvae.sampler:codes",
            needs=("codebook", "code-prior"),
            config=CodesConfig,
            paper=PAPER,
        ),
        SamplerSpec(
            name="codebook-map",
            summary="What each code paints, the most used first",
            factory="gentool_vqvae.sampler:codebook_map",
            needs=("codebook", "code-prior"),
            config=MapConfig,
            view=True,
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="codebook",
            summary="Which codes are used: usage, perplexity, dead codes",
            factory="gentool_vqvae.evaluate:CodebookUsage",
            needs=("codebook",),
            view=True,
        ),
        EvaluatorSpec(
            name="code-bits",
            summary="Bits per dimension through prior and decoder, an upper bound: rate and distortion",
            factory="gentool_vqvae.evaluate:CodeBits",
            needs=("elbo", "codebook"),
            paper=PAPER,
        ),
    ]
