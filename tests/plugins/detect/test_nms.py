"""Boxes' overlaps and NMS against their definitions, box by box, in Python's own numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gentool_detect import boxes as B
from gentool_detect.greedy import greedy_keep
from gentool_detect.nms import batched_nms, nms, soft_nms
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor


def overlap(a: list[float], b: list[float]) -> float:
    common = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum(max(0.0, c[2] - c[0]) * max(0.0, c[3] - c[1]) for c in (a, b)) - common
    return common / union if union > 0 else 0.0


def greedy(boxes: Tensor, scores: Tensor, labels: Tensor | None, threshold: float) -> list[int]:
    """The definition, one box after the other."""
    rows, stays = boxes.double().tolist(), []
    for i in sorted(range(len(rows)), key=lambda i: -float(scores[i])):
        same = [j for j in stays if labels is None or labels[i] == labels[j]]
        if all(overlap(rows[i], rows[j]) <= threshold for j in same):
            stays.append(i)
    return stays


def random_boxes(n: int, spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    make = torch.Generator().manual_seed(seed)
    centre, side = torch.rand(n, 2, generator=make) * spread, torch.rand(n, 2, generator=make) * 30 + 5
    return torch.cat((centre - side / 2, centre + side / 2), 1), torch.rand(n, generator=make)


# On a coarse grid of whole numbers ties and overlaps of exactly the threshold are common, and float32 is exact.
small = st.integers(0, 6)
box = st.tuples(small, small, small, small).map(lambda b: [float(v) for v in b])
thresholds = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(box, st.integers(0, 4), st.integers(0, 2)), max_size=40), thresholds, st.booleans())
def test_nms_is_its_definition(items, threshold, grouped):
    boxes = torch.tensor([b for b, _, _ in items]).reshape(-1, 4)
    scores = torch.tensor([float(s) for _, s, _ in items])
    labels = torch.tensor([g for _, _, g in items], dtype=torch.int64) if grouped else None
    assert batched_nms(boxes, scores, labels, threshold).tolist() == greedy(boxes, scores, labels, threshold)


@pytest.mark.parametrize(("spread", "threshold"), [(60, 0.7), (60, 0.3), (300, 0.5), (5, 0.9), (100, 0.05), (100, 0.0)])
@pytest.mark.parametrize("grouped", [False, True])
def test_many_blocks(spread, threshold, grouped, monkeypatch):
    monkeypatch.setattr("gentool_detect.greedy.BLOCK", 64)
    monkeypatch.setattr("gentool_detect.greedy.PAIRS", 1000)
    n = 3 * 64 + 37
    boxes, scores = random_boxes(n, spread)
    labels = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(1)) * 7 - 5 if grouped else None
    expected = greedy(boxes, scores, labels, threshold)
    found = batched_nms(boxes, scores, labels, threshold)
    assert found.dtype == torch.int64
    assert found.tolist() == expected


def test_equal_boxes_and_far_coordinates():
    one = torch.tensor([[1e5, 1e5, 1e5 + 10, 1e5 + 10]])
    boxes = torch.cat((one.repeat(5000, 1), one + 100, one.repeat(50, 1)))
    assert nms(boxes, torch.ones(len(boxes)), 0.5).tolist() == [0, 5000]


def test_what_is_not_a_box_disturbs_no_other():
    boxes, scores = random_boxes(600, 100)
    strange = torch.tensor([[math.nan, 0, math.inf, 1], [-math.inf, 0, 5, 5], [0, 0, math.inf, math.inf]])
    found = nms(torch.cat((strange, boxes)), torch.cat((torch.tensor([2.0, 3, math.nan]), scores)), 0.4).tolist()
    assert (found[:2], found[-1]) == ([1, 0], 2)
    assert [i - 3 for i in found[2:-1]] == greedy(boxes, scores, None, 0.4)


def test_empty_and_wrong_calls():
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
    assert greedy_keep(np.zeros((0, 4), np.float32), None, 0.5).tolist() == []
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        nms(torch.zeros(1, 4), torch.zeros(1), 50)


def softened(boxes, scores, labels, weigh, floor) -> list[tuple[int, float]]:
    rows, left, taken = boxes.double().tolist(), dict(enumerate(scores.double().tolist())), []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        if left[best] < floor:
            break
        taken.append((best, left.pop(best)))
        for i in left:
            if labels[i] == labels[best]:
                left[i] *= weigh(overlap(rows[i], rows[best]))
    return taken


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_is_its_definition(method):
    boxes, scores = random_boxes(80, 45)
    labels = torch.arange(80) % 2
    weigh = (lambda o: 1 - o if o > 0.3 else 1.0) if method == "linear" else lambda o: math.exp(-o * o / 0.5)
    expected = softened(boxes, scores, labels, weigh, 0.05)
    index, kept = soft_nms(boxes, scores, labels, method=method, threshold=0.3, sigma=0.5, floor=0.05)
    assert index.tolist() == [i for i, _ in expected]
    assert 0 < len(index) < 80
    torch.testing.assert_close(kept, torch.tensor([s for _, s in expected]))
    assert soft_nms(boxes, scores, labels, method=method, most=7, floor=0.05)[0].tolist() == index[:7].tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(box, max_size=8), st.lists(box, max_size=8))
def test_iou_is_its_definition(a, b):
    left, right = torch.tensor(a).reshape(-1, 4).double(), torch.tensor(b).reshape(-1, 4).double()
    expected = torch.tensor([[overlap(x, y) for y in b] for x in a], dtype=torch.float64).reshape(len(a), len(b))
    torch.testing.assert_close(B.iou(left, right), expected)
    most, which = B.best_overlap(left, right, chunk=10)
    if a and b:
        assert torch.equal(most, expected.max(1)[0])
        assert torch.equal(which, expected.max(1)[1])
    else:
        assert which.tolist() == [-1] * len(a)


def test_giou():
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [3, 3, 3, 3]])
    b = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10], [3, 3, 3, 3]])
    torch.testing.assert_close(B.giou(a, b), torch.tensor([1.0, 1 / 3, -1 / 3, 0.0]))
    torch.testing.assert_close(B.paired_iou(a, b), B.iou(a, b).diagonal())
    apart = torch.tensor([[0.0, 0, 1, 1]], requires_grad=True)
    B.giou(apart, torch.tensor([[5.0, 5, 6, 6]])).sum().backward()
    assert apart.grad is not None
    assert apart.grad[0, 2] > 0  # nearer is better


def test_coordinates():
    boxes, _ = random_boxes(20, 100)
    torch.testing.assert_close(B.from_cxcywh(B.to_cxcywh(boxes)), boxes)
    assert B.to_cxcywh(torch.tensor([0.0, 2, 10, 4])).tolist() == [5, 3, 10, 2]
    cut = B.clip(torch.tensor([[-5.0, -1, 200, 20], [50, 60, 70, 80]]), (30, 60))
    assert cut.tolist() == [[0, 0, 60, 20], [50, 30, 60, 30]]
    assert B.area(torch.tensor([[0.0, 0, 3, 2], [4, 4, 2, 9]])).tolist() == [6, 0]
