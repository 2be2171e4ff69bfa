"""Batches of pictures with boxes."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.data.box_transforms import (
    VISIBLE,
    Example,
    augmented,
    box_area,
    cropped,
    fitted_size,
    flipped,
    recoloured,
    resized,
    scaled,
    transposed,
)
from gentool.data.boxes import BoxPipeline
from gentool.data.config import BoxesConfig
from gentool.data.pipeline import open_pipeline
from gentool.data.scenes import boxes_of, render


def pipeline(**settings: Any) -> BoxPipeline:
    return open_pipeline(BoxesConfig(**{"name": "scenes", **settings}))  # type: ignore[no-any-return]


def same(a: Any, b: Any) -> bool:
    return torch.equal(a.images, b.images) and all(torch.equal(a.extra[key], b.extra[key]) for key in a.extra)


def test_a_batch_keeps_the_contract() -> None:
    batch = pipeline(jitter=2.0, crop=0.5).train_batch(3, 8)
    n, c, height, width = batch.images.shape
    assert (n, c) == (8, 3)
    assert height % 32 == width % 32 == 0
    assert batch.images.abs().max() <= 1
    m = batch.extra["boxes"].shape[1]
    shapes = {key: (tensor.dtype, tuple(tensor.shape)) for key, tensor in batch.extra.items()}
    assert shapes == {
        "size": (torch.int64, (8, 2)),
        "boxes": (torch.float32, (8, m, 4)),
        "box_labels": (torch.int64, (8, m)),
        "crowd": (torch.bool, (8, m)),
        "area": (torch.float32, (8, m)),
        "scale": (torch.float32, (8, 2)),
    }
    for row in range(8):
        h, w = batch.extra["size"][row].tolist()
        assert not batch.images[row, :, h:].any()
        assert not batch.images[row, :, :, w:].any()
        there = batch.extra["box_labels"][row] >= 0
        boxes = batch.extra["boxes"][row]
        assert not boxes[~there].any()
        assert (boxes[there, 2:] > boxes[there, :2]).all()
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([w, h, w, h])).all()


def test_batches_do_not_depend_on_workers_or_on_what_was_asked_before() -> None:
    settings = {"jitter": 1.5, "crop": 0.3, "colour": 0.2, "flip": "both"}
    one, four = pipeline(**settings), pipeline(**settings, workers=4)
    for step in (0, 1, 2, 7, 8):
        assert same(one.train_batch(step, 4), four.train_batch(step, 4))
    assert same(pipeline(**settings).train_batch(7, 4), one.train_batch(7, 4))
    ranks = [four.train_batch(2, 2, rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([r.index for r in ranks]), one.train_batch(2, 4).index)


def test_a_split_in_order_comes_once_without_augmentation() -> None:
    made = pipeline(jitter=2.0, flip="both")
    batches = list(made.batches("test", 16, 40))
    assert torch.cat([b.index for b in batches]).tolist() == list(range(40))
    assert max(map(len, batches)) <= 16
    data = made.split("test")
    target = data.target(17)
    row = batches[1].extra
    assert torch.equal(row["boxes"][1, : len(target.labels)], torch.from_numpy(target.boxes).float())


def test_scenes_are_exact_and_pure() -> None:
    for key in range(40):
        scene = render(key)
        assert len(scene.labels)
        assert set(np.unique(scene.masks)) - {0} == set(range(1, len(scene.labels) + 1))
        boxes, area = boxes_of(scene.masks, len(scene.labels))
        assert np.array_equal(boxes, scene.boxes)
        assert np.array_equal(area, scene.area)
        again = render(key)
        assert np.array_equal(scene.image, again.image)
        assert np.array_equal(scene.depth, again.depth)
        assert scene.depth.min() > 0.5
        assert len(scene.caption.split(", left of ")) == len(scene.labels)
        # What is nearer hides what is farther: the map never shows a far thing where a near one is.
        nearest = [scene.depth[scene.masks == k + 1].mean() for k in range(len(scene.labels))]
        assert all(a <= b + 0.5 for a, b in itertools.pairwise(nearest))


# -- augmentation, against masks: the box of a changed mask is the changed box ------------------------------------------


def painted(height: int, width: int, boxes: np.ndarray[Any, Any]) -> Example:
    """A picture with whole-numbered boxes, whose k-th box is painted alone in its own picture by `mask`."""
    n = len(boxes)
    image = np.zeros((height, width, 3), np.uint8)
    scale = np.ones(2)
    labels = np.arange(n, dtype=np.int64)
    return Example(0, image, boxes.astype(float), labels, np.zeros(n, bool), box_area(boxes.astype(float)), scale)


def mask(example: Example, k: int) -> Example:
    """The picture white where box k is, and no box but that one."""
    image = np.zeros_like(example.image)
    x1, y1, x2, y2 = example.boxes[k].astype(int)
    image[y1:y2, x1:x2] = 255
    one = slice(k, k + 1)
    return Example(
        0, image, example.boxes[one], example.labels[one], example.crowd[one], example.area[one], example.scale
    )


def box_of(image: np.ndarray[Any, Any]) -> list[int] | None:
    rows, columns = np.flatnonzero(image.any((1, 2))), np.flatnonzero(image.any((0, 2)))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else None


@st.composite
def examples(draw: Any) -> Example:
    height, width = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        rows.append([x1, y1, draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))])
    return painted(height, width, np.array(rows).reshape(-1, 4))


@settings(max_examples=60, deadline=None)
@given(example=examples(), horizontal=st.booleans())
def test_flipped_boxes_are_the_boxes_of_flipped_masks(example: Example, horizontal: bool) -> None:
    made = flipped(example, horizontal=horizontal)
    for k in range(len(example.labels)):
        assert box_of(flipped(mask(example, k), horizontal=horizontal).image) == made.boxes[k].tolist()
    back = flipped(made, horizontal=horizontal)
    assert np.array_equal(back.boxes, example.boxes)
    assert np.array_equal(made.area, example.area)


@settings(max_examples=50, deadline=None)
@given(example=examples())
def test_transposed_boxes_are_the_boxes_of_transposed_masks(example: Example) -> None:
    made = transposed(dataclasses.replace(example, scale=np.array([2.0, 3.0])))
    assert made.image.shape[:2] == example.image.shape[1::-1]
    assert made.scale.tolist() == [3.0, 2.0]
    for k in range(len(example.labels)):
        white = mask(example, k)
        assert np.array_equal(transposed(white).image, white.image.swapaxes(0, 1))
        assert box_of(transposed(white).image) == made.boxes[k].tolist()


@pytest.mark.parametrize(("flip", "kinds"), [("none", 1), ("horizontal", 2), ("both", 4), ("all", 8)])
def test_all_symmetries_come_equally_often(flip: Any, kinds: int) -> None:
    corner = np.zeros((6, 4, 3), np.uint8)
    corner[0, 0] = 255
    corner[0, 1] = 100  # so that the eight are told apart
    example = dataclasses.replace(painted(6, 4, np.zeros((0, 4))), image=corner)
    rng = np.random.default_rng(0)
    config = BoxesConfig(name="scenes", flip=flip)
    seen = Counter(augmented(example, config, rng).image.tobytes() for _ in range(800))
    assert len(seen) == kinds
    assert min(seen.values()) > 0.7 * 800 / kinds


@settings(max_examples=100, deadline=None)
@given(example=examples(), data=st.data())
def test_cropped_boxes_are_the_boxes_of_cropped_masks(example: Example, data: Any) -> None:
    height, width, _ = example.image.shape
    h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    top, left = data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w))
    made = cropped(example, top, left, h, w)
    assert made.image.shape == (h, w, 3)
    expected = {k: cropped(mask(example, k), top, left, h, w).image for k in range(len(example.labels))}
    there = {k: image for k, image in expected.items() if image.any()}
    assert made.labels.tolist() == list(there)
    for row, (k, image) in enumerate(there.items()):
        assert box_of(image) == made.boxes[row].tolist()
        pixels = np.count_nonzero(image[:, :, 0])
        assert made.area[row] == pytest.approx(pixels)  # the area follows: here it is that of the box
        assert made.crowd[row] == (pixels / example.area[k] < VISIBLE)


@settings(max_examples=60, deadline=None)
@given(example=examples(), factor=st.floats(0.3, 3), right=st.floats(0, 1), down=st.floats(0, 1))
def test_scaled_boxes_are_the_boxes_of_scaled_masks(example: Example, factor: float, right: float, down: float) -> None:
    height, width, _ = example.image.shape
    made = scaled(example, factor, (height, width), right, down)
    h, w, _ = made.image.shape
    assert h <= height
    assert w <= width
    assert (made.boxes >= 0).all()
    assert (made.boxes <= np.array([w, h, w, h]) + 1e-9).all()
    for row, k in enumerate(made.labels):
        image = scaled(mask(example, k), factor, (height, width), right, down).image
        bright = box_of(image >= 128)  # bilinear: an edge is where it is half covered
        if bright is not None:
            assert np.abs(np.array(bright) - made.boxes[row]).max() <= 1.01


@settings(max_examples=80, deadline=None)
@given(
    example=examples(), seed=st.integers(0, 2**32), flip=st.sampled_from(["none", "horizontal", "both"]),
    jitter=st.floats(1, 3), crop=st.floats(0, 1), colour=st.floats(0, 0.9),
)  # fmt: skip
def test_whatever_is_drawn_boxes_stay_inside(
    example: Example, seed: int, flip: Any, jitter: float, crop: float, colour: float
) -> None:
    config = BoxesConfig(flip=flip, jitter=jitter, crop=crop, colour=colour)
    made = augmented(example, config, np.random.default_rng(seed))
    h, w, _ = made.image.shape
    assert made.image.dtype == np.uint8
    assert (made.boxes[:, 2:] > made.boxes[:, :2]).all()
    assert (made.boxes >= 0).all()
    assert (made.boxes <= np.array([w, h, w, h]) + 1e-9).all()
    assert set(made.labels) <= set(example.labels)
    assert (made.area <= example.area[made.labels] + 1e-9).all()
    again = augmented(example, config, np.random.default_rng(seed))
    assert np.array_equal(made.image, again.image)
    assert np.array_equal(made.boxes, again.boxes)


def test_nothing_asked_for_changes_nothing() -> None:
    scene = render(3)
    example = Example(0, scene.image, scene.boxes, scene.labels, scene.labels < 0, scene.area, np.ones(2))
    made = augmented(example, BoxesConfig(flip="none"), np.random.default_rng(0))
    assert np.array_equal(made.image, scene.image)
    assert np.array_equal(made.boxes, scene.boxes)
    same_colours = recoloured(scene.image, 0.5, np.full(3, 0.5))
    assert np.abs(same_colours.astype(int) - scene.image).max() <= 1


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000), short=st.integers(0, 400), long=st.integers(400, 2000))
def test_sizes_keep_to_their_limits_and_the_aspect(height: int, width: int, short: int, long: int) -> None:
    h, w = fitted_size(height, width, BoxesConfig(short_side=short, long_side=long))
    assert 1 <= min(h, w) <= max(h, w) <= long
    if not short:
        assert h <= height
        assert w <= width
    if min(h, w) > 20:
        assert h / w == pytest.approx(height / width, rel=0.06)
    assert resized(np.zeros((30, 40, 3), np.uint8), 15, 20).shape == (15, 20, 3)


def test_a_run_goes_on_with_the_batches_it_would_have_had() -> None:
    """What is kept in memory, and in which order it came there, is not seen in a batch."""
    whole = pipeline(jitter=1.5, crop=0.5, limit=12, workers=2)
    every = [whole.train_batch(step, 5) for step in range(6)]
    later = pipeline(jitter=1.5, crop=0.5, limit=12)
    assert all(same(later.train_batch(step, 5), every[step]) for step in (5, 3, 4))
    assert torch.cat([b.index for b in every])[:12].sort().values.tolist() == list(range(12))
    later._most = 0
    assert same(later.train_batch(2, 5), every[2])
    assert pipeline(limit=12).fingerprint() == pipeline(limit=12).fingerprint()
    assert pipeline(limit=12).fingerprint() != pipeline(limit=13).fingerprint()


def test_no_single_frame_of_a_clip_says_how_it_moves() -> None:
    from sklearn.ensemble import ExtraTreesClassifier

    from gentool.data.find import Where
    from gentool.data.scene_sets import MOTIONS, scene_clips

    made = scene_clips("", "test", Where())
    again = scene_clips("", "test", Where())
    assert made.images.shape == (1000, 8, 28, 28)
    assert torch.equal(made.images, again.images)
    assert made.labels is not None
    assert len(made.labels.unique()) == len(MOTIONS)
    frame = made.images[:, 3].flatten(1).numpy()
    trees = ExtraTreesClassifier(30, random_state=0).fit(frame[:700], made.labels[:700].numpy())
    assert trees.score(frame[700:], made.labels[700:].numpy()) < 0.22  # an eighth, and three standard errors
    still = made.labels == MOTIONS.index("still")
    moved = (made.images[:, 0].float() - made.images[:, 4].float()).abs().mean((1, 2))
    assert moved[still].mean() < moved[~still].mean() / 1.5
