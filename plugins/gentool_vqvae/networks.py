"""Encoder and decoder: van den Oord et al. 2017, section 4.1: strided convolutions and residual 3x3 blocks."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))), (N, channels, h, w)."""

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 2)
        self.conv3 = nn.Conv2d(channels, inner, 3, padding=1)
        self.conv1 = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(torch.relu_(self.conv3(torch.relu(x))))  # type: ignore[no-any-return]


def _widths(hidden: int, factor: int) -> list[int]:
    """Channels after each halving of the picture: half as many before the last, where there are four times the places."""
    halvings = factor.bit_length() - 1
    return [max(1, hidden // 2)] * (halvings - 1) + [hidden] * min(1, halvings)


class Encoder(nn.Sequential):
    """Pictures (N, C, H, W) -> z_e (N, dim, H/factor, W/factor); factor is a power of two."""

    def __init__(self, image_channels: int, hidden: int, blocks: int, factor: int, dim: int):
        layers: list[nn.Module] = []
        channels = image_channels
        for width in _widths(hidden, factor):
            layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers += [nn.Conv2d(channels, hidden, 3, padding=1), *(Residual(hidden) for _ in range(blocks))]
        super().__init__(*layers, nn.ReLU(inplace=True), nn.Conv2d(hidden, dim, 1))


class Decoder(nn.Module):
    """z_q (N, dim, h, w) -> (mu, log s), each (N, C, H, W): the mean picture and the log-scale of every pixel.

    The scales are a head of their own. By default it learns on features that are cut off from the gradient, so that
    the picture is as good as without it.
    """

    def __init__(self, image_channels: int, hidden: int, blocks: int, factor: int, dim: int):
        super().__init__()
        widths = _widths(hidden, factor)[::-1]
        layers: list[nn.Module] = [
            nn.Conv2d(dim, hidden, 3, padding=1),
            *(Residual(hidden) for _ in range(blocks)),
            nn.ReLU(inplace=True),
        ]
        for before, after in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        last = widths[-1] if widths else hidden

        def head() -> nn.Module:
            # The last doubling is a sub-pixel convolution: a transposed 4x4 one to a single channel costs ten times it.
            zoom = 2 if factor > 1 else 1
            return nn.Sequential(nn.Conv2d(last, image_channels * zoom**2, 3, padding=1), nn.PixelShuffle(zoom))

        self.mean, self.log_scale = head(), head()

    def forward(self, z_q: Tensor) -> Tensor:
        return self.mean(self.body(z_q))  # type: ignore[no-any-return]

    def distribution(self, z_q: Tensor, *, detach: bool = False) -> tuple[Tensor, Tensor]:
        """mu and log s; with `detach` the scales' gradient ends at their head."""
        features = self.body(z_q)
        return self.mean(features), self.log_scale(features.detach() if detach else features)
