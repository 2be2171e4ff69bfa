"""A tiny VQ-VAE, and one whose encoder and decoder are matrices in float64, for the tests of `gentool_vqvae`."""

from __future__ import annotations

from typing import Any

import torch
from gentool_vqvae import VQVAEConfig
from gentool_vqvae.model import VQVAE
from torch import Tensor, nn

from gentool import DataInfo

TINY: dict[str, Any] = {
    "codes": 6,
    "dim": 3,
    "hidden": 8,
    "blocks": 1,
    "prior_channels": 4,
    "prior_layers": 2,
    "prior_hidden": 8,
    "prior_embed": 4,
}


def tiny(
    image: tuple[int, int, int] = (1, 8, 8), levels: int = 256, classes: tuple[str, ...] = (), **changes: Any
) -> VQVAE:
    """An untrained VQ-VAE, the same every time."""
    torch.manual_seed(1)
    return VQVAE(VQVAEConfig(**{**TINY, **changes}), DataInfo(image=image, levels=levels, classes=classes))


class LinearDecoder(nn.Module):
    """mu = V z_q at every place; log s = c."""

    def __init__(self, dim: int, channels: int):
        super().__init__()
        self.V = nn.Conv2d(dim, channels, 1, bias=False)
        self.c = nn.Parameter(torch.tensor(-1.0))

    def distribution(self, z_q: Tensor, *, detach: bool = False) -> tuple[Tensor, Tensor]:
        mu = self.V(z_q)
        return mu, self.c.expand_as(mu)

    def forward(self, z_q: Tensor) -> Tensor:
        return self.V(z_q)


def linear(codebook: str = "gradient", channels: int = 2, side: int = 3) -> VQVAE:
    """z_e = W x and mu = V z_q, place by place, in float64: all gradients can be written down."""
    model = tiny((channels, side, side), downsample=1, codebook=codebook)
    dim = model.config.dim
    model.autoencoder.encoder = nn.Conv2d(channels, dim, 1, bias=False)
    model.autoencoder.decoder = LinearDecoder(dim, channels)
    model.double()
    model.autoencoder.codebook.e.data.normal_(generator=torch.Generator().manual_seed(2))
    model.autoencoder.codebook.initialised.fill_(True)
    return model


def pictures(n: int, image: tuple[int, int, int] = (1, 8, 8), seed: int = 0, levels: int = 256) -> Tensor:
    """Random pictures whose pixels are levels in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (n, *image), generator=generator) * (2 / (levels - 1)) - 1


def labels(n: int, classes: int) -> Tensor:
    return torch.arange(n) % classes
