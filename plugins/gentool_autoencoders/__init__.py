"""Autoencoders.

    vae   Kingma & Welling 2014, "Auto-Encoding Variational Bayes"

One stochastic layer: an encoder q(z|x), a decoder p(x|z) and a standard normal prior p(z).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool import LossSpec, ModelSpec, Output, SamplerSpec, hookimpl, option


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """model.* of `vae`."""

    latent: int = option(16, "dimensions of z", ge=1, le=4096)
    hidden: tuple[int, ...] = option((256, 256), "mlp: widths of the hidden layers, encoder order")
    activation: Literal["tanh", "relu", "silu"] = option("silu", "nonlinearity of the networks")


@dataclass(frozen=True, kw_only=True)
class ElboConfig:
    """loss.* of `elbo`."""

    beta: float = option(1.0, "weight of the KL term; 1 is the bound itself", ge=0)


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """sampler.* of `prior`."""

    temperature: float = option(1.0, "standard deviation of z", ge=0, le=10)


VAE = ModelSpec(
    name="vae",
    summary="Variational autoencoder with one stochastic layer",
    factory="gentool_autoencoders.model:VAE",
    config=VAEConfig,
    output=Output.IMAGE,
    loss="elbo",
    sampler="prior",
    evaluators=(),
    dataset="digits",
    offers=("elbo", "encode", "decode", "reconstruct", "features", "likelihood", "variational"),
    paper="Kingma & Welling 2014, arXiv:1312.6114",
    defaults={"train.steps": 2000, "train.batch_size": 128, "optim.model.lr": 2e-3, "schedule.name": "cosine"},
    presets={
        "debug": {"train.steps": 2, "train.batch_size": 8, "model.hidden": (16,), "model.latent": 4},
    },
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [VAE]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="elbo",
            summary="Minus the evidence lower bound, with KL in closed form",
            factory="gentool_autoencoders.loss:Elbo",
            needs=("variational",),
            config=ElboConfig,
            monitor="model",
            paper="Kingma & Welling 2014, equation 10",
        )
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="prior",
            summary="z from the standard normal prior, decoded",
            factory="gentool_autoencoders.sampler:prior",
            needs=("decode",),
            config=PriorConfig,
            paper="Kingma & Welling 2014",
        )
    ]
