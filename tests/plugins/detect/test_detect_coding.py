"""How boxes are written down, and the grid they are written down on."""

from __future__ import annotations

import math

import torch
from gentool_detect.backbone import Places
from gentool_detect.coding import MOST, decode, distances, encode, from_distances
from gentool_detect.grid import anchor_shapes, make_grid
from hypothesis import given, settings
from hypothesis import strategies as st

side = st.floats(0.5, 400, allow_nan=False, width=32)
place = st.floats(-300, 300, allow_nan=False, width=32)
box = st.tuples(place, place, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@settings(max_examples=150, deadline=None)
@given(box, box, st.sampled_from([(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)]))
def test_a_box_comes_back_from_its_transform(a: list[float], b: list[float], weights: tuple[float, ...]) -> None:
    boxes, anchors = (torch.tensor([x], dtype=torch.float64) for x in (a, b))
    t = encode(boxes, anchors, weights)  # type: ignore[arg-type]
    back = decode(t, anchors, weights)  # type: ignore[arg-type]
    if math.log((a[2] - a[0]) / (b[2] - b[0])) < MOST and math.log((a[3] - a[1]) / (b[3] - b[1])) < MOST:
        assert torch.allclose(back, boxes, atol=1e-4)


def test_the_transform_is_that_of_the_paper() -> None:
    t = encode(torch.tensor([10.0, 20.0, 50.0, 40.0]), torch.tensor([20.0, 20.0, 40.0, 60.0]))
    # centres (30, 30) and (30, 40), sides (40, 20) and (20, 40)
    assert torch.allclose(t, torch.tensor([0.0, -10 / 40, math.log(2), math.log(0.5)]))


def test_a_wild_transform_stays_finite() -> None:
    boxes = decode(torch.tensor([[0.0, 0.0, 1e4, -1e4]]), torch.tensor([[0.0, 0.0, 16.0, 16.0]]))
    assert torch.isfinite(boxes).all()
    assert abs(float(boxes[0, 2] - boxes[0, 0]) - 1000) < 1e-2


@settings(max_examples=100, deadline=None)
@given(box, place, place)
def test_a_box_comes_back_from_its_distances(a: list[float], x: float, y: float) -> None:
    boxes, points = torch.tensor([a], dtype=torch.float64), torch.tensor([[x, y]], dtype=torch.float64)
    assert torch.allclose(from_distances(distances(boxes, points), points), boxes, atol=1e-6)


def test_anchors_have_the_areas_and_ratios_asked_for() -> None:
    shapes = anchor_shapes((8, 16), 4.0, (1.0, 2.0), (0.5, 2.0))
    assert shapes.shape == (2, 4, 2)
    assert torch.allclose(shapes.prod(-1), torch.tensor([[32.0, 32, 64, 64], [64, 64, 128, 128]]).square())
    assert torch.allclose(shapes[..., 1] / shapes[..., 0], torch.tensor([0.5, 2, 0.5, 2]).expand(2, 4))


def test_the_grid_has_the_centres_of_the_cells_and_knows_which_are_of_a_picture() -> None:
    size = torch.tensor([[20, 33], [48, 64]])
    places = Places(size, (48, 64))
    grid = make_grid(places, (8, 16), anchor_shapes((8, 16), 2.0, (1.0,), (1.0,)))
    assert len(grid.points) == 6 * 8 + 3 * 4
    assert grid.points[:2].tolist() == [[4, 4], [12, 4]]
    assert grid.points[48].tolist() == [8, 8]
    assert grid.boxes[0].tolist() == [-4, -4, 12, 12]
    assert grid.inside[1].all()
    assert int(grid.inside[0].sum()) == 3 * 5 + 2 * 3  # ceil(20 / 8) x ceil(33 / 8), then of 16
