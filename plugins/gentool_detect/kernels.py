"""The operations under RoI align and RoI pool (`roi.py`), forward and backward: weighted sums and maxima over the rows of a
channels-last map.

Every result is the same from run to run: nothing is added atomically. Bags are lists of rows one after the other: bag b
takes the entries offsets[b] to offsets[b + 1] of `index`, int32 (E,), rows of (R, C).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.kernels import Case, Machine, jit, kernel

from . import nms_kernel as nms_kernel  # registers its op

if TYPE_CHECKING:
    import triton.language as tl

TAPS = 8  # rows of a bag that are read at once


# -- references -----------------------------------------------------------------------------------------------------


def bag_sum_reference(rows: Tensor, index: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    """out[b] = sum over the entries e of bag b of weight[e] rows[index[e]]: (R, C) -> (B, C)."""
    weight = weight.to(rows.dtype)
    return F.embedding_bag(index, rows, offsets, mode="sum", per_sample_weights=weight, include_last_offset=True)


def bag_max_reference(rows: Tensor, index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """(out[b] = max over the entries e of bag b of rows[index[e]], (B, C), 0 of none; the row it came from, the first of
    equals, int32 (B, C), -1 of none)."""
    made = torch.ops.aten._embedding_bag.default(rows, index, offsets, False, 2, False, None, True)
    out, chosen = made[0], made[3]
    none = (offsets[1:] == offsets[:-1])[:, None]
    return out.masked_fill(none, 0), chosen.to(torch.int32).masked_fill(none, -1)


def bag_max_grad_reference(grad: Tensor, chosen: Tensor, bag: Tensor, offsets: Tensor) -> Tensor:
    """out[r] = sum over the bags b that list row r (entries offsets[r] to offsets[r + 1] of `bag`) of grad[b] where b
    chose r: (B, C) -> (R, C)."""
    out = grad.new_zeros(len(offsets) - 1, grad.shape[1])
    there = chosen >= 0
    return out.scatter_add_(0, chosen.clamp(min=0).long(), torch.where(there, grad, 0))


# -- Triton ---------------------------------------------------------------------------------------------------------


@jit
def _bag_sum_kernel(  # type: ignore[no-untyped-def]
    rows_ptr, index_ptr, weight_ptr, offsets_ptr, out_ptr, C: tl.constexpr, BLOCK_C: tl.constexpr, TAPS: tl.constexpr
):  # fmt: skip
    """One program adds BLOCK_C channels of one bag, TAPS rows at once."""
    bag = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((TAPS, BLOCK_C), tl.float32)
    last = tl.load(offsets_ptr + bag + 1)
    for first in range(tl.load(offsets_ptr + bag), last, TAPS):
        e = first + tl.arange(0, TAPS)
        row = tl.load(index_ptr + e, mask=e < last, other=0).to(tl.int64)
        weight = tl.load(weight_ptr + e, mask=e < last, other=0.0).to(tl.float32)
        mask = (e < last)[:, None] & (c < C)[None, :]
        x = tl.load(rows_ptr + row[:, None] * C + c[None, :], mask=mask, other=0.0)
        total += weight[:, None] * x.to(tl.float32)
    tl.store(out_ptr + bag * C + c, tl.sum(total, 0), mask=c < C)


@jit
def _bag_max_kernel(  # type: ignore[no-untyped-def]
    rows_ptr, index_ptr, offsets_ptr, out_ptr, chosen_ptr,
    C: tl.constexpr, BLOCK_C: tl.constexpr, TAPS: tl.constexpr, NONE: tl.constexpr,
):  # fmt: skip
    """One program takes the maxima of BLOCK_C channels of one bag: those of every TAPS-th row first, with the entries they
    are from, of which the earliest of equals is taken at the end."""
    bag = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    best = tl.full((TAPS, BLOCK_C), float("-inf"), tl.float32)
    entry = tl.full((TAPS, BLOCK_C), NONE, tl.int32)
    begin = tl.load(offsets_ptr + bag)
    last = tl.load(offsets_ptr + bag + 1)
    for first in range(begin, last, TAPS):
        e = first + tl.arange(0, TAPS)
        row = tl.load(index_ptr + e, mask=e < last, other=0).to(tl.int64)
        mask = (e < last)[:, None] & (c < C)[None, :]
        x = tl.load(rows_ptr + row[:, None] * C + c[None, :], mask=mask, other=float("-inf")).to(tl.float32)
        more = x > best
        best = tl.where(more, x, best)
        entry = tl.where(more, e[:, None], entry)
    most = tl.max(best, 0)
    at = tl.min(tl.where(best == most[None, :], entry, NONE), 0)
    chosen = tl.load(index_ptr + at, mask=(c < C) & (at < NONE), other=-1)
    tl.store(out_ptr + bag * C + c, tl.where(begin < last, most, 0.0), mask=c < C)
    tl.store(chosen_ptr + bag * C + c, chosen, mask=c < C)


@jit
def _bag_max_grad_kernel(  # type: ignore[no-untyped-def]
    grad_ptr, chosen_ptr, bag_ptr, offsets_ptr, out_ptr, C: tl.constexpr, BLOCK_C: tl.constexpr, TAPS: tl.constexpr
):  # fmt: skip
    """One program adds, for BLOCK_C channels of one row, the gradients of the bags that chose it."""
    row = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((TAPS, BLOCK_C), tl.float32)
    last = tl.load(offsets_ptr + row + 1)
    for first in range(tl.load(offsets_ptr + row), last, TAPS):
        e = first + tl.arange(0, TAPS)
        bag = tl.load(bag_ptr + e, mask=e < last, other=0).to(tl.int64)
        mask = (e < last)[:, None] & (c < C)[None, :]
        place = bag[:, None] * C + c[None, :]
        chosen = tl.load(chosen_ptr + place, mask=mask, other=-1)
        grad = tl.load(grad_ptr + place, mask=mask & (chosen == row), other=0.0)
        total += grad.to(tl.float32)
    tl.store(out_ptr + row.to(tl.int64) * C + c, tl.sum(total, 0), mask=c < C)


def bag_config(channels: int) -> dict[str, int]:
    """Tile sizes: 16 elements a thread, so that 16-byte loads of bfloat16 need no exchange between threads."""
    block = max(16, min(256, 1 << (channels - 1).bit_length()))
    return {"BLOCK_C": block, "TAPS": TAPS, "num_warps": max(1, min(4, block * TAPS // 512))}


def _bag_elements(rows: Tensor, *rest: Tensor) -> int:
    return bag_config(rows.shape[1])["BLOCK_C"] * TAPS


def _bag_grid(bags: int, channels: int) -> tuple[int, int]:
    return bags, -(-channels // bag_config(channels)["BLOCK_C"])


def _bag_sum_fake(rows: Tensor, index: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    return rows.new_empty(offsets.shape[0] - 1, rows.shape[1])


def bag_sum_agrees(args: tuple[Tensor, ...], out: Tensor) -> str:
    rows, index, weight, offsets = args
    bag = torch.repeat_interleave(offsets.diff().long())
    expected = torch.zeros(len(offsets) - 1, rows.shape[1], dtype=torch.float64, device=rows.device)
    for part in torch.split(torch.arange(len(index), device=rows.device), 1 << 18):
        expected.index_add_(0, bag[part], rows[index[part].long()].double() * weight[part].double()[:, None])
    tolerance = 1e-5 if rows.dtype == torch.float32 else 2e-2
    return "" if torch.allclose(out.double(), expected, rtol=tolerance, atol=tolerance) else "a sum is wrong"


def _roi_case(name: str, regions: int, channels: int, side: int, taps: int, backward: bool, budget: float) -> Case:
    """The bags of RoI align of `regions` to 7 x 7 with 2 x 2 samples, or those of its gradient: one a pixel."""
    bags, pixels = regions * 49, side * side

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        index = torch.randint(0, pixels, (bags, 1), device=device) + torch.arange(taps, device=device)
        index = index.clamp(max=pixels - 1).flatten().to(torch.int32)
        weight = torch.rand(len(index), device=device)
        if not backward:
            offsets = torch.arange(0, len(index) + 1, taps, device=device, dtype=torch.int32)
            return torch.randn(pixels, channels, device=device, dtype=dtype), index, weight, offsets
        turned, offsets, order = transposed(index, torch.arange(bags, device=device).repeat_interleave(taps), pixels)
        return torch.randn(bags, channels, device=device, dtype=dtype), turned, weight[order], offsets

    floor = 4 * channels * (bags + pixels) + 8 * bags * taps
    return Case(name=name, make=make, bytes=floor, flops=2 * bags * taps * channels, instructions=budget, seconds=0.5)


@kernel(
    "gentool_detect::bag_sum(Tensor rows, Tensor index, Tensor weight, Tensor offsets) -> Tensor",
    reference=bag_sum_reference,
    fake=_bag_sum_fake,
    agree=bag_sum_agrees,
    note="RoI align, forward and backward, without atomics; not yet timed on a GPU",
    cases=[
        _roi_case("1000 regions, 256 channels", 1000, 256, 50, 16, False, 5.0),
        _roi_case("1000 regions, 256 channels, gradient", 1000, 256, 50, 16, True, 5.0),
        _roi_case("128 regions, 64 channels", 128, 64, 16, 16, False, 5.0),
        _roi_case("odd sizes", 77, 120, 13, 11, False, 5.0),
    ],
    machine=Machine(elements=_bag_elements, kernel="_bag_sum_kernel"),
)
def bag_sum(rows: Tensor, index: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    """Launch: a program for each bag and 256 channels."""
    out = _bag_sum_fake(rows, index, weight, offsets)
    if out.numel():
        bags, channels = out.shape
        rows, index, weight, offsets = rows.contiguous(), index.contiguous(), weight.contiguous(), offsets.contiguous()
        config = bag_config(channels)
        _bag_sum_kernel[_bag_grid(bags, channels)](rows, index, weight, offsets, out, C=channels, **config)
    return out


def _bag_max_fake(rows: Tensor, index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    shape = (offsets.shape[0] - 1, rows.shape[1])
    return rows.new_empty(shape), rows.new_empty(shape, dtype=torch.int32)


def bag_max_agrees(args: tuple[Tensor, ...], out: tuple[Tensor, Tensor]) -> str:
    """ "" if every maximum is that of its bag, to the bit, and the row chosen is the first that has it."""
    expected, chosen = bag_max_reference(args[0].double(), args[1], args[2])
    if not torch.equal(out[0].double(), expected):
        return "a maximum is wrong"
    return "" if torch.equal(out[1], chosen) else "a maximum is said to be of another row"


def _pool_case(name: str, regions: int, channels: int, side: int, budget: float) -> Case:
    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        bags, pixels = regions * 49, side * side
        count = torch.randint(0, 24, (bags,), device=device)
        offsets = F.pad(count.cumsum(0), (1, 0)).to(torch.int32)
        first = torch.randint(0, pixels, (bags,), device=device)
        bag = torch.repeat_interleave(count)
        index = (first[bag] + torch.arange(len(bag), device=device) - offsets[:-1][bag]) % pixels
        return torch.randn(pixels, channels, device=device, dtype=dtype), index.to(torch.int32), offsets

    floor = 4 * channels * (2 * regions * 49 + side * side) + 4 * regions * 49 * 12
    return Case(name=name, make=make, bytes=floor, flops=regions * 49 * 12 * channels, instructions=budget, seconds=0.5)


@kernel(
    "gentool_detect::bag_max(Tensor rows, Tensor index, Tensor offsets) -> (Tensor, Tensor)",
    reference=bag_max_reference,
    fake=_bag_max_fake,
    agree=bag_max_agrees,
    note="RoI pool; not yet timed on a GPU",
    cases=[
        _pool_case("1000 regions, 256 channels", 1000, 256, 50, 7.0),
        _pool_case("odd sizes", 77, 120, 13, 7.0),
    ],
    machine=Machine(elements=_bag_elements, kernel="_bag_max_kernel"),
)
def bag_max(rows: Tensor, index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Launch: a program for each bag and 256 channels."""
    out, chosen = _bag_max_fake(rows, index, offsets)
    if out.numel():
        bags, channels = out.shape
        rows, index, offsets = rows.contiguous(), index.contiguous(), offsets.contiguous()
        config = bag_config(channels)
        grid = _bag_grid(bags, channels)
        _bag_max_kernel[grid](rows, index, offsets, out, chosen, C=channels, NONE=2**31 - 1, **config)
    return out, chosen


def _bag_max_grad_fake(grad: Tensor, chosen: Tensor, bag: Tensor, offsets: Tensor) -> Tensor:
    return grad.new_empty(offsets.shape[0] - 1, grad.shape[1])


def bag_max_grad_agrees(args: tuple[Tensor, ...], out: Tensor) -> str:
    expected = bag_max_grad_reference(args[0].double(), *args[1:])
    tolerance = 1e-5 if args[0].dtype == torch.float32 else 2e-2
    return "" if torch.allclose(out.double(), expected, rtol=tolerance, atol=tolerance) else "a gradient is wrong"


def _pool_grad_case(name: str, regions: int, channels: int, side: int, budget: float) -> Case:
    forward = _pool_case(name, regions, channels, side, budget)

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        rows, index, offsets = forward.make(device, dtype)
        _, chosen = bag_max_reference(rows.float(), index, offsets)
        bag, turned, _ = transposed(index, torch.repeat_interleave(offsets.diff().long()), len(rows))
        return torch.randn(len(chosen), channels, device=device, dtype=dtype), chosen, bag, turned

    return Case(name=name, make=make, bytes=forward.bytes, flops=forward.flops, instructions=budget, seconds=0.5)


@kernel(
    "gentool_detect::bag_max_grad(Tensor grad, Tensor chosen, Tensor bag, Tensor offsets) -> Tensor",
    reference=bag_max_grad_reference,
    fake=_bag_max_grad_fake,
    agree=bag_max_grad_agrees,
    note="RoI pool's gradient without atomics; not yet timed on a GPU",
    cases=[
        _pool_grad_case("1000 regions, 256 channels", 1000, 256, 50, 11.0),
        _pool_grad_case("odd sizes", 77, 120, 13, 11.5),
    ],
    machine=Machine(elements=_bag_elements, kernel="_bag_max_grad_kernel"),
)
def bag_max_grad(grad: Tensor, chosen: Tensor, bag: Tensor, offsets: Tensor) -> Tensor:
    """Launch: a program for each row and 256 channels."""
    out = _bag_max_grad_fake(grad, chosen, bag, offsets)
    if out.numel():
        rows, channels = out.shape
        grad, chosen, bag, offsets = grad.contiguous(), chosen.contiguous(), bag.contiguous(), offsets.contiguous()
        _bag_max_grad_kernel[_bag_grid(rows, channels)](
            grad, chosen, bag, offsets, out, C=channels, **bag_config(channels)
        )
    return out


def transposed(index: Tensor, bag: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """From the rows of bags to the bags of rows: (the bags that list each row, int32 (E,), in order; offsets int32
    (rows + 1,); the order in which the entries come)."""
    order = torch.argsort(index, stable=True)
    wanted = torch.arange(rows + 1, dtype=index.dtype, device=index.device)
    return bag[order].to(torch.int32), torch.searchsorted(index[order], wanted).to(torch.int32), order
