"""The networks: a generator and a discriminator, plain (DCGAN-like) or residual, for pictures of 8 to 256 pixels a side.

Both work on a pyramid of sizes: 28x28 -> 14x14 -> 7x7, halved until the shorter side is below 8 but at least twice.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from gentool import DataInfo, UsageError
from gentool_gan.norm import BatchNorm, Reference

if TYPE_CHECKING:
    from gentool_gan import GANConfig

SMALLEST, LARGEST = 8, 256
LEAK = 0.2


def pyramid(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes from the coarsest (shorter side 2 to 7) to the full one; each is half the next, rounded up."""
    sizes = [(height, width)]
    while min(sizes[0]) >= 8 or len(sizes) < 3:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


def channels(config: GANConfig, sizes: list[tuple[int, int]]) -> list[int]:
    """Channels at every size but the full one, coarse to fine: `width` below the full size, doubled at each halving."""
    return [config.width * min(2**k, config.widest) for k in range(len(sizes) - 1)][::-1]


def crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The upper left (height, width) of x: an odd size is doubled from its half rounded up, one pixel too many."""
    return x if tuple(x.shape[-2:]) == size else x[..., : size[0], : size[1]]


def normalisation(config: GANConfig, width: int) -> nn.Module:
    """What follows each convolution of the generator."""
    match config.norm:
        case "batch":
            return BatchNorm(width)
        case "group":
            return nn.GroupNorm(next(g for g in (8, 4, 2, 1) if width % g == 0), width)
        case _:
            return nn.Identity()


class Blur(nn.Module):
    """The binomial filter [1, 2, 1] / 4 along both sides.

    A transposed convolution makes the four pixels under one cell of the coarser grid by four sets of taps, and what these
    differ by shows as a pattern of dots (Odena et al. 2016). Its period is 2 pixels, which is what this filter takes away.
    """

    LEFT = 0.375  # of the standard deviation of white noise: (1 + 4 + 1) / 16 of its variance along each side

    taps: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("taps", torch.outer(taps, taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), same shape: every channel by itself. In bf16 a fifth of the time that two poolings take."""
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(x, self.taps.expand(x.shape[1], 1, 3, 3), groups=x.shape[1])


class Up(nn.Module):
    """DCGAN's step up: a transposed 4x4 convolution of stride 2, smoothed, then normalisation and ReLU."""

    def __init__(self, config: GANConfig, before: int, after: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.conv = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        self.blur = Blur()
        self.norm = normalisation(config, after)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(crop(self.blur(self.conv(x)), self.size))
        return x.relu()


class ResidualUp(nn.Module):
    """Pre-activated residual block that doubles the size; the shortcut is a 1x1 convolution, then nearest neighbour."""

    def __init__(self, config: GANConfig, before: int, after: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.norm1, self.norm2 = normalisation(config, before), normalisation(config, after)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)

    def enlarge(self, x: Tensor) -> Tensor:
        return crop(F.interpolate(x, scale_factor=2.0, mode="nearest"), self.size)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.enlarge(self.norm1(x).relu()))
        h = self.conv2(self.norm2(h).relu())
        total: Tensor = self.enlarge(self.shortcut(x)) + h
        return total


class Generator(nn.Module):
    """G(z, y): z (N, latent), labels (N,) or None -> images (N, C, H, W) in (-1, 1). The class is embedded beside z."""

    def __init__(self, config: GANConfig, info: DataInfo):
        super().__init__()
        depth, height, width = need_image(info)
        sizes = pyramid(height, width)
        widths = channels(config, sizes)
        self.size, self.latent, self.reference = sizes[-1], config.latent, Reference()
        self.base = (*sizes[0], widths[0])
        self.embed = nn.Embedding(len(info.classes), config.latent) if config.conditional else None
        self.input = nn.Linear(config.latent * (2 if config.conditional else 1), math.prod(self.base))
        if config.architecture == "resnet":
            # Blocks go up to the full size, then one convolution makes the picture.
            blocks = zip(widths, [*widths[1:], widths[-1]], sizes[1:])
            self.first: nn.Module = nn.Identity()
            self.up = nn.ModuleList(ResidualUp(config, *block) for block in blocks)
            last = nn.Conv2d(widths[-1], depth, 3, padding=1)
            self.output: nn.Module = nn.Sequential(normalisation(config, widths[-1]), nn.ReLU(), last)
        else:
            self.first = nn.Sequential(normalisation(config, widths[0]), nn.ReLU())
            self.up = nn.ModuleList(Up(config, *block) for block in zip(widths, widths[1:], sizes[1:]))
            thin = max(1, widths[-1] // 2)
            self.output = nn.Sequential(
                nn.ConvTranspose2d(widths[-1], thin, 4, stride=2, padding=1),
                Blur(),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(thin, depth, 3, padding=1, padding_mode="replicate"),
            )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                fan_in = module.weight[0].numel()
                if isinstance(module, nn.ConvTranspose2d):  # of its 4x4 taps, stride 2 lets 4 reach a pixel
                    fan_in = module.in_channels * 4
                std = 1 / math.sqrt(fan_in)
                # A `Blur` after every transposed convolution leaves `LEFT` of its deviation. A normalisation scales that
                # up again, but for the last one, which none follows: with one, it begins quieter by so much, and stays
                # so, for its seeds give other networks otherwise. Without any, each is drawn as much louder.
                if isinstance(module, nn.ConvTranspose2d) and config.norm == "none":
                    std /= Blur.LEFT
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if not self.training:
            self.reference.settle(self, self.draw, self.latent, self.embed.num_embeddings if self.embed else 0)
        return self.draw(z, labels)

    def draw(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """The pass itself."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(need_labels(labels))], dim=1)
        x = self.input(z).view(-1, *self.base).permute(0, 3, 1, 2)  # channels last as it comes
        x = self.first(x)
        for up in self.up:
            x = up(x)
        x = crop(self.output(x), self.size)
        return x.tanh()


def bounded(config: GANConfig, layer: nn.Conv2d | nn.Linear | nn.Embedding, *, gain: float) -> nn.Module:
    """A layer of D: weights drawn with standard deviation gain / sqrt(fan-in), spectrally normalised where asked."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if config.spectral_norm else layer


HE = math.sqrt(2 / (1 + LEAK**2))  # keeps the variance through a leaky ReLU (He et al. 2015)


class Down(nn.Module):
    """DCGAN's step down: a 4x4 convolution of stride 2 (odd sizes padded to even), leaky ReLU."""

    def __init__(self, config: GANConfig, before: int, after: int):
        super().__init__()
        self.conv = bounded(config, nn.Conv2d(before, after, 4, stride=2, padding=1), gain=HE)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        x = self.conv(x)
        return F.leaky_relu(x, LEAK)


class ResidualDown(nn.Module):
    """Residual block that halves the size by average pooling; the `first` starts from pixels, without an activation."""

    def __init__(self, config: GANConfig, before: int, after: int, first: bool):
        super().__init__()
        self.first = first
        self.conv1 = bounded(config, nn.Conv2d(before, after, 3, padding=1), gain=HE)
        self.conv2 = bounded(config, nn.Conv2d(after, after, 3, padding=1), gain=HE)
        self.shortcut = bounded(config, nn.Conv2d(before, after, 1, bias=False), gain=1)

    def halve(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else F.leaky_relu(x, LEAK))
        h = self.halve(self.conv2(F.leaky_relu(h, LEAK)))
        total: Tensor = h + self.shortcut(self.halve(x))
        return total / math.sqrt(2)


class Discriminator(nn.Module):
    """D(x, y): images (N, C, H, W), labels (N,) or None -> logits (N,); their sigmoid is Goodfellow's D.

    Conditional: a projection discriminator (Miyato and Koyama 2018), w.h(x) + v_y.h(x). No layer mixes the examples
    of a batch, so that real and fake ones may share a pass and a logit's gradient is that of its own picture.
    """

    def __init__(self, config: GANConfig, info: DataInfo):
        super().__init__()
        depth, height, width = need_image(info)
        sizes = pyramid(height, width)
        widths = [depth, *channels(config, sizes)[::-1]]
        self.residual = config.architecture == "resnet"
        self.down = nn.ModuleList(
            ResidualDown(config, a, b, first=i == 0) if self.residual else Down(config, a, b)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        features = widths[-1] * sizes[0][0] * sizes[0][1]
        self.output = bounded(config, nn.Linear(features, 1), gain=1)
        self.project = (
            bounded(config, nn.Embedding(len(info.classes), features), gain=1) if config.conditional else None
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        x = images
        for down in self.down:
            x = down(x)
        h = (F.leaky_relu(x, LEAK) if self.residual else x).permute(0, 2, 3, 1).flatten(1)
        logits: Tensor = self.output(h).squeeze(1)
        if self.project is not None:
            logits = logits + (self.project(need_labels(labels)) * h).sum(1)
        return logits


def need_image(info: DataInfo) -> tuple[int, int, int]:
    """(C, H, W) of the data, refused where the networks cannot make it."""
    if info.image is None:
        raise UsageError("The gan needs pictures: choose an image data set with --data.")
    height, width = info.image[1:]
    if not (SMALLEST <= height <= LARGEST and SMALLEST <= width <= LARGEST):
        raise UsageError(
            f"The gan draws pictures of {SMALLEST} to {LARGEST} pixels a side, not {height}x{width}: set data.resize."
        )
    return info.image


def need_labels(labels: Tensor | None) -> Tensor:
    """Labels that a conditional model was given."""
    if labels is None:
        raise UsageError("A class-conditional gan needs a class for every picture: use a data set with classes.")
    return labels


class GAN(nn.Module):
    """A generator and a discriminator that are trained against each other (Goodfellow et al. 2014)."""

    def __init__(self, config: GANConfig, info: DataInfo):
        super().__init__()
        need_image(info)
        if config.conditional and not info.classes:
            raise UsageError("A class-conditional gan needs a data set with classes: set model.conditional=false.")
        self.config, self.info = config, info
        self.conditional = config.conditional
        self.latent = config.latent
        self.generator = Generator(config, info)
        self.discriminator = Discriminator(config, info)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W) of latent vectors z (N, latent)."""
        images: Tensor = self.generator(z, labels)
        return images
