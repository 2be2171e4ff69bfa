"""Diffusion models of pictures: Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models".

A model is a forward process (`schedule.py`), which destroys a picture in T steps, and a network that is asked of a
destroyed picture what it was. x is (N, C, H, W), t (N,), labels (N,) or None; `null` is the label that says nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gentool import DataInfo, Step, UsageError

from . import likelihood
from .networks import Dense, Embedding, UNet
from .schedule import Schedule

if TYPE_CHECKING:
    from .configs import DiffusionConfig, LatentConfig, ProcessConfig

CODE_STEPS = 50  # of DDIM, between a picture and the noise that stands for it


@dataclass
class Prediction:
    """What the network says of x_t: the picture and the noise, which say the same, and where p(x_t-1|x_t)'s variance
    lies between its bounds, in [0, 1] (None: it is not learned). Each (N, C, H, W)."""

    x0: Tensor
    eps: Tensor
    between: Tensor | None = None


class Process(nn.Module):
    """What diffusion over pictures and over latents share: the forward process, and a network's answers translated.

    A subclass sets `network` and `shape`, that of one x.
    """

    shape: tuple[int, ...]
    network: nn.Module
    alpha: Tensor
    sigma: Tensor
    snr: Tensor
    bounded = False  # whether x lies in [-1, 1], so that estimates may be clipped

    def __init__(self, config: ProcessConfig, info: DataInfo):
        super().__init__()
        if config.conditional and not info.classes:
            raise UsageError(
                "model.conditional needs a data set with classes: leave it false, or choose another --data."
            )
        self.config, self.info, self.conditional = config, info, config.conditional
        self.schedule = Schedule(config.schedule, config.timesteps)
        # What training looks up, on its device: a GPU need not be waited for.
        for name in ("alpha", "sigma", "snr"):
            self.register_buffer(name, getattr(self.schedule, name).float(), persistent=False)
        self.null = len(info.classes)
        width = config.width * config.embed
        self.embedding = Embedding(config.width + config.width % 2, width, self.null + 1 if config.conditional else 0)

    def prepared(self, images: Tensor, step: Step) -> Tensor:
        """x_0 of pictures, in training."""
        return images

    def pictures(self, x: Tensor) -> Tensor:
        """The pictures of x, in [-1, 1]."""
        return x.clamp(-1, 1)

    def at(self, table: Tensor, t: Tensor) -> Tensor:
        """The entries of a table (T,) at whole t (N,), float32 (N, 1, 1, 1)."""
        return table.to(t.device, torch.float32)[t.long()].view(-1, *[1] * len(self.shape))

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t of whole t (N,), each float32 (N, 1, 1, 1)."""
        return self.at(self.alpha, t), self.at(self.sigma, t)

    def noised(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha_t x_0 + sigma_t eps (equation 4 of Ho et al. 2020)."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * x0 + sigma * eps

    def target(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """What the network is to give: eps, x_0, or v = alpha_t eps - sigma_t x_0 (Salimans & Ho 2022, appendix D)."""
        if self.config.predict == "v":
            alpha, sigma = self.alpha_sigma(t)
            return alpha * eps - sigma * x0
        return eps if self.config.predict == "eps" else x0

    def output(self, x_t: Tensor, t: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The network's answer as it is, float32, and where the variance lies between its bounds, in [0, 1].

        A conditional model that is given no labels is told so by `null`."""
        given = None
        if self.conditional:
            given = labels if labels is not None else torch.full_like(t, self.null, dtype=torch.int64)
        out = self.network(x_t, self.embedding(t, given)).float()
        if self.config.variance != "learned":
            return out, None
        out, between = out.chunk(2, 1)
        return out, (between + 1) / 2

    def translate(
        self, out: Tensor, x_t: Tensor, alpha: Tensor | float, sigma: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """(x_0, eps) of the network's answer, by x_t = alpha x_0 + sigma eps."""
        if self.config.predict == "eps":
            return (x_t - sigma * out) / alpha, out
        if self.config.predict == "x0":
            return out, (x_t - alpha * out) / sigma
        return alpha * x_t - sigma * out, sigma * x_t + alpha * out

    def predict(self, x_t: Tensor, t: Tensor, labels: Tensor | None = None) -> Prediction:
        """What the network says of x_t at whole t."""
        alpha, sigma = self.alpha_sigma(t)
        out, between = self.output(x_t, t, labels)
        return Prediction(*self.translate(out, x_t, alpha, sigma), between)

    def facts(self) -> dict[str, float | str]:
        """The network's calls that the default sampler and the full chain make one after the other."""
        return {"T": self.schedule.steps, "predicts": self.config.predict, "schedule": self.config.schedule}


def positive(name: str, values: Sequence[float]) -> None:
    """Refuse a list of sizes that is empty or has one that is none."""
    if not values or min(values) <= 0:
        raise UsageError(f"model.{name} = {list(values)} is refused: one or more numbers above 0, such as [1, 2].")


def unet(
    config: DiffusionConfig | LatentConfig, channels: int, outputs: int, size: tuple[int, int], *, patch: int
) -> UNet:
    """The U-Net of a config over (channels, *size), which gives (outputs, *size)."""
    return UNet(
        channels,
        outputs,
        size,
        widths=tuple(config.width * m for m in config.multiply),
        blocks=config.blocks,
        attention=config.attention,
        head=config.head,
        dropout=config.dropout,
        patch=patch,
        embedding=config.width * config.embed,
    )


class Diffusion(Process):
    """Over pixels: the U-Net, or dense layers for the smallest pictures."""

    bounded = True

    def __init__(self, config: DiffusionConfig, info: DataInfo):
        if info.image is None:
            raise UsageError("diffusion needs pictures: choose an image data set with --data.")
        super().__init__(config, info)
        self.config: DiffusionConfig = config
        self.shape = info.image
        positive("multiply", config.multiply)
        positive("shrink", config.shrink)
        channels, height, width = info.image
        outputs = channels * (2 if config.variance == "learned" else 1)
        if config.network == "dense":
            widths = tuple(max(8, round(config.width * share)) for share in config.shrink)
            embedding = config.width * config.embed
            self.network = Dense(channels, outputs, (height, width), widths=widths, embedding=embedding)
            return
        self.network = unet(config, channels, outputs, (height, width), patch=config.patch)

    # -- capabilities ---------------------------------------------------------------------------------------------

    @property
    def latent(self) -> int:
        """Dimensions of the noise that stands for a picture."""
        return math.prod(self.shape)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures of noise z (N, C H W) by DDIM, which is deterministic: so z is a latent code (Song et al. 2021)."""
        return self.pictures(self._ddim(z.view(-1, *self.shape), labels, into_noise=False))

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The noise (N, C H W) from which `decode` draws pictures: DDIM's path the other way."""
        return self._ddim(images, labels, into_noise=True).flatten(1)

    def _ddim(self, x: Tensor, labels: Tensor | None, *, into_noise: bool) -> Tensor:
        """DDIM at eta = 0 from noise to picture, or from picture to noise along the same moments (Song et al. 2021, section
        4.3: the reverse of the ODE's Euler steps, for which the noise at a moment is taken for that at the next)."""
        path = self.schedule.path(CODE_STEPS, "linear")
        if into_noise:
            path = path[::-1]
        for now, after in itertools.pairwise(path):
            asked = now if now.sigma > 0 else self.schedule.node(0)  # the picture itself is asked of as the least noisy
            out, _ = self.output(x, torch.full((len(x),), asked.t, device=x.device), labels)
            x0, eps = self.translate(out, x, asked.alpha, asked.sigma)
            x = after.alpha * (x0 if now.sigma > 0 else x) + after.sigma * eps
        return x

    def elbo(self, images: Tensor, labels: Tensor | None, step: Step) -> tuple[Tensor, Tensor]:
        """(log p(x_0|x_1), the KL terms of all later steps) in nats, each (N,): equation 5 of Ho et al. 2020, one draw
        of the noise of every t. It asks the network T times."""
        return likelihood.bound(self, images, labels, step)

    def log_weights(self, images: Tensor, labels: Tensor | None, k: int, step: Step) -> Tensor:
        """log p(x_0..T) - log q(x_1..T|x_0) of k chains drawn from q, (k, N). It asks the network k T times."""
        return torch.stack([likelihood.chain_weight(self, images, labels, step, i) for i in range(k)])

    def protocol(self) -> str:
        """What the density is over."""
        given = ", given the class" if self.conditional else ""
        return f"discretised Gaussian over {self.info.levels} levels of a pixel{given}, bound over {self.schedule.steps} steps"
