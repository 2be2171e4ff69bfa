"""Greedy suppression on a device, in blocks: memory O(n), no host synchronisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.kernels import Case, Machine, jit, kernel

from .boxes import area, iou
from .greedy import greedy_keep

if TYPE_CHECKING:
    import triton.language as tl

BLOCK = 1024  # boxes that are resolved among themselves by one program
TILE = 64  # of them at a time
TAIL = 512  # later boxes that one program holds against a block
BETTER = 4  # boxes of the block that it holds them against at a time


# -- reference --------------------------------------------------------------------------------------------------------


def nms_reference(boxes: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Which of boxes float32 (N, 4), best first, stay when each that stays removes the later ones of its label whose IoU
    with it exceeds the threshold: bool (N,).

    On a CPU `greedy.greedy_keep`; elsewhere `nms_by_blocks`.
    """
    if boxes.device.type == "cpu":
        return torch.from_numpy(greedy_keep(boxes.float().numpy(), labels.numpy(), threshold))
    return nms_by_blocks(boxes, labels, threshold)


def nms_by_blocks(boxes: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """The same by torch, as the kernel does it: greedy suppression is the only fixpoint of keep = ~any(M & keep) with M the
    overlaps with better boxes; a block of boxes is resolved, then removes from all that come after it."""
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(boxes), BLOCK):
        own, rest = slice(start, start + BLOCK), slice(start + BLOCK, None)
        removes = _removes(boxes[own], labels[own], boxes[own], labels[own], threshold).triu(1)
        alive, before = keep[own], None
        stays = alive
        while before is None or not torch.equal(before, stays):
            before, stays = stays, alive & ~(removes & stays[:, None]).any(0)
        keep[own] = stays
        better = stays.nonzero()[:, 0] + start
        keep[rest] &= ~_removes(boxes[better], labels[better], boxes[rest], labels[rest], threshold).any(0)
    return keep


def _removes(a: Tensor, a_labels: Tensor, b: Tensor, b_labels: Tensor, threshold: float) -> Tensor:
    """Whether a[i] removes b[j], by labels and IoU > threshold: bool (A, B)."""
    wide = (torch.minimum(a[:, None, 2], b[:, 2]) - torch.maximum(a[:, None, 0], b[:, 0])).clamp(min=0)
    high = (torch.minimum(a[:, None, 3], b[:, 3]) - torch.maximum(a[:, None, 1], b[:, 1])).clamp(min=0)
    common = wide * high
    union = area(a)[:, None] + area(b) - common
    return (common > threshold * union) & (a_labels[:, None] == b_labels)


# -- Triton -----------------------------------------------------------------------------------------------------------


@jit
def _load_boxes(boxes_ptr, labels_ptr, n, at, mask):  # type: ignore[no-untyped-def]
    """Columns and labels of the boxes `at`; what the mask leaves out is empty and overlaps nothing."""
    x1 = tl.load(boxes_ptr + at, mask=mask, other=0.0)
    y1 = tl.load(boxes_ptr + n + at, mask=mask, other=0.0)
    x2 = tl.load(boxes_ptr + 2 * n + at, mask=mask, other=0.0)
    y2 = tl.load(boxes_ptr + 3 * n + at, mask=mask, other=0.0)
    return x1, y1, x2, y2, tl.load(labels_ptr + at, mask=mask, other=0)


@jit
def _too_near(ax1, ay1, ax2, ay2, al, bx1, by1, bx2, by2, bl, threshold):  # type: ignore[no-untyped-def]
    """IoU > threshold and the same label, of boxes a (rows) and b (columns)."""
    wide = tl.maximum(tl.minimum(ax2[:, None], bx2[None, :]) - tl.maximum(ax1[:, None], bx1[None, :]), 0.0)
    high = tl.maximum(tl.minimum(ay2[:, None], by2[None, :]) - tl.maximum(ay1[:, None], by1[None, :]), 0.0)
    common = wide * high
    a = tl.maximum(ax2 - ax1, 0.0) * tl.maximum(ay2 - ay1, 0.0)
    b = tl.maximum(bx2 - bx1, 0.0) * tl.maximum(by2 - by1, 0.0)
    return (common > threshold * (a[:, None] + b[None, :] - common)) & (al[:, None] == bl[None, :])


@jit
def _resolve_kernel(  # type: ignore[no-untyped-def]
    boxes_ptr, labels_ptr, keep_ptr, n, start, end, threshold, TILE: tl.constexpr
):  # fmt: skip
    """One program resolves the boxes start .. end among themselves, a tile after the other: first what earlier tiles keep
    removes from it, then the fixpoint within."""
    lane = tl.arange(0, TILE)
    for first in range(start, end, TILE):
        own = first + lane
        x1, y1, x2, y2, label = _load_boxes(boxes_ptr, labels_ptr, n, own, own < end)
        alive = tl.load(keep_ptr + own, mask=own < end, other=0)
        for before in range(start, first, TILE):
            better = before + lane
            u1, v1, u2, v2, other = _load_boxes(boxes_ptr, labels_ptr, n, better, better < end)
            stays = tl.load(keep_ptr + better, mask=better < end, other=0)
            near = _too_near(x1, y1, x2, y2, label, u1, v1, u2, v2, other, threshold)
            alive = tl.where(tl.max(near.to(tl.int32) * stays[None, :].to(tl.int32), 1) > 0, 0, alive)
        near = _too_near(x1, y1, x2, y2, label, x1, y1, x2, y2, label, threshold)
        near = (near & (lane[None, :] < lane[:, None])).to(tl.int32)
        keep = alive.to(tl.int32)
        changed = 1
        while changed > 0:
            # The kept boxes as a row: what is on the diagonal, summed down the columns.
            row = tl.sum(tl.where(lane[:, None] == lane[None, :], keep[:, None], 0), 0)
            after = tl.where(tl.max(near * row[None, :], 1) > 0, 0, alive.to(tl.int32))
            changed = tl.max(tl.where(after == keep, 0, 1), 0)
            keep = after
        tl.store(keep_ptr + own, keep.to(tl.int8), mask=own < end)
        tl.debug_barrier()  # the next tile reads what this one wrote


@jit
def _suppress_kernel(  # type: ignore[no-untyped-def]
    boxes_ptr, labels_ptr, keep_ptr, n, start, end, threshold, TAIL: tl.constexpr, BETTER: tl.constexpr
):  # fmt: skip
    """One program holds TAIL of the boxes after `end` against those of start .. end that stay."""
    own = end + tl.program_id(0) * TAIL + tl.arange(0, TAIL)
    x1, y1, x2, y2, label = _load_boxes(boxes_ptr, labels_ptr, n, own, own < n)
    alive = tl.load(keep_ptr + own, mask=own < n, other=0).to(tl.int32)
    gone = tl.zeros((TAIL, BETTER), tl.int32)
    for first in range(start, end, BETTER):
        better = first + tl.arange(0, BETTER)
        u1, v1, u2, v2, other = _load_boxes(boxes_ptr, labels_ptr, n, better, better < end)
        stays = tl.load(keep_ptr + better, mask=better < end, other=0).to(tl.int32)
        near = _too_near(x1, y1, x2, y2, label, u1, v1, u2, v2, other, threshold)
        gone = gone | tl.where(near, stays[None, :], 0)
    alive = tl.where(tl.max(gone, 1) > 0, 0, alive)
    tl.store(keep_ptr + own, alive.to(tl.int8), mask=own < n)


def _nms_fake(boxes: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return boxes.new_empty(len(boxes), dtype=torch.bool)


def nms_agrees(args: tuple[Tensor, Tensor, float], keep: Tensor) -> str:
    """ "" if no box that stays is removed by a better one that stays, and every other is, in float64 and up to float32's
    rounding of the overlaps: there is only one such choice."""
    boxes, labels, threshold = args[0].detach().double(), args[1], args[2]
    better = keep.nonzero()[:, 0]
    for own in torch.split(torch.arange(len(boxes), device=boxes.device), 2048):
        overlap = iou(boxes[better], boxes[own])
        overlap = torch.where((labels[better][:, None] == labels[own]) & (better[:, None] < own), overlap, 0.0)
        most = overlap.amax(0) if len(better) else overlap.new_zeros(len(own))
        if bool((keep[own] & (most > threshold + 1e-5)).any()):
            return "a box stays though a better one removes it"
        if bool((~keep[own] & ~(most > threshold - 1e-5)).any()):
            return "a box is gone though none removes it"
    return ""


def _nms_case(name: str, n: int, things: int, threshold: float, labels: int = 1, budget: float = 0.0) -> Case:
    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, float]:
        which = torch.randint(0, things, (n,), device=device)
        centre, side = torch.rand(things, 2, device=device) * 1000, torch.rand(things, 2, device=device) * 150 + 50
        middle = centre[which] + torch.randn(n, 2, device=device) * side[which] * 0.1
        half = side[which] * torch.exp(0.1 * torch.randn(n, 2, device=device)) / 2
        boxes = torch.cat((middle - half, middle + half), 1)
        return boxes, torch.randint(0, labels, (n,), device=device), threshold

    return Case(name=name, make=make, bytes=17 * n, instructions=budget, seconds=0.5)


@kernel(
    "gentool_detect::nms_keep(Tensor boxes, Tensor labels, float threshold) -> Tensor",
    reference=nms_reference,
    fake=_nms_fake,
    agree=nms_agrees,
    rivals={"blocks in torch": nms_by_blocks},
    note="blocks of 1024 resolved on the device, O(n) memory, no host synchronisation; not yet timed on a GPU",
    cases=[
        _nms_case("RPN, 2000 of a picture", 2000, 100, 0.7, budget=20.0),
        _nms_case("3000 of 80 classes", 3000, 50, 0.6, labels=80, budget=20.0),
        _nms_case("16 pictures of 1000", 16_000, 1000, 0.7, labels=16, budget=20.0),
        _nms_case("20,000 boxes", 20_000, 200, 0.7, budget=20.0),
    ],
    machine=Machine(elements=lambda *args: TAIL * BETTER, kernel="_suppress_kernel", dtypes=(torch.float32,)),
)
def nms_keep(boxes: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Launch: each block of 1024 is resolved by one program, then removes from all that come after it."""
    n = len(boxes)
    padded = -(-n // TAIL) * TAIL  # columns begin where 16-byte loads can
    columns = F.pad(boxes.float().t(), (0, padded - n)).contiguous()
    groups = F.pad(labels.to(torch.int32), (0, padded - n))
    keep = torch.zeros(padded, dtype=torch.int8, device=boxes.device)
    keep[:n] = 1
    for start in range(0, padded, BLOCK):
        end = min(start + BLOCK, padded)
        _resolve_kernel[(1,)](columns, groups, keep, padded, start, end, threshold, TILE=TILE, num_warps=8)
        if end < padded:
            programs = (padded - end) // TAIL
            _suppress_kernel[(programs,)](
                columns, groups, keep, padded, start, end, threshold, TAIL=TAIL, BETTER=BETTER, num_warps=4
            )
    return keep[:n] > 0
