"""Denoising diffusion.

    diffusion          Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models", over pixels
    latent-diffusion   Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models"

The forward process in schedule.py, networks in networks.py, models in model.py and latent.py, objectives in loss.py, the
bound in likelihood.py, samplers as mathematics in solvers.py and around a model in sampler.py.
"""

from __future__ import annotations

from gentool import LossSpec, ModelSpec, Output, SamplerSpec, hookimpl

from . import presets
from .configs import (
    AncestralConfig,
    DDIMConfig,
    DenoisingConfig,
    DiffusionConfig,
    FewStepsConfig,
    HybridConfig,
)

HOME = "gentool_diffusion"

DIFFUSION = ModelSpec(
    name="diffusion",
    summary="Denoising diffusion over pixels: a U-Net that takes noise away step by step",
    factory=f"{HOME}.model:Diffusion",
    config=DiffusionConfig,
    output=Output.IMAGE,
    loss="denoising",
    sampler="dpm-solver",
    evaluators=("fid",),
    dataset="digits",
    offers=("diffusion", "elbo", "likelihood"),
    paper="Ho et al. 2020, arXiv:2006.11239",
    defaults=presets.DEFAULTS,
    presets=presets.PRESETS,
    aliases=("ddpm",),
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [DIFFUSION]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="denoising",
            summary="Squared error of the noise, the picture or v at a random moment",
            factory=f"{HOME}.loss:Denoising",
            needs=("diffusion",),
            config=DenoisingConfig,
            monitor="loss",
            paper="Ho et al. 2020, equation 14; Hang et al. 2023",
        ),
        LossSpec(
            name="hybrid",
            summary="The same, and the variational bound for a learned variance",
            factory=f"{HOME}.loss:Hybrid",
            needs=("diffusion",),
            config=HybridConfig,
            monitor="loss",
            paper="Nichol & Dhariwal 2021, equation 16",
        ),
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="ddpm",
            summary="The ancestral chain of all T steps, or of a subset",
            factory=f"{HOME}.sampler:ddpm",
            needs=("diffusion",),
            config=AncestralConfig,
            pictures="may",
            paper="Ho et al. 2020, algorithm 2",
        ),
        SamplerSpec(
            name="ddim",
            summary="Few steps, deterministic at eta 0",
            factory=f"{HOME}.sampler:ddim",
            needs=("diffusion",),
            config=DDIMConfig,
            pictures="may",
            paper="Song et al. 2021, arXiv:2010.02502",
        ),
        SamplerSpec(
            name="heun",
            summary="Heun's second-order method: two network calls a step",
            factory=f"{HOME}.sampler:heun",
            needs=("diffusion",),
            config=FewStepsConfig,
            pictures="may",
            paper="Karras et al. 2022, algorithm 1",
        ),
        SamplerSpec(
            name="dpm-solver",
            summary="DPM-Solver++(2M): second order with one network call a step",
            factory=f"{HOME}.sampler:dpm_solver",
            needs=("diffusion",),
            config=FewStepsConfig,
            pictures="may",
            paper="Lu et al. 2022, arXiv:2211.01095",
            aliases=("dpm-solver-2m",),
        ),
    ]
