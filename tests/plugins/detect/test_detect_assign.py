"""Which place learns which box, against loops that do it one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gentool_detect import assign
from gentool_detect.assign import IGNORED, NEGATIVE, Truth, align, in_crowd, match, sample, truths
from gentool_detect.backbone import Places
from gentool_detect.boxes import iou
from gentool_detect.grid import make_grid
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool import Batch


def random_boxes(rng: np.random.Generator, n: int, side: float = 64) -> torch.Tensor:
    """Boxes on whole pixels, so that overlaps tie."""
    corner = rng.integers(0, int(side * 0.8), (n, 2))
    return torch.tensor(
        np.concatenate((corner, corner + rng.integers(2, int(side / 2), (n, 2))), 1), dtype=torch.float32
    )


def truth_of(boxes: torch.Tensor, labels: list[int] | None = None, crowd: torch.Tensor | None = None) -> Truth:
    return Truth(
        boxes.view(-1, 4),
        torch.tensor(labels if labels is not None else [0] * len(boxes), dtype=torch.int64),
        torch.zeros(0, 4) if crowd is None else crowd,
    )


def brute_match(
    anchors: torch.Tensor, boxes: torch.Tensor, high: float, low: float, usable: list[bool], lift: bool
) -> list[set[int]]:
    """For every anchor the answers that are right: several where overlaps tie."""
    overlaps = iou(anchors, boxes).double().numpy() if len(boxes) else np.zeros((len(anchors), 0))
    overlaps = overlaps * np.array(usable)[:, None]
    answers: list[set[int]] = []
    for a, row in enumerate(overlaps):
        if not usable[a]:
            answers.append({IGNORED})
            continue
        best = max(row, default=0.0)
        winners = {int(m) for m in np.flatnonzero(row == best)} if len(row) else set()
        own = {m for m in range(len(row)) if row[m] > 0 and row[m] >= overlaps[:, m].max() - 1e-6} if lift else set()
        if own:
            answers.append({m for m in own if row[m] == max(row[k] for k in own)})
        elif len(row) and best >= high:
            answers.append(winners)
        else:
            answers.append({IGNORED} if len(row) and best >= low else {NEGATIVE})
    return answers


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 40), st.booleans())
def test_matching_is_that_of_a_loop(seed: int, m: int, a: int, lift: bool) -> None:
    rng = np.random.default_rng(seed)
    anchors, boxes = random_boxes(rng, a), random_boxes(rng, m)
    usable = (rng.random(a) < 0.8).tolist()
    found = match(anchors, truth_of(boxes), 0.5, 0.3, torch.tensor(usable), lift=lift).tolist()
    for got, right in zip(found, brute_match(anchors, boxes, 0.5, 0.3, usable, lift), strict=True):
        assert got in right


def test_matching_in_parts_is_matching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    anchors, boxes, crowd = random_boxes(rng, 500), random_boxes(rng, 20), random_boxes(rng, 3)
    truth = truth_of(boxes, crowd=crowd)
    whole = match(anchors, truth, 0.7, 0.3)
    monkeypatch.setattr(assign, "ROWS", 64)
    assert torch.equal(match(anchors, truth, 0.7, 0.3), whole)


def test_in_a_crowd_nothing_is_background() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [30, 30, 40, 40], [55, 55, 70, 70]])
    crowd = torch.tensor([[25.0, 25, 60, 60]])
    nothing = torch.zeros(0, 4)
    assert match(anchors, truth_of(nothing, crowd=crowd), 0.5, 0.3).tolist() == [NEGATIVE, IGNORED, NEGATIVE]
    assert match(anchors, truth_of(nothing), 0.5, 0.3).tolist() == [NEGATIVE] * 3
    assert in_crowd(anchors, crowd).tolist() == [False, True, False]


def test_of_the_matched_so_many_are_drawn() -> None:
    index = torch.tensor([0, 1, 2, 3, NEGATIVE, NEGATIVE, NEGATIVE, IGNORED])
    noise = torch.tensor([0.9, 0.1, 0.2, 0.8, 0.5, 0.3, 0.7, 0.0])
    assert sample(index, 4, 0.5, noise).tolist() == [IGNORED, 1, 2, IGNORED, NEGATIVE, NEGATIVE, IGNORED, IGNORED]
    few = sample(torch.tensor([0, NEGATIVE]), 4, 0.5, torch.tensor([0.1, 0.2]))
    assert few.tolist() == [0, NEGATIVE]


def test_what_is_filled_in_is_no_box() -> None:
    batch = Batch(
        extra={
            "boxes": torch.tensor([[[0.0, 0, 4, 4], [1, 1, 9, 9], [0, 0, 0, 0]], [[0, 0, 0, 0]] * 3]),
            "box_labels": torch.tensor([[2, 0, -1], [-1, -1, -1]]),
            "crowd": torch.tensor([[False, True, False], [False] * 3]),
        }
    )
    first, second = truths(batch)
    assert first.boxes.tolist() == [[0, 0, 4, 4]]
    assert first.labels.tolist() == [2]
    assert first.crowd.tolist() == [[1, 1, 9, 9]]
    assert len(second.boxes) == len(second.crowd) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6))
def test_aligned_places_are_those_of_a_loop(seed: int, m: int, topk: int) -> None:
    rng = np.random.default_rng(seed)
    grid = make_grid(Places(torch.tensor([[64, 64]]), (64, 64)), (8, 16))
    count = len(grid.points)
    scores = torch.tensor(rng.random((count, 3)), dtype=torch.float32)
    boxes = torch.tensor(rng.random((count, 4)) * 30, dtype=torch.float32)
    boxes = torch.cat((grid.points - boxes[:, :2], grid.points + boxes[:, 2:]), 1)
    gt, labels = random_boxes(rng, m), rng.integers(0, 3, m).tolist()
    inside = torch.tensor(rng.random(count) < 0.9)
    found = align(scores, boxes, grid, inside, truth_of(gt, labels), topk=topk)

    u = iou(gt, boxes).double().numpy()
    wanted: dict[int, list[int]] = {}
    t = np.full((m, count), -1.0)
    for k in range(m):
        for a in range(count):
            x, y = grid.points[a].tolist()
            reach_x = max(float(gt[k, 2] - gt[k, 0]) / 2, float(grid.strides[a]) / 2)
            reach_y = max(float(gt[k, 3] - gt[k, 1]) / 2, float(grid.strides[a]) / 2)
            near = (
                abs(x - float(gt[k, 0] + gt[k, 2]) / 2) <= reach_x
                and abs(y - float(gt[k, 1] + gt[k, 3]) / 2) <= reach_y
            )
            if near and inside[a]:
                t[k, a] = float(scores[a, labels[k]]) ** 0.5 * u[k, a] ** 6
        for a in sorted(range(count), key=lambda a, k=k: -t[k, a])[:topk]:
            if t[k, a] > 0:  # those of no overlap tie: any may fill the places up
                wanted.setdefault(a, []).append(k)
    owner = {a: max(ks, key=lambda k, a=a: u[k, a]) for a, ks in wanted.items()}
    for a, k in owner.items():
        if t[k, a] > 1e-12:
            assert int(found.index[a]) == k
    for a in range(count):
        if not inside[a]:
            assert int(found.index[a]) == IGNORED
    for k in range(m):
        mine = [a for a in owner if owner[a] == k]
        if mine and max(t[k, a] for a in mine) > 1e-9:
            top_t, top_u = max(t[k, a] for a in mine), max(u[k, a] for a in mine)
            got = found.quality[mine].double().numpy()
            assert np.allclose(got, [t[k, a] / top_t * top_u for a in mine], atol=1e-4)
    assert (found.quality[found.index < 0] == 0).all()


def test_a_box_smaller_than_a_cell_still_has_a_place() -> None:
    grid = make_grid(Places(torch.tensor([[64, 64]]), (64, 64)), (8, 16))
    boxes = torch.cat((grid.points - 4, grid.points + 4), 1)
    scores = torch.full((len(boxes), 1), 0.5)
    inside = torch.ones(len(boxes), dtype=torch.bool)
    found = align(scores, boxes, grid, inside, truth_of(torch.tensor([[8.5, 8.5, 10.0, 10.0]])))
    assert (found.index == 0).any()


@pytest.mark.parametrize("crowd", [None, torch.tensor([[0.0, 0, 40, 40]])])
def test_without_boxes_no_place_is_positive(crowd: torch.Tensor | None) -> None:
    grid = make_grid(Places(torch.tensor([[64, 64]]), (64, 64)), (8,))
    boxes = torch.cat((grid.points - 4, grid.points + 4), 1)
    inside = torch.ones(len(boxes), dtype=torch.bool)
    found = align(torch.full((64, 1), 0.5), boxes, grid, inside, truth_of(torch.zeros(0, 4), crowd=crowd))
    ignored = int((found.index == IGNORED).sum())
    assert int((found.index == NEGATIVE).sum()) + ignored == 64
    assert ignored == (25 if crowd is not None else 0)  # cells at 0, 8, ..., 32
    assert not found.quality.any()
