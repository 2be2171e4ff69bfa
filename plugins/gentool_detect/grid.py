"""The places a detector predicts at: the centres of a feature map's cells, and the anchors around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gentool import UsageError

from .backbone import Places


@dataclass(frozen=True)
class Grid:
    """All places of all levels, one after the other, row by row.

    points: float32 (A, 2), x y in pixels; strides: float32 (A,), pixels a cell is wide; inside: bool (N, A), whether the
    place belongs to the picture; boxes: float32 (A, 4), the anchors, where a place has any (then A counts anchors).
    """

    points: Tensor
    strides: Tensor
    inside: Tensor
    boxes: Tensor


def make_grid(places: Places, strides: Sequence[int], shapes: Tensor | None = None) -> Grid:
    """shapes: float32 (levels, B, 2), width and height of the anchors of each level in pixels; None: one anchor a place,
    a square of four strides."""
    device = places.size.device
    points, widths, inside, boxes = [], [], [], []
    for level, stride in enumerate(strides):
        mask = places.inside(stride)
        height, width = mask.shape[1:]
        y, x = torch.meshgrid(
            (torch.arange(height, device=device) + 0.5) * stride,
            (torch.arange(width, device=device) + 0.5) * stride,
            indexing="ij",
        )
        centre = torch.stack((x, y), -1).view(-1, 1, 2)
        shape = torch.full((1, 2), 4.0 * stride) if shapes is None else shapes[level]
        half = shape.to(device)[None] / 2
        per = half.shape[1]
        boxes.append(torch.cat((centre - half, centre + half), -1).view(-1, 4))
        points.append(centre.expand(-1, per, 2).reshape(-1, 2))
        widths.append(torch.full((height * width * per,), float(stride), device=device))
        inside.append(mask.flatten(1).repeat_interleave(per, 1))
    return Grid(torch.cat(points), torch.cat(widths), torch.cat(inside, 1), torch.cat(boxes))


def anchor_shapes(strides: Sequence[int], size: float, scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Width and height of anchors, float32 (levels, scales x ratios, 2): area (size stride scale)^2, height / width one
    of the ratios (Ren et al. 2015, section 3.1.1; with levels of a pyramid, Lin et al. 2017, section 4.1)."""
    if not scales or not ratios or min(*scales, *ratios) <= 0:
        raise UsageError(f"Anchors have scales and ratios above 0, not {list(scales)} and {list(ratios)}.")
    side = torch.tensor([[size * stride * scale for scale in scales] for stride in strides])
    root = torch.tensor(list(ratios)).sqrt()
    width = side[:, :, None] / root
    height = side[:, :, None] * root
    return torch.stack((width, height), -1).flatten(1, 2)


def centred(grid: Grid) -> Tensor:
    """The cells themselves as boxes (A, 4)."""
    half = grid.strides[:, None] / 2
    return torch.cat((grid.points - half, grid.points + half), 1)
