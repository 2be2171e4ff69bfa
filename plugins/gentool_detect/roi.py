"""Regions of a feature map brought to one size: RoI pooling (Girshick 2015) and RoI align (He et al. 2017).

Both are sparse sums (or maxima) over pixels: RoI align is out = S features with a matrix S that depends on the regions
alone, and its gradient is S^T grad. Neither direction needs more than rows of a channels-last map taken and added by
their weights (`kernels.bag_sum`; `bag_max` for RoI pool), in a fixed order: the gradient is the same from run to run, on
a GPU too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .kernels import bag_max, bag_max_grad, bag_sum, transposed


def roi_align(
    features: Tensor,
    rois: Tensor,
    output: tuple[int, int],
    scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """Each region as the mean of bilinear samples in a grid of bins: (K, C, h, w), in channels-last memory.

    features: (N, C, H, W); rois: (K, 5), rows of [picture, x1, y1, x2, y2] in pixels of the picture, `scale` pixels of
    the map for one of the picture; output: bins (h, w); sampling_ratio: samples in a bin along each axis (0: one for
    each pixel of the map that a bin covers, rounded up). With `aligned` pixel i's centre is at i + 0.5; without, at i,
    as in the paper's first code, and regions are at least one pixel of the map. A sample more than a pixel outside is 0.

    Gradients flow to the features, not to the regions.
    """
    _check(features, rois, output)
    regions = rois.detach().float()
    start = regions[:, 1:3] * scale - (0.5 if aligned else 0.0)
    side = (regions[:, 3:5] - regions[:, 1:3]) * scale
    side = side.clamp(min=0.0 if aligned else 1.0)
    rows = _rows(features)
    if sampling_ratio > 0 or not len(rois):
        s = max(1, sampling_ratio)
        out = _align(rows, features.shape, regions[:, 0], start, side, output, (s, s))
    else:
        bins = torch.tensor([output[1], output[0]], device=rois.device)
        samples = torch.nan_to_num(side / bins).ceil().clamp(1, max(features.shape[2:])).long()  # in x and y
        kinds, which = torch.unique(samples, dim=0, return_inverse=True)
        parts, places = [], []
        for i, (sx, sy) in enumerate(kinds.tolist()):  # few: regions of like size go together
            place = (which == i).nonzero()[:, 0]
            places.append(place)
            part = _align(
                rows, features.shape, regions[place, 0], start[place], side[place], output, (int(sy), int(sx))
            )
            parts.append(part)
        out = torch.cat(parts).index_select(0, torch.argsort(torch.cat(places)))
    return out.to(features.dtype).permute(0, 3, 1, 2)


def roi_pool(features: Tensor, rois: Tensor, output: tuple[int, int], scale: float = 1.0) -> Tensor:
    """Each region as the maxima of a grid of bins (Girshick 2015, section 2.1): (K, C, h, w), in channels-last memory.

    Arguments as in `roi_align`. The region's corners are rounded to pixels of the map, both counted in; bin i of n
    covers the pixels from floor(i side / n) to ceil((i + 1) side / n), so that neighbours may share some. A bin that
    lies outside is 0. The gradient goes to the (first) largest pixel of each bin and channel.
    """
    _check(features, rois, output)
    _, c, height, width = features.shape
    k, (h, w) = len(rois), output
    regions = torch.nan_to_num(rois.detach().float())
    corner = (regions[:, 1:5] * scale + 0.5).floor()  # halves go up
    x0, x1 = _bins(corner[:, 0], corner[:, 2], w, width)
    y0, y1 = _bins(corner[:, 1], corner[:, 3], h, height)
    high, wide = (y1 - y0)[:, :, None].expand(k, h, w).reshape(-1), (x1 - x0)[:, None, :].expand(k, h, w).reshape(-1)
    count = high * wide
    ends = count.cumsum(0)
    bag = torch.repeat_interleave(torch.arange(len(count), device=rois.device), count)
    place = torch.arange(len(bag), device=rois.device) - (ends - count)[bag]
    first = ((regions[:, 0].long() * height)[:, None, None] + y0[:, :, None]) * width + x0[:, None, :]
    index = first.reshape(-1)[bag] + place // wide[bag] * width + place % wide[bag]
    rows = _rows(features)
    offsets = F.pad(ends, (1, 0)).to(torch.int32)
    out: Tensor = _BagMax.apply(rows, index.to(torch.int32), offsets)  # type: ignore[no-untyped-call]
    return out.view(k, h, w, c).to(features.dtype).permute(0, 3, 1, 2)


def _check(features: Tensor, rois: Tensor, output: tuple[int, int]) -> None:
    if features.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"features (N, C, H, W) and regions (K, 5) are wanted, not {features.shape} and {rois.shape}")
    if min(output) < 1:
        raise ValueError(f"a region needs one bin at least, not {output}")


def _rows(features: Tensor) -> Tensor:
    """Pixels as rows: (N H W, C), on a CPU float32 at least; no copy of a map that is channels-last."""
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    return rows if rows.dtype == torch.float64 or bag_sum.uses_triton(rows.device) else rows.float()


def _bins(low: Tensor, high: Tensor, bins: int, size: int) -> tuple[Tensor, Tensor]:
    """First and one past the last pixel of each bin of regions low..high (K,) along an axis: int64 (K, bins) each."""
    side = (high - low + 1).clamp(min=1) / bins
    i = torch.arange(bins, device=low.device)
    first = (low[:, None] + (i * side[:, None]).floor()).clamp(0, size)
    last = (low[:, None] + ((i + 1) * side[:, None]).ceil()).clamp(0, size)
    return first.long(), torch.maximum(last, first).long()


def _align(
    rows: Tensor,
    shape: torch.Size,
    picture: Tensor,
    start: Tensor,
    side: Tensor,
    output: tuple[int, int],
    samples: tuple[int, int],
) -> Tensor:
    """`roi_align` with one number of samples (in y and x), from pixels as rows: (K, h, w, C)."""
    _, c, height, width = shape
    x, wx = _taps(start[:, 0], side[:, 0], output[1], samples[1], width)
    y, wy = _taps(start[:, 1], side[:, 1], output[0], samples[0], height)
    first = (picture.long() * (height * width)).to(torch.int32)
    index = (first[:, None, None] + y * width)[:, :, None, :, None] + x[:, None, :, None, :]
    weight = wy[:, :, None, :, None] * wx[:, None, :, None, :]
    bags = len(picture) * output[0] * output[1]
    taps = 4 * samples[0] * samples[1]
    offsets = torch.arange(0, (bags + 1) * taps, taps, dtype=torch.int32, device=rows.device)
    out: Tensor = _BagSum.apply(rows, index.reshape(-1), weight.reshape(-1), offsets)  # type: ignore[no-untyped-call]
    return out.view(len(picture), *output, c)


def _taps(start: Tensor, side: Tensor, bins: int, samples: int, size: int) -> tuple[Tensor, Tensor]:
    """The pixels each bin takes along an axis, and their weights: int32 and float (K, bins, 2 samples).

    A sample takes its two neighbours by nearness; within a pixel outside, the edge alone; farther out, nothing.
    """
    at = (torch.arange(bins * samples, device=start.device, dtype=start.dtype) + 0.5) / (bins * samples)
    place = start[:, None] + side[:, None] * at
    inside = (place >= -1) & (place <= size)  # false of NaN
    place = torch.where(inside, place, 0).clamp(0, size - 1)
    low = place.floor()
    part = place - low
    high = (low + 1).clamp(max=size - 1)
    share = inside.to(place.dtype) / samples
    index = torch.stack((low, high), -1).to(torch.int32)
    weight = torch.stack(((1 - part) * share, part * share), -1)
    return index.view(-1, bins, 2 * samples), weight.view(-1, bins, 2 * samples)


class _BagSum(torch.autograd.Function):
    """`kernels.bag_sum` with its gradient for the rows: the same sum over the bags that took each row."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight, offsets)
        ctx.rows = len(rows)
        add = bag_sum.reference if rows.dtype == torch.float64 else bag_sum
        made: Tensor = add(rows, index, weight, offsets)
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        index, weight, offsets = ctx.saved_tensors
        bag, turned, order = transposed(index, _bag_of(offsets), ctx.rows)
        taken = _BagSum.apply(grad.contiguous(), bag, weight[order], turned)  # type: ignore[no-untyped-call]
        return taken, None, None, None


class _BagMax(torch.autograd.Function):
    """`kernels.bag_max` with its gradient: to the row that was chosen."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
        take = bag_max.reference if rows.dtype == torch.float64 else bag_max
        out, chosen = take(rows, index, offsets)
        ctx.save_for_backward(index, offsets, chosen)
        ctx.rows = len(rows)
        made: Tensor = out
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index, offsets, chosen = ctx.saved_tensors
        bag, turned, _ = transposed(index, _bag_of(offsets), ctx.rows)
        give = bag_max_grad.reference if grad.dtype == torch.float64 else bag_max_grad
        return give(grad.contiguous(), chosen, bag, turned), None, None


def _bag_of(offsets: Tensor) -> Tensor:
    """The bag of each entry, int64 (E,)."""
    return torch.repeat_interleave(offsets.diff().long())
