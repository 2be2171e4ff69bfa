"""Batches of pictures with boxes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

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
