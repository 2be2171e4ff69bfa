"""The settings of the models, losses, samplers, views and evaluators of diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool.specs import option


@dataclass(frozen=True, kw_only=True)
class ProcessConfig:
    """What every diffusion model has in model.*: the forward process and what the network says of it."""

    schedule: Literal["cosine", "linear"] = option(
        "cosine", "how the noise grows (Nichol & Dhariwal 2021; Ho et al. 2020)"
    )
    timesteps: int = option(1000, "T: steps of the forward process", ge=2, le=10_000)
    predict: Literal["eps", "x0", "v"] = option("eps", "what the network gives: the noise, the picture, or v of both")
    variance: Literal["small", "large", "learned"] = option(
        "small", "of p(x_t-1|x_t): the posterior's, beta_t, or between them by the network (needs --loss hybrid)"
    )
    width: int = option(32, "unet: channels at the finest level; dense: units of the widest layer", ge=8, le=4096)
    embed: int = option(4, "the time embedding is so many times the width", ge=1, le=16)
    dropout: float = option(0.0, "unet: share of features dropped in every residual block", ge=0, lt=1)
    conditional: bool = option(False, "the class is given; needed for guidance")


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig(ProcessConfig):
    """model.* of `diffusion`."""

    network: Literal["unet", "dense"] = option("unet", "the U-Net, or an autoencoder of dense layers (smallest data)")
    multiply: tuple[int, ...] = option((1, 2), "unet: channels of each level, times the width, the finest first")
    blocks: int = option(2, "unet: residual blocks of each level on the way down (one more on the way up)", ge=1, le=16)
    attention: tuple[int, ...] = option((8, 7, 4), "unet: sides of the grid that have self-attention")
    head: int = option(32, "unet: channels of an attention head", ge=4, le=512)
    patch: Literal[1, 2, 4] = option(1, "unet: pixels of a side folded into channels first: 2 costs a quarter")
    shrink: tuple[float, ...] = option(
        (1.0, 0.5, 0.25, 0.5, 1.0), "dense: units of each layer as a share of the width: an hourglass"
    )


@dataclass(frozen=True, kw_only=True)
class LatentConfig(ProcessConfig):
    """model.* of `latent-diffusion`."""

    codec: str = option("vqvae", "what makes the latents: a model's name (what ships), a run or a checkpoint file")
    codec_checkpoint: str = option(
        "", "which checkpoint that ships with the codec; empty: the data set's, or its first"
    )
    multiply: tuple[int, ...] = option((1, 2), "of a grid of latents: channels of each level, times the width")
    blocks: int = option(2, "of a grid: residual blocks of each level on the way down", ge=1, le=16)
    attention: tuple[int, ...] = option((8, 7, 4), "of a grid: sides that have self-attention")
    head: int = option(32, "of a grid: channels of an attention head", ge=4, le=512)
    layers: int = option(6, "of a vector of latents: residual dense layers", ge=1, le=64)


@dataclass(frozen=True, kw_only=True)
class DenoisingConfig:
    """loss.* of `denoising`."""

    weight: Literal["simple", "min-snr", "snr"] = option(
        "simple",
        "of each t: 1 for what is predicted, min(SNR, gamma) for the picture, or SNR (that is 1 for the noise)",
    )
    gamma: float = option(5.0, "min-snr: the most that a t counts (Hang et al. 2023)", gt=0)
    drop_labels: float = option(
        0.1, "conditional: share of examples trained without their class, for guidance", ge=0, lt=1
    )


@dataclass(frozen=True, kw_only=True)
class HybridConfig(DenoisingConfig):
    """loss.* of `hybrid`."""

    vlb: float = option(0.001, "lambda: weight of T times the bound's term at t (Nichol & Dhariwal 2021)", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class EstimateConfig:
    """How a sampler asks for the picture."""

    guidance: float = option(
        1.0, "classifier-free: 1 is the model given the class, 0 without it, more exaggerates the class", ge=0, le=100
    )
    clip: bool = option(True, "keep every estimate of the picture in [-1, 1]; latents are never clipped")
    precision: Literal["auto", "fp32", "bf16"] = option("auto", "of the network; auto: what is faster here")


@dataclass(frozen=True, kw_only=True)
class SamplerConfig(EstimateConfig):
    """What every sampler of diffusion that may start from a picture has in sampler.*."""

    strength: float = option(
        0.6, "with a picture: how much noise it is given, as a share of T (SDEdit); 1 leaves nothing of it", gt=0, le=1
    )
    mask: str = option(
        "",
        "with a picture: what is painted anew: top, bottom, left, right, centre, border, or the light part of a file",
    )


@dataclass(frozen=True, kw_only=True)
class AncestralConfig(SamplerConfig):
    """sampler.* of `ddpm`."""

    steps: int = option(0, "of the T steps that are taken; 0: all", ge=0, le=10_000)


@dataclass(frozen=True, kw_only=True)
class PathConfig:
    """The moments of a solver."""

    steps: int = option(20, "moments at which the network is asked", ge=1, le=10_000)
    spacing: Literal["linear", "quadratic", "logsnr"] = option(
        "linear", "moments evenly in t, as squares of it, or evenly in the log of the SNR"
    )


@dataclass(frozen=True, kw_only=True)
class FewStepsConfig(PathConfig, SamplerConfig):
    """What the solvers have in sampler.*."""


@dataclass(frozen=True, kw_only=True)
class HeunConfig(SamplerConfig):
    """sampler.* of `heun`."""

    steps: int = option(20, "moments, at each of which but the last the network is asked twice", ge=1, le=10_000)


@dataclass(frozen=True, kw_only=True)
class DDIMConfig(FewStepsConfig):
    """sampler.* of `ddim`."""

    steps: int = option(50, "moments at which the network is asked", ge=1, le=10_000)
    eta: float = option(0.0, "fresh noise: 0 none, 1 as much as the ancestral sampler", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class ForwardConfig:
    """Of `forward`."""

    n: int = option(6, "pictures", ge=1, le=64)
    columns: int = option(10, "moments, evenly from the picture to noise", ge=2, le=100)


@dataclass(frozen=True, kw_only=True)
class DenoiseConfig(PathConfig, EstimateConfig):
    """sampler.* of `denoise`."""

    rows: int = option(6, "pictures, each with a row of x_t and below it a row of what is taken for x_0", ge=1, le=64)
    columns: int = option(10, "moments that are shown", ge=2, le=100)


@dataclass(frozen=True, kw_only=True)
class GuidanceConfig:
    """sampler.* of `guidance`."""

    scales: tuple[float, ...] = option((0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0), "strengths of the guidance, a column each")
    rows: int = option(8, "pictures of the noise, a row each, the classes in turn", ge=1, le=64)
    steps: int = option(20, "moments at which the network is asked", ge=1, le=10_000)


@dataclass(frozen=True, kw_only=True)
class VlbConfig:
    """Of `vlb`."""

    draws: int = option(16, "moments t > 0 of each picture, spread evenly over 1 .. T-1; 0: every one", ge=0, le=10_000)


@dataclass(frozen=True, kw_only=True)
class SolverStepsConfig:
    """Of `solver-steps`."""

    n: int = option(1000, "samples of each", ge=2)
    steps: tuple[int, ...] = option((5, 10, 20, 50), "how many steps")
    solvers: tuple[str, ...] = option(("ddim", "dpm-solver", "heun"), "which samplers")
    guidance: float = option(1.0, "classifier-free, of every sampler", ge=0, le=100)
    ancestral: bool = option(False, "the ancestral chain of all T steps too (slow)")
    metric: str = option("fid", "the evaluator whose first figure is plotted")
