"""Boxes on pictures: where their lines are, what is written, and what a terminal gets."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from gentool.sampling import Detections, Samples
from gentool.show.boxes import at_least, class_colour, draw_boxes, grid_with_boxes, show_boxes, shown


def detections(*boxes: list[float], labels: list[int] | None = None, scores: list[float] | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(n, 4),
        torch.tensor(scores or [0.9] * n),
        torch.tensor(labels or [0] * n, dtype=torch.int64),
    )


def samples(n: int, height: int, width: int, *boxes: list[float], **more: object) -> Samples:
    return Samples(
        images=torch.zeros(n, 3, height, width),
        detections=[detections(*boxes)] * n,
        classes=("cat",),
        **more,  # type: ignore[arg-type]
    )


def test_lines_are_the_outermost_pixels_of_the_box() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    drawn = draw_boxes(image, detections([20, 30, 60, 90]), names=False)
    coloured = (drawn == class_colour(0)).all(2)
    rows, columns = np.flatnonzero(coloured.any(1)), np.flatnonzero(coloured.any(0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (30, 90, 20, 60)
    assert not coloured[31:89, 21:59].any()
    thrice = draw_boxes(image, detections([20, 30, 60, 90]), names=False, factor=3)
    assert thrice.shape == (384, 384, 3)
    assert (thrice[90, 60:180] == class_colour(0)).all()


@pytest.mark.parametrize("side", [128, 640])
@pytest.mark.parametrize("box", [[0, 0, 10, 10], [-50, -50, 900, 900], [100, 100, 100, 100], [120, 0, 128, 4]])
def test_any_box_can_be_drawn(side: int, box: list[float]) -> None:
    image = np.full((side, side, 1), 100, np.uint8)
    drawn = draw_boxes(image, detections(box), ("a class with a very long name indeed",), factor=2)
    assert drawn.shape == (2 * side, 2 * side, 3)
    assert drawn.dtype == np.uint8


def test_the_best_lies_on_top() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    drawn = draw_boxes(
        image, detections([10, 10, 50, 50], [10, 10, 50, 50], labels=[1, 0], scores=[0.9, 0.5]), names=False
    )
    assert tuple(drawn[10, 30]) == class_colour(1)


def test_colours_of_neighbouring_classes_are_well_apart() -> None:
    colours = np.array([class_colour(i) for i in range(12)], dtype=float)
    apart = np.abs(colours[:, None] - colours[None]).sum(2) + 1000 * np.eye(12)
    assert apart.min() > 60


def test_what_the_canvas_was_filled_up_with_is_cut_off() -> None:
    made = samples(2, 64, 96, [1, 1, 5, 5], sizes=torch.tensor([[64, 96], [40, 30]]))
    assert [one.image.shape[:2] for one in shown(made)] == [(64, 96), (40, 30)]
    assert [len(one.found) for one in shown(Samples(**{**vars(made), "least": 0.95}))] == [0, 0]
    assert len(at_least(detections([0, 0, 1, 1], scores=[0.5]), 0.5)) == 1


def test_the_truth_stands_above() -> None:
    plain = grid_with_boxes(samples(3, 64, 64, [1, 1, 5, 5]))
    both = grid_with_boxes(samples(3, 64, 64, [1, 1, 5, 5], truth=[detections([1, 1, 5, 5], scores=[1.0])] * 3))
    assert both.height > 1.8 * plain.height


def test_large_pictures_make_no_huge_grid() -> None:
    assert grid_with_boxes(samples(16, 480, 640, [1, 1, 50, 50])).width < 2200


def test_a_pipe_gets_no_escape_and_words_for_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    assert show_boxes(samples(1, 64, 64, [10, 10, 50, 50]), "half", stream=stream) == 1
    assert "\x1b" not in stream.getvalue()
    assert "cat 0.90" in stream.getvalue()
    several = io.StringIO()
    show_boxes(samples(4, 64, 64, [10, 10, 50, 50]), "half", stream=several)
    assert "cat 4" in several.getvalue()
    nothing = io.StringIO()
    show_boxes(samples(2, 64, 64), "half", stream=nothing)
    assert "nothing found" in nothing.getvalue()
    assert show_boxes(samples(1, 64, 64), "auto", stream=io.StringIO()) == 0
