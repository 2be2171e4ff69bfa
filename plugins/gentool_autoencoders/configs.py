"""Every setting of this plugin: frozen dataclasses, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool.specs import option


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What the networks of all autoencoders share; the decoder mirrors the encoder."""

    latent: int = option(16, "dimensions of the code z", ge=1, le=4096)
    architecture: Literal["mlp", "conv"] = option("mlp", "fully connected, or strided convolutions (sides % 4 == 0)")
    hidden: tuple[int, ...] = option((256, 256), "mlp: widths of the hidden layers, in the encoder's order")
    width: int = option(
        32, "conv: channels after one halving; doubled by each further, at most fourfold", ge=1, le=1024
    )
    blocks: int = option(0, "conv: residual blocks at each size; 0: plain strided convolutions", ge=0, le=32)
    activation: Literal["tanh", "relu", "leaky-relu", "silu", "gelu"] = option("silu", "nonlinearity of the networks")


@dataclass(frozen=True, kw_only=True)
class AEConfig(NetworkConfig):
    """model.* of `ae`."""

    @property
    def conditional(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class VAEConfig(NetworkConfig):
    """model.* of `vae`."""

    conditional: bool = option(False, "give encoder and decoder the class label (one-hot)")
    likelihood: Literal["auto", "bernoulli", "gaussian"] = option(
        "auto", "p(x|z) of a pixel in [0, 1]; auto: bernoulli for binarised pictures, else gaussian"
    )
    variance: Literal["fixed", "global", "pixel"] = option(
        "global", "gaussian: sigma is given, one learned number, or the decoder's at each pixel"
    )
    sigma: float = option(0.1, "gaussian: sigma, or where a global one starts, for pixels in [0, 1]", gt=0, le=10)
    sigma_min: float = option(0.01, "gaussian: the least a learned sigma can be", gt=0, le=1)


@dataclass(frozen=True, kw_only=True)
class VAEGANConfig(NetworkConfig):
    """model.* of `vae-gan`; the discriminator has the encoder's shape."""

    conditional: bool = option(False, "give encoder, decoder and discriminator the class label (one-hot)")


@dataclass(frozen=True, kw_only=True)
class ElboConfig:
    """loss.* of `elbo`."""

    beta: float = option(1.0, "weight of the KL term; 1 is the bound itself", ge=0)
    warmup: float = option(0.0, "share of the run over which beta rises from 0", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class BetaConfig:
    """loss.* of `beta-vae`."""

    beta: float = option(4.0, "weight of the KL term; above 1 the dimensions of z grow independent", ge=0)
    warmup: float = option(0.0, "share of the run over which beta rises from 0", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class ImportanceConfig:
    """loss.* of `iwae`."""

    k: int = option(5, "draws of z for each picture; 1 is the lower bound with a sampled KL", ge=1, le=5000)


@dataclass(frozen=True, kw_only=True)
class DamageConfig:
    """loss.* of `mse` and `bce`: what is done to the picture that goes in. What should come out is the clean one."""

    noise: float = option(
        0.0, "deviation of Gaussian noise added, for pixels in [-1, 1]: a denoising autoencoder", ge=0
    )
    mask: float = option(0.0, "share of patches set to black: a masked autoencoder", ge=0, lt=1)
    patch: int = option(4, "side of a masked patch in pixels", ge=1, le=1024)


@dataclass(frozen=True, kw_only=True)
class VAEGANLossConfig:
    """loss.* of `vae-gan`."""

    gamma: float = option(1e-2, "decoder: weight of the reconstruction term against the adversarial one", ge=0)
    beta: float = option(1.0, "encoder: weight of the KL term", ge=0)


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """sampler.* of `prior`."""

    temperature: float = option(1.0, "standard deviation of z; below 1: safer pictures, less variety", ge=0, le=10)
    pixels: Literal["mean", "draw"] = option("mean", "the decoder's mean, or pixels drawn from p(x|z)")


@dataclass(frozen=True, kw_only=True)
class TraverseConfig:
    """sampler.* of `traverse`."""

    dims: int = option(10, "rows: the dimensions that change the picture most", ge=1, le=256)
    columns: int = option(9, "steps along each dimension", ge=2, le=64)
    reach: float = option(2.5, "z_j goes from -reach to reach", gt=0, le=10)


@dataclass(frozen=True, kw_only=True)
class ManifoldConfig:
    """sampler.* of `manifold`."""

    side: int = option(15, "pictures along each axis", ge=2, le=60)


@dataclass(frozen=True, kw_only=True)
class ClassesConfig:
    """sampler.* of `classes`."""

    columns: int = option(10, "how many z", ge=1, le=64)


@dataclass(frozen=True, kw_only=True)
class ElboEvaluationConfig:
    """Options of the evaluator `elbo`."""

    draws: int = option(1, "draws of z for each picture; more give the same mean with less noise", ge=1, le=10_000)


@dataclass(frozen=True, kw_only=True)
class IwaeEvaluationConfig:
    """Options of the evaluator `iwae`."""

    k: int = option(5000, "draws of z for each picture; published figures use 5000", ge=1, le=1_000_000)
    rows: int = option(4096, "pictures decoded at once: the memory it takes", ge=1, le=1_000_000)


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig:
    """Options of the view `interpolate`."""

    rows: int = option(6, "pairs of pictures", ge=1, le=64)
    steps: int = option(9, "decoded pictures between the two", ge=1, le=64)
    path: Literal["spherical", "linear"] = option("spherical", "the way from one code to the other")


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig:
    """Options of the view `reconstruct`."""

    columns: int = option(10, "pictures in a row", ge=1, le=64)
    rows: int = option(3, "pairs of rows", ge=1, le=64)


@dataclass(frozen=True, kw_only=True)
class FewLabelConfig:
    """Options of the evaluator `few-label`."""

    labels: tuple[int, ...] = option((1, 10, 100), "labelled pictures of each class")
    seeds: int = option(3, "times everything is repeated with other labelled pictures", ge=1, le=100)
    steps: int = option(1200, "optimiser steps of each network; without augmentation a third", ge=1, le=1_000_000)
    batch_size: int = option(64, "pictures a step", ge=2, le=100_000)
    encoder_lr: float = option(1e-3, "fine-tuning: rate of the encoder", gt=0, le=1)
    head_lr: float = option(3e-3, "rate of the head, and of everything when training from scratch", gt=0, le=1)
    augment: bool = option(True, "also with random affine and elastic changes of the labelled pictures")


@dataclass(frozen=True, kw_only=True)
class GSNConfig:
    """model.* of `gsn`."""

    hidden: int = option(500, "units of each hidden layer", ge=1, le=100_000)
    layers: int = option(2, "hidden layers", ge=1, le=10)
    activation: Literal["sigmoid", "tanh"] = option("sigmoid", "of the hidden units (tanh in the paper)")
    noise: float = option(0.4, "share of the pixels that salt and pepper damage at every step", ge=0, le=1)
    hidden_noise: float = option(
        0.2, "sigma of the noise before and after each nonlinearity (2 in the paper)", ge=0, le=10
    )


@dataclass(frozen=True, kw_only=True)
class WalkbackConfig:
    """loss.* of `walkback`."""

    steps: int = option(4, "steps of the chain from each training picture", ge=1, le=100)


@dataclass(frozen=True, kw_only=True)
class MarkovChainConfig:
    """sampler.* of `markov-chain`."""

    steps: int = option(100, "steps of each chain, from noise", ge=1, le=100_000)
    pixels: Literal["mean", "draw"] = option("mean", "the mean of P(x | h), or pixels drawn from it")


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """Of `chain`."""

    rows: int = option(6, "chains", ge=1, le=64)
    columns: int = option(20, "pictures of each", ge=1, le=200)
    start: int = option(0, "steps left out before the first picture", ge=0, le=100_000)
    every: int = option(1, "steps from one picture to the next", ge=1, le=1000)
