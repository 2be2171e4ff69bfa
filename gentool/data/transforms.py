"""The declared transforms, on uint8 pictures (N, C, H, W)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK = 1000


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Grey (ITU-R 601 luma) for 1, colour (grey repeated) for 3, as is for 0."""
    have = images.shape[1]
    if channels in (0, have):
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = [
        (part.float() * weights).sum(1, keepdim=True).round_().to(torch.uint8) for part in torch.split(images, _CHUNK)
    ]
    return torch.cat(grey)


def resize(images: Tensor, side: int) -> Tensor:
    """Centre-cropped to a square and resized to `side` (0: as is): bicubic, antialiased where it shrinks."""
    height, width = images.shape[2:]
    if side == 0 or (height == width == side):
        return images
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = images[:, :, top : top + short, left : left + short]
    parts = [
        F.interpolate(part.float(), size=(side, side), mode="bicubic", antialias=True, align_corners=False)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for part in torch.split(square, _CHUNK)
    ]
    return torch.cat(parts)


def quantise(images: Tensor, levels: int) -> Tensor:
    """256 grey values to the indices 0 … levels-1 by equal steps: floor(v levels / 256)."""
    if levels == 256:
        return images
    table = np.array([v * levels // 256 for v in range(256)], dtype=np.uint8)
    return torch.from_numpy(table[images.numpy()])


def to_float(images: Tensor, levels: int) -> Tensor:
    """Indices 0 … levels-1 to float32 in [-1, 1]; the ends are exact."""
    return images.float().div_((levels - 1) / 2).sub_(1)


def draw_binary(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures of 0 and 1, uint8: each pixel is 1 with probability v / 255 exactly.

    One random byte r a pixel, made uniform over 0 … 254 by one s in 1 … 255 a batch: s and what is above it move down
    by one. Then P(r < v) = v/256 + P(s <= v)/256 = v/255. (A float a pixel would cost ten times as much.)
    """
    n = images.numel()
    words = torch.empty((n + 7) // 8, dtype=torch.int64, device=images.device).random_(
        -(2**63), None, generator=generator
    )
    r = words.view(torch.uint8)[:n].view(images.shape)
    s = torch.full_like(r, 1 + generator.initial_seed() % 255)  # full: comparing with a scalar is not vectorised
    return (r.sub_((r >= s).view(torch.uint8)) < images).view(torch.uint8)


def augment(images: Tensor, mode: str, generator: torch.Generator) -> Tensor:
    """Each picture moved or mirrored by its own draw; what a shift uncovers is filled by reflection.

    shift: up to a fourteenth of the side each way (2 pixels of 28, at least 1); flip: mirrored half of the time;
    crop-flip: shifted up to an eighth of the side (4 of 32) and mirrored half of the time.
    """
    if mode == "none":
        return images
    n, channels, height, width = images.shape
    device = images.device
    share = {"shift": 14, "flip": 0, "crop-flip": 8}[mode]
    rows = torch.arange(height, device=device).expand(n, height)
    columns = torch.arange(width, device=device).expand(n, width)
    if mode != "shift":
        mirrored = torch.randint(2, (n, 1), generator=generator, device=device).bool()
        if mode == "flip":
            return torch.where(mirrored.view(n, 1, 1, 1), images.flip(3), images)
        columns = torch.where(mirrored, columns.flip(1), columns)
    rows = _reflect(rows + _offsets(n, height, share, generator, device), height)
    columns = _reflect(columns + _offsets(n, width, share, generator, device), width)
    places = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view(images.shape)


def _offsets(n: int, side: int, share: int, generator: torch.Generator, device: torch.device) -> Tensor:
    reach = min(max(1, side // share), side - 1)
    return torch.randint(-reach, reach + 1, (n, 1), generator=generator, device=device)


def _reflect(places: Tensor, side: int) -> Tensor:
    return (side - 1) - ((side - 1) - places.abs()).abs()
