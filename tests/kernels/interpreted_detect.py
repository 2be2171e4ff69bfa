"""The launches of detection in Triton's interpreter. Run by test_interpreter.py, with TRITON_INTERPRET=1, in a process of its
own."""

from __future__ import annotations

import pytest
import torch
from gentool_detect import kernels, nms_kernel
from gentool_detect.greedy import greedy_keep
from gentool_detect.kernels import (
    bag_max,
    bag_max_agrees,
    bag_max_grad,
    bag_max_grad_agrees,
    bag_sum,
    bag_sum_agrees,
    transposed,
)
from gentool_detect.nms import batched_nms
from gentool_detect.nms_kernel import nms_agrees, nms_keep
from gentool_detect.roi import roi_align, roi_pool
from sea import sea

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _poison():
    """Uninitialised memory is NaN: what the launch does not write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)


def test_runs_the_launches():
    for kernel in (nms_keep, bag_sum, bag_max, bag_max_grad):
        assert kernel.choice(CPU).use == "triton"


# -- NMS: three blocks and a ragged one, three tiles in each, three groups of better boxes ------------------------------


def boxes_of(n: int, spread: float) -> torch.Tensor:
    centre, side = torch.rand(n, 2) * spread, torch.rand(n, 2) * 30 + 5
    return torch.cat((centre - side / 2, centre + side / 2), 1)


@pytest.mark.parametrize(("spread", "threshold", "groups"), [(60, 0.6, 1), (40, 0.3, 3), (1000, 0.5, 1)])
def test_nms_is_greedy(monkeypatch, spread, threshold, groups):
    for name, value in {"BLOCK": 96, "TILE": 32, "TAIL": 32, "BETTER": 16}.items():
        monkeypatch.setattr(nms_kernel, name, value)
    n = 3 * 96 + 41
    boxes, labels = sea(boxes_of(n, spread)), torch.randint(0, groups, (n,))
    keep = nms_keep.op(boxes, labels, threshold)
    assert torch.equal(keep, torch.from_numpy(greedy_keep(boxes.numpy(), labels.numpy(), threshold)))
    assert nms_agrees((boxes, labels, threshold), keep) == ""
    assert int(keep.sum()) > 1


def test_nms_chains():
    """Each box overlaps the next: every other stays, and the fixpoint of a tile takes many rounds."""
    x = torch.arange(70.0) * 4
    boxes = torch.stack((x, torch.zeros(70), x + 10, torch.full((70,), 10.0)), 1)
    keep = nms_keep.op(boxes, torch.zeros(70, dtype=torch.int64), 0.4)
    assert keep.tolist() == [i % 2 == 0 for i in range(70)]


def test_nms_of_real_tile_sizes_by_scores():
    boxes, scores = boxes_of(130, 50), torch.rand(130)
    expected = greedy_keep(boxes[scores.argsort(descending=True)].numpy(), None, 0.5)
    assert torch.equal(
        batched_nms(boxes, scores, None, 0.5), scores.argsort(descending=True)[torch.from_numpy(expected)]
    )
    assert batched_nms(boxes[:0], scores[:0], None, 0.5).tolist() == []


def test_what_is_wrong_is_noticed():
    boxes, labels = boxes_of(50, 20), torch.zeros(50, dtype=torch.int64)
    keep = nms_keep.op(boxes, labels, 0.5)
    for i in (int(keep.nonzero()[1]), int((~keep).nonzero()[0])):
        assert nms_agrees((boxes, labels, 0.5), keep ^ (torch.arange(50) == i)) != ""


# -- bags: three rounds of rows and a ragged one, two blocks of channels and a ragged one ------------------------------


def bags(counts: list[int], rows: int, channels: int) -> tuple[torch.Tensor, ...]:
    offsets = torch.tensor([0, *counts]).cumsum(0).to(torch.int32)
    x = torch.randn(rows, channels)
    index = torch.cat([torch.randperm(rows)[:n] for n in counts]).to(torch.int32)
    return sea(x), sea(index), sea(torch.rand(len(index))), sea(offsets)


COUNTS = [29, 0, 8, 1, 25, 7]
SIZES = [(40, 300), (33, 20), (30, 1)]


@pytest.mark.parametrize(("rows", "channels"), SIZES)
def test_bag_sum(rows, channels):
    assert max(COUNTS) > 3 * kernels.TAPS
    arguments = bags(COUNTS, rows, channels)
    assert bag_sum_agrees(arguments, bag_sum.op(*arguments)) == ""


@pytest.mark.parametrize(("rows", "channels"), SIZES)
def test_bag_max_and_its_gradient(rows, channels):
    x, index, _, offsets = bags(COUNTS, rows, channels)
    x[3] = x[5]  # ties
    out, chosen = bag_max.op(x, index, offsets)
    assert bag_max_agrees((x, index, offsets), (out, chosen)) == ""
    assert (chosen[1] == -1).all()
    bag, turned, _ = transposed(index, torch.repeat_interleave(offsets.diff().long()), rows)
    arguments = sea(torch.randn_like(out)), sea(chosen), sea(bag), sea(turned)
    assert bag_max_grad_agrees(arguments, bag_max_grad.op(*arguments)) == ""


@pytest.mark.parametrize("operation", [roi_align, roi_pool])
def test_roi_and_gradients_are_those_of_the_reference(operation, monkeypatch):
    features = torch.randn(2, 5, 9, 8)
    rois = torch.tensor([[0, 2, 3, 30, 28], [1, -9, -9, 12, 20], [1, 5, 5, 6, 6.0]])
    made = []
    for mode in ("triton", "reference"):
        monkeypatch.setenv("GENTOOL_KERNELS", mode)
        x = features.clone().requires_grad_()
        out = operation(x, rois, (3, 2), 0.25)
        weight = torch.linspace(-1, 1, out.numel()).view(out.shape)
        made.append((out, torch.autograd.grad((out * weight).sum(), x)[0]))
    for mine, plain in zip(*made, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)


def test_opcheck():
    torch.use_deterministic_algorithms(False)
    tests = ("test_schema", "test_faketensor")
    x, index, weight, offsets = bags([5, 0, 9], 12, 20)
    torch.library.opcheck(bag_sum.op, (x, index, weight, offsets), test_utils=tests)
    torch.library.opcheck(bag_max.op, (x, index, offsets), test_utils=tests)
    torch.library.opcheck(nms_keep.op, (boxes_of(40, 30), torch.zeros(40, dtype=torch.int64), 0.5), test_utils=tests)
