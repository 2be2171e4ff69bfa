"""Boxes: their sizes, overlaps and coordinates.

A box is x1 y1 x2 y2 in pixels, its right and lower edges not counted in: [0, 0, 10, 5] is 10 wide and 5 high. Boxes are
rows of (N, 4); a box whose x2 <= x1 or y2 <= y1 has area 0 and overlaps nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 18  # overlaps made at a time: 1 MiB of float32 stays in a core's cache


def area(boxes: Tensor) -> Tensor:
    """Square pixels: (N, 4) -> (N,), never negative."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Square pixels that each of a (N, 4) has in common with each of b (M, 4): (N, M)."""
    width = torch.minimum(a[:, None, 2], b[None, :, 2]) - torch.maximum(a[:, None, 0], b[None, :, 0])
    height = torch.minimum(a[:, None, 3], b[None, :, 3]) - torch.maximum(a[:, None, 1], b[None, :, 1])
    return width.clamp(min=0) * height.clamp(min=0)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of each of a (N, 4) with each of b (M, 4): (N, M) in [0, 1]; of two empty boxes 0."""
    common = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - common
    return torch.where(union > 0, common / torch.where(union > 0, union, 1), 0)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of a[i] with b[i], both (N, 4): (N,)."""
    return _paired(a, b)[0]


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of a[i] with b[i], both (N, 4): (N,) in [-1, 1] (Rezatofighi et al. 2019, algorithm 1).

    IoU - |C \\ (A u B)| / |C| with C the smallest box around both: negative and with a gradient where they are apart.
    """
    overlap, union = _paired(a, b)
    width = torch.maximum(a[:, 2], b[:, 2]) - torch.minimum(a[:, 0], b[:, 0])
    height = torch.maximum(a[:, 3], b[:, 3]) - torch.minimum(a[:, 1], b[:, 1])
    hull = width.clamp(min=0) * height.clamp(min=0)
    return overlap - torch.where(hull > 0, (hull - union) / torch.where(hull > 0, hull, 1), 0)


def _paired(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(IoU, area of the union) of a[i] with b[i]."""
    width = torch.minimum(a[:, 2], b[:, 2]) - torch.maximum(a[:, 0], b[:, 0])
    height = torch.minimum(a[:, 3], b[:, 3]) - torch.maximum(a[:, 1], b[:, 1])
    common = width.clamp(min=0) * height.clamp(min=0)
    union = area(a) + area(b) - common
    return torch.where(union > 0, common / torch.where(union > 0, union, 1), 0), union


def best_overlap(a: Tensor, b: Tensor, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """For each of a (N, 4) its largest IoU with any of b (M, 4), and which: (float (N,), int64 (N,)); the first of equals.

    At most about `chunk` of the N x M overlaps exist at a time. Without any b the overlaps are 0 and the indices -1.
    """
    if not len(a) or not len(b):
        return a.new_zeros(len(a)), torch.full((len(a),), -1, dtype=torch.int64, device=a.device)
    best, index = [], []
    for part in torch.split(a, max(1, chunk // len(b))):
        most, which = iou(part, b).max(1)
        best.append(most)
        index.append(which)
    return torch.cat(best), torch.cat(index)


def clip(boxes: Tensor, size: Tensor | tuple[float, float]) -> Tensor:
    """Boxes (N, 4) cut to a picture of `size` (height, width)."""
    height, width = float(size[0]), float(size[1])
    return torch.stack(
        (
            boxes[..., 0].clamp(0, width),
            boxes[..., 1].clamp(0, height),
            boxes[..., 2].clamp(0, width),
            boxes[..., 3].clamp(0, height),
        ),
        -1,
    )


def to_cxcywh(boxes: Tensor) -> Tensor:
    """x1 y1 x2 y2 -> centre x, centre y, width, height."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), -1)


def from_cxcywh(boxes: Tensor) -> Tensor:
    """Centre x, centre y, width, height -> x1 y1 x2 y2."""
    x, y, width, height = boxes.unbind(-1)
    return torch.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), -1)
