"""The networks: from a picture (and its label) to a vector, and back.

Both architectures have one shape of use: ``Encoder(images, labels) -> (N, outputs)`` and
``Decoder(z, labels) -> (N, channels, H, W)``. Labels enter as one-hot vectors: beside the pixels or as constant planes
in an encoder, beside z in a decoder.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gentool import DataInfo, UsageError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


class Shape(Protocol):
    """What the networks read of a model's config."""

    @property
    def architecture(self) -> str: ...
    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def width(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def activation(self) -> str: ...
    @property
    def conditional(self) -> bool: ...


def image_shape(info: DataInfo) -> tuple[int, int, int]:
    """(C, H, W), or a refusal where the data has no pictures."""
    if info.image is None:
        raise UsageError("An autoencoder needs pictures: choose an image data set with --data.")
    return info.image


def label_count(config: Shape, info: DataInfo) -> int:
    """How long the one-hot vector of a label is: 0 for an unconditional model."""
    if not config.conditional:
        return 0
    if not info.classes:
        raise UsageError(
            f"model.conditional needs classes and the data set '{info.name or 'given'}' has none: "
            "leave it out, or put the pictures into one folder for each class."
        )
    return len(info.classes)


def resolutions(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes a convolutional net works at: halved while both sides are even and above 7 (28 -> 14 -> 7)."""
    if height % 4 or width % 4 or min(height, width) < 8:
        raise UsageError(
            f"model.architecture=conv needs sides that are multiples of 4 and at least 8, not "
            f"{height}x{width}: set data.resize={max(8, round(min(height, width) / 4) * 4)}, or model.architecture=mlp."
        )
    sizes = [(height, width)]
    while all(side % 2 == 0 and side > 7 for side in sizes[-1]):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def channels(width: int, stages: int) -> list[int]:
    """Channels after each halving: `width`, then doubled with each, at most fourfold."""
    return [width * min(2**i, 4) for i in range(stages)]


def mlp(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers through `widths` with the nonlinearity between them (none after the last)."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """x + conv(f(conv(f(x)))); the last convolution starts at 0, so that a deep stack starts as the identity."""

    def __init__(self, width: int, activation: str):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.activation = ACTIVATIONS[activation]()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        f = self.activation
        return x + self.second(f(self.first(f(x))))


def conv_down(c_in: int, shape: tuple[int, int], config: Shape) -> tuple[nn.Sequential, int]:
    """Strided convolutions (and residual blocks after each) to the smallest size, flattened; how many numbers come out.

    The first convolution halves already: at the full size a convolution costs four times as much and sees less.
    """
    sizes, f = resolutions(*shape), config.activation
    wide = [c_in, *channels(config.width, len(sizes) - 1)]
    layers: list[nn.Module] = []
    for c, c_next in itertools.pairwise(wide):
        layers += [nn.Conv2d(c, c_next, 4, stride=2, padding=1)]
        layers += [Residual(c_next, f) for _ in range(config.blocks)]
        layers += [ACTIVATIONS[f]()]
    return nn.Sequential(*layers, nn.Flatten()), wide[-1] * math.prod(sizes[-1])


def conv_up(n_in: int, c_out: int, shape: tuple[int, int], config: Shape) -> nn.Sequential:
    """From a vector to the smallest size, then transposed convolutions: the mirror of `conv_down`."""
    sizes, f = resolutions(*shape), config.activation
    wide = [c_out, *channels(config.width, len(sizes) - 1)][::-1]
    layers: list[nn.Module] = [nn.Linear(n_in, wide[0] * math.prod(sizes[-1])), nn.Unflatten(1, (wide[0], *sizes[-1]))]
    for c, c_next in itertools.pairwise(wide):
        layers += [Residual(c, f) for _ in range(config.blocks)]
        layers += [ACTIVATIONS[f](), nn.ConvTranspose2d(c, c_next, 4, stride=2, padding=1)]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """Images (N, C, H, W) and labels (N,) -> (N, outputs). `trunk` ends before the last linear map."""

    def __init__(self, config: Shape, info: DataInfo, outputs: int):
        super().__init__()
        c, h, w = image_shape(info)
        self.flat = config.architecture == "mlp"
        self.labels = label_count(config, info)
        if self.flat:
            wide = list(config.hidden)
            self.trunk = nn.Sequential(*mlp((c * h * w + self.labels, *wide), config.activation))
            if wide:
                self.trunk.append(ACTIVATIONS[config.activation]())
            self.width = wide[-1] if wide else c * h * w + self.labels
        else:
            self.trunk, self.width = conv_down(c + self.labels, (h, w), config)
        self.head = nn.Linear(self.width, outputs)

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the last linear map reads, (N, width)."""
        x = images.flatten(1) if self.flat else images
        if self.labels:
            y = one_hot_of(labels, self.labels, x)
            x = torch.cat([x, y if self.flat else y[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
        return self.trunk(x)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return in_full(self.head(self.features(images, labels)))


class Decoder(nn.Module):
    """z (N, latent) and labels (N,) -> (N, outputs, H, W): the parameters of p(x|z), `outputs` planes of them."""

    def __init__(self, config: Shape, info: DataInfo, latent: int, outputs: int):
        super().__init__()
        _, h, w = image_shape(info)
        self.shape = (outputs, h, w)
        self.labels = label_count(config, info)
        if config.architecture == "mlp":
            self.net = mlp((latent + self.labels, *reversed(config.hidden), outputs * h * w), config.activation)
        else:
            self.net = conv_up(latent + self.labels, outputs, (h, w), config)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.labels:
            z = torch.cat([z, one_hot_of(labels, self.labels, z)], 1)
        return in_full(self.net(z)).view(-1, *self.shape)


def in_full(x: Tensor) -> Tensor:
    """float32 where autocast made it less: densities, divergences and draws of z are never of 8 bits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def one_hot_of(labels: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """(N, classes), in the type of `like`. A conditional model without labels is refused."""
    if labels is None:
        raise UsageError("This model is class-conditional and needs a label with each picture or z.")
    return one_hot(labels, classes).to(like.dtype)
