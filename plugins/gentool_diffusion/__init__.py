"""Denoising diffusion.

    diffusion          Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models", over pixels
    latent-diffusion   Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models"

The forward process in schedule.py, networks in networks.py, models in model.py and latent.py, objectives in loss.py, the
bound in likelihood.py, samplers as mathematics in solvers.py and around a model in sampler.py.
"""

from __future__ import annotations

from gentool import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, hookimpl

from . import presets
from .configs import (
    AncestralConfig,
    DDIMConfig,
    DenoiseConfig,
    DenoisingConfig,
    DiffusionConfig,
    FewStepsConfig,
    ForwardConfig,
    GuidanceConfig,
    HeunConfig,
    HybridConfig,
    LatentConfig,
    SolverStepsConfig,
    VlbConfig,
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
    evaluators=("vlb",),
    dataset="digits",
    offers=("diffusion", "elbo", "likelihood", "encode", "decode"),
    paper="Ho et al. 2020, arXiv:2006.11239",
    defaults=presets.DEFAULTS,
    checkpoints={
        "digits": "checkpoints/diffusion-digits.safetensors",
        "mnist": "checkpoints/diffusion-mnist.safetensors",
        "fashion-mnist": "checkpoints/diffusion-fashion-mnist.safetensors",
    },
    presets=presets.PRESETS,
    aliases=("ddpm",),
)

LATENT = ModelSpec(
    name="latent-diffusion",
    summary="Diffusion over the latents of a trained vqvae or vae",
    factory=f"{HOME}.latent:LatentDiffusion",
    config=LatentConfig,
    output=Output.IMAGE,
    loss="denoising",
    sampler="dpm-solver",
    evaluators=("fid",),
    dataset="digits",
    offers=("diffusion",),
    paper="Rombach et al. 2022, arXiv:2112.10752",
    defaults=presets.LATENT_DEFAULTS,
    presets=presets.LATENT,
    aliases=("ldm",),
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [DIFFUSION, LATENT]


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
            config=HeunConfig,
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
        SamplerSpec(
            name="denoise",
            summary="The way from noise to picture: x_t, and what the network takes for the picture then",
            factory=f"{HOME}.views:denoise",
            needs=("diffusion",),
            config=DenoiseConfig,
            view=True,
            paper="Song et al. 2021, arXiv:2010.02502",
        ),
        SamplerSpec(
            name="guidance",
            summary="Columns of classifier-free guidance, rows of noise and class",
            factory=f"{HOME}.views:guidance_scales",
            needs=("diffusion",),
            config=GuidanceConfig,
            view=True,
            paper="Ho & Salimans 2022, arXiv:2207.12598",
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="vlb",
            summary="Bits per dimension by the variational bound, and its terms over t",
            factory=f"{HOME}.evaluate:Vlb",
            needs=("diffusion", "likelihood"),
            config=VlbConfig,
            paper="Ho et al. 2020, equation 5",
        ),
        EvaluatorSpec(
            name="solver-steps",
            summary="FID against the number of network calls, for several samplers",
            factory=f"{HOME}.evaluate:SolverSteps",
            needs=("diffusion",),
            config=SolverStepsConfig,
            streams="none",
            view=True,
        ),
        EvaluatorSpec(
            name="forward",
            summary="The forward process alone: test pictures on their way to noise",
            factory=f"{HOME}.views:Forward",
            needs=("diffusion",),
            config=ForwardConfig,
            streams="none",
            view=True,
            paper="Ho et al. 2020, equation 4",
        ),
    ]
