"""Generative adversarial networks (Goodfellow et al. 2014, "Generative Adversarial Nets").

    gan   a generator and a discriminator, DCGAN-like (Radford et al. 2016) or residual (Gulrajani et al. 2017),
          class-conditional by projection (Miyato and Koyama 2018), with five losses to choose from

`gentool viz gan --vanishing-gradient` shows why the generator's loss is not that of the minimax game.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, hookimpl, option


@dataclass(frozen=True, kw_only=True)
class GANConfig:
    """model.* of `gan`."""

    architecture: Literal["dcgan", "resnet"] = option("dcgan", "plain strided convolutions, or residual blocks")
    latent: int = option(64, "dimensions of z", ge=1, le=4096)
    width: int = option(32, "channels at half the full size; doubled at each halving", ge=1, le=1024)
    widest: int = option(8, "at most so many times `width` channels", ge=1, le=64)
    norm: Literal["batch", "group", "none"] = option("group", "normalisation in the generator; D has none")
    spectral_norm: bool = option(False, "divide each of D's weights by its largest singular value")
    conditional: bool = option(False, "give the class to both networks")


@dataclass(frozen=True, kw_only=True)
class GameConfig:
    """loss.* of the adversarial losses."""

    critic_steps: int = option(1, "k discriminator steps before one of the generator; the batch is cut into k", ge=1)
    r1: float = option(0.0, "gamma of the gradient penalty on the data; 0: off", ge=0)
    r1_every: int = option(16, "discriminator steps between two such penalties (each weighs as many times more)", ge=1)


@dataclass(frozen=True, kw_only=True)
class NonSaturatingConfig(GameConfig):
    """loss.* of `non-saturating`."""

    r1: float = option(0.3, "gamma of the gradient penalty on the data; 0: off", ge=0)


@dataclass(frozen=True, kw_only=True)
class WassersteinConfig(GameConfig):
    """loss.* of `wgan-gp`."""

    critic_steps: int = option(5, "k critic steps before one of the generator; the batch is cut into k", ge=1)
    penalty: float = option(10.0, "lambda, the weight of the gradient penalty", ge=0)


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """sampler.* of `generator`."""

    truncation: float = option(0.0, "z within plus and minus this: truer pictures, less variety; 0: off", ge=0, le=10)


@dataclass(frozen=True, kw_only=True)
class WalkConfig(GeneratorConfig):
    """sampler.* of `latent-walk`."""

    walks: int = option(6, "rows, each between two latent vectors", ge=1, le=100)
    columns: int = option(10, "pictures on the way", ge=2, le=100)


@dataclass(frozen=True, kw_only=True)
class VanishingGradientConfig:
    """Settings of `vanishing-gradient`."""

    generator: Literal["early", "trained"] = option("early", "G as at the start of training, or as it is now")
    steps: int = option(300, "discriminator steps with the generator fixed", ge=1, le=100_000)
    points: int = option(25, "how often both gradients are measured, densest at the start", ge=2, le=1000)
    batch_size: int = option(64, "pictures a step, and latent vectors the gradients are measured on", ge=1, le=10_000)
    examples: int = option(2048, "training examples and latent vectors the discriminator sees", ge=1, le=1_000_000)
    lr: float = option(1e-3, "the new discriminator's learning rate", gt=0, le=1)


def _adam(lr: float, betas: tuple[float, float]) -> dict[str, object]:
    """The same Adam for both networks."""
    return {
        f"optim.{phase}.{key}": value
        for phase in ("generator", "discriminator")
        for key, value in {"name": "adam", "lr": lr, "betas": betas}.items()
    }


# R1 sums over the pixels, so gamma grows with their number: 0.1 to 0.3 serve 8x8, 1 serves 28x28.
_GREY_28 = {"model.conditional": True, "loss.r1": 1.0, "train.steps": 8000}

PRESETS: dict[str, dict[str, object]] = {
    "debug": {"train.steps": 2, "train.batch_size": 8, "model.width": 4, "model.latent": 4},
    "conditional": {"model.conditional": True},
    "mnist": {"data.name": "mnist", **_GREY_28},
    "fashion-mnist": {"data.name": "fashion-mnist", **_GREY_28},
    "cifar10": {
        "data.name": "cifar10",
        "model.conditional": True,
        "model.width": 64,
        "model.latent": 128,
        "loss.r1": 1.0,
        "train.steps": 40_000,
        "train.ema": 0.999,
        **_adam(4e-4, (0.5, 0.99)),
    },
    # The paper's k = 5 with minibatches of 64, its betas, and no normalisation in the critic (algorithm 1).
    "wgan-gp": {"loss.name": "wgan-gp", "train.batch_size": 320, **_adam(5e-4, (0.0, 0.9))},
    "resnet": {"model.architecture": "resnet"},
}

GAN = ModelSpec(
    name="gan",
    summary="Generator against discriminator, DCGAN-like or residual, with five losses",
    factory="gentool_gan.model:GAN",
    config=GANConfig,
    output=Output.IMAGE,
    loss="non-saturating",
    sampler="generator",
    evaluators=("fid", "precision-recall"),
    dataset="digits",
    offers=("adversarial", "decode"),
    paper="Goodfellow et al. 2014, arXiv:1406.2661",
    phases=("generator", "discriminator"),
    defaults={
        "train.steps": 2500,
        "train.batch_size": 64,
        "train.ema": 0.998,
        "schedule.name": "cosine",
        "schedule.final": 0.05,
        **_adam(1e-3, (0.5, 0.99)),
    },
    checkpoints={
        "mnist": "checkpoints/gan-mnist.safetensors",
        "fashion-mnist": "checkpoints/gan-fashion-mnist.safetensors",
    },
    presets=PRESETS,
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [GAN]


def _game(name: str, summary: str, attribute: str, paper: str, config: type = GameConfig, *aliases: str) -> LossSpec:
    return LossSpec(
        name=name,
        summary=summary,
        factory=f"gentool_gan.loss:{attribute}",
        needs=("adversarial",),
        config=config,
        paper=paper,
        aliases=aliases,
    )


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        _game(
            "minimax",
            "The game as first written: G minimises log(1 - D(G(z)))",
            "Minimax",
            "Goodfellow et al. 2014, equation 1",
        ),
        _game(
            "non-saturating",
            "G maximises log D(G(z)) instead; with R1 by default",
            "NonSaturating",
            "Goodfellow et al. 2014, section 3",
            NonSaturatingConfig,
        ),
        _game("hinge", "Margins of 1 around D = 0", "Hinge", "Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018"),
        _game(
            "least-squares",
            "D regresses to 1 and 0, G to 1",
            "LeastSquares",
            "Mao et al. 2017, arXiv:1611.04076, equation 9",
            GameConfig,
            "lsgan",
        ),
        _game(
            "wgan-gp",
            "Wasserstein distance by a critic of slope 1",
            "Wasserstein",
            "Gulrajani et al. 2017, arXiv:1704.00028, equation 3",
            WassersteinConfig,
        ),
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="generator",
            summary="G(z) of standard normal z, truncated if asked",
            factory="gentool_gan.sampler:generator",
            needs=("adversarial",),
            config=GeneratorConfig,
            paper="Goodfellow et al. 2014; truncation: Brock et al. 2019",
        ),
        SamplerSpec(
            name="latent-walk",
            summary="Walks along great circles of the latent space",
            factory="gentool_gan.sampler:latent_walk",
            needs=("adversarial", "decode"),
            config=WalkConfig,
            view=True,
            paper="White 2016, arXiv:1609.04468",
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="vanishing-gradient",
            summary="G's gradient by the minimax and the non-saturating loss while D nears its optimum",
            factory="gentool_gan.evaluate:VanishingGradient",
            needs=("adversarial",),
            config=VanishingGradientConfig,
            streams="none",
            split="train",
            view=True,
            paper="Arjovsky & Bottou 2017, arXiv:1701.04862, figure 2",
        )
    ]
