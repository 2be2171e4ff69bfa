"""Which place or anchor is to find which box.

A picture's true boxes are gt (M, 4) with labels (M,); crowd regions are no targets, and what lies in one is not taught
to be background either. Everything is per picture, so memory is that of one picture's boxes times its places.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gentool import Batch

from .boxes import area, intersection, iou
from .grid import Grid, centred

IGNORED = -2
NEGATIVE = -1
ROWS = 1 << 22  # overlaps made at a time: 16 MiB of float32


@dataclass(frozen=True)
class Truth:
    """What one picture shows: boxes (M, 4) and labels (M,) to be found, crowd (C, 4) regions to be left alone."""

    boxes: Tensor
    labels: Tensor
    crowd: Tensor


def truths(batch: Batch) -> list[Truth]:
    """The annotations of each picture, without what is only filled in."""
    found = []
    for boxes, labels, crowd in zip(
        batch.extra["boxes"], batch.extra["box_labels"], batch.extra["crowd"].bool(), strict=True
    ):
        real = labels >= 0
        whole = real & ~crowd
        found.append(Truth(boxes[whole].float(), labels[whole], boxes[real & crowd].float()))
    return found


def in_crowd(boxes: Tensor, crowd: Tensor) -> Tensor:
    """bool (A,): more than half of the box lies in one crowd region."""
    if not len(crowd) or not len(boxes):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    parts = torch.split(boxes, max(1, ROWS // len(crowd)))
    most = torch.cat([intersection(part, crowd).amax(1) for part in parts])
    return most > 0.5 * area(boxes).clamp(min=1e-9)


def match(
    anchors: Tensor, truth: Truth, positive: float, negative: float, usable: Tensor | None = None, *, lift: bool = True
) -> Tensor:
    """For every anchor (A, 4) the index of its box, `NEGATIVE` or `IGNORED`: int64 (A,) (Ren et al. 2015, section 3.1.2).

    An anchor takes the box it overlaps most, if IoU >= positive; below `negative` it is background, between the two it
    is ignored. lift: the best anchors of a box take it however small the overlap (unless it is 0). `usable`, bool (A,):
    the others are ignored. Overlaps exist for a part of the anchors at a time.
    """
    device = anchors.device
    index = torch.full((len(anchors),), NEGATIVE, dtype=torch.int64, device=device)
    allowed = torch.ones_like(index, dtype=torch.bool) if usable is None else usable
    if len(truth.boxes):
        best = anchors.new_zeros(len(anchors))
        which = torch.zeros_like(index)
        top = anchors.new_zeros(len(truth.boxes))
        size = max(1, ROWS // len(truth.boxes))
        for start in range(0, len(anchors), size):
            part = slice(start, start + size)
            overlap = iou(anchors[part], truth.boxes) * allowed[part, None]
            best[part], which[part] = overlap.max(1)
            top = torch.maximum(top, overlap.amax(0))
        index[best >= negative] = IGNORED
        index = torch.where(best >= positive, which, index)
        if lift:
            for start in range(0, len(anchors), size):
                part = slice(start, start + size)
                overlap = iou(anchors[part], truth.boxes) * allowed[part, None]
                own = (overlap >= top - 1e-6) & (overlap > 0)
                chosen = torch.where(own, overlap, -1.0).argmax(1)
                index[part] = torch.where(own.any(1), chosen, index[part])
    index[(index == NEGATIVE) & in_crowd(anchors, truth.crowd)] = IGNORED
    index[~allowed] = IGNORED
    return index


def sample(index: Tensor, count: int, share: float, noise: Tensor) -> Tensor:
    """At most `count` of the matched, at most `share` of them positive, drawn by noise (A,): the index with the others
    ignored."""
    positive, negative = index >= 0, index == NEGATIVE
    taken = torch.full_like(index, IGNORED)
    chosen = _draw(positive, int(count * share), noise)
    taken[chosen] = index[chosen]
    taken[_draw(negative, count - len(chosen), noise)] = NEGATIVE
    return taken


def _draw(which: Tensor, count: int, noise: Tensor) -> Tensor:
    """At most `count` of the True places, those of the smallest noise: int64."""
    there = which.nonzero()[:, 0]
    return there if len(there) <= count else there[noise[there].topk(count, largest=False).indices]


@dataclass(frozen=True)
class Aligned:
    """Targets of every place. index: int64 (A,), the box of a positive place, `NEGATIVE` or `IGNORED`; quality: float32
    (A,), the score a positive place is to give (its normalised alignment), 0 elsewhere."""

    index: Tensor
    quality: Tensor


@torch.no_grad()
def align(
    scores: Tensor,
    boxes: Tensor,
    grid: Grid,
    inside: Tensor,
    truth: Truth,
    *,
    alpha: float = 0.5,
    beta: float = 6.0,
    topk: int = 10,
) -> Aligned:
    """Task-aligned assignment (TOOD, Feng et al. 2021, section 3.2), of one picture.

    scores (A, K) in [0, 1] and boxes (A, 4) are the predictions. Of the places within a box those `topk` are positive
    whose alignment t = s^alpha u^beta is largest, s the score of the box's class and u the IoU; a place that several
    boxes want takes the one it overlaps most. Its target is t, scaled so that the largest of a box equals its largest u.
    A box smaller than a cell still has the places within half a cell of its centre.
    """
    device = scores.device
    index = torch.full((len(scores),), NEGATIVE, dtype=torch.int64, device=device)
    quality = torch.zeros(len(scores), device=device)
    if len(truth.boxes):
        centre = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
        half = (truth.boxes[:, 2:] - truth.boxes[:, :2]) / 2
        away = (grid.points[None] - centre[:, None]).abs()
        reach = torch.maximum(half[:, None], 0.5 * grid.strides[None, :, None])
        candidate = (away <= reach).all(2) & inside  # (M, A)
        u = iou(truth.boxes, boxes)
        s = scores[:, truth.labels].T
        t = torch.where(candidate, s.pow(alpha) * u.pow(beta), -1.0)
        best = t.topk(min(topk, t.shape[1]), dim=1)
        wanted = torch.zeros_like(candidate).scatter_(1, best.indices, best.values >= 0)
        claims = torch.where(wanted, u, -1.0)
        most, which = claims.max(0)
        positive = most >= 0
        index = torch.where(positive, which, index)
        own = torch.zeros_like(t).scatter_(0, which[None], positive[None].float()).bool()
        t = torch.where(own, t, 0.0)
        u = torch.where(own, u, 0.0)
        scaled = t * (u.amax(1, keepdim=True) / t.amax(1, keepdim=True).clamp(min=1e-12))
        quality = scaled.sum(0)
    index[(index == NEGATIVE) & in_crowd(centred(grid), truth.crowd)] = IGNORED
    index[~inside] = IGNORED
    return Aligned(index, quality)
