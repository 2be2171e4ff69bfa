"""`scenes`, `scenes-one` and `scene-clips`: procedural sets, embedded, whose truth is exact."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gentool.data.boxes import BoxSet, Target
from gentool.data.find import Where
from gentool.data.scenes import MOST, SHAPES, SIDE, Scene, render, uniform
from gentool.data.sets import SPLITS, ImageSet

COUNTS = {"train": 10_000, "validation": 500, "test": 500}


class Scenes(BoxSet):
    """Rendered when asked for: scene i of a split is the same whatever was asked before."""

    def __init__(self, name: str, split: str, most: int) -> None:
        self.name, self.split, self.most = name, split, most
        self.classes = SHAPES
        self.category_ids = tuple(range(1, len(SHAPES) + 1))
        self._key = (SPLITS.index(split) + 3 * (most == 1)) << 40
        self.scene = functools.lru_cache(maxsize=4)(self._render)
        self._targets: dict[int, Target] = {}

    def _render(self, index: int) -> Scene:
        scene = render(self._key + index, SIDE, self.most)
        self._targets[index] = Target(scene.boxes, scene.labels, np.zeros(len(scene.labels), bool), scene.area)
        return scene

    def __len__(self) -> int:
        return COUNTS[self.split]

    def size(self, index: int) -> tuple[int, int]:
        return SIDE, SIDE

    def read(self, index: int, least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        return self.scene(index).image

    def target(self, index: int) -> Target:
        if index not in self._targets:
            self.scene(index)
        return self._targets[index]


def scenes(argument: str, split: str, where: Where) -> BoxSet:
    """128x128 pictures of one to eight things of six kinds in a room (`gentool.data.scenes`)."""
    return Scenes("scenes", split, MOST)


def scenes_one(argument: str, split: str, where: Where) -> BoxSet:
    """The same with one thing in each picture."""
    return Scenes("scenes-one", split, 1)


# -- clips -------------------------------------------------------------------------------------------------------------

FRAMES, CLIP_SIDE = 8, 28
MOTIONS = ("still", "left", "right", "up", "down", "clockwise", "anticlockwise", "trembling")
CLIP_COUNTS = {"train": 8_000, "validation": 1_000, "test": 1_000}
_CHUNK = 500
_TREMBLE = np.array([0, 1, 0, -1, 0, 1, 0, -1], dtype=np.float64)


def scene_clips(argument: str, split: str, where: Where) -> ImageSet:
    """Clips of 8 grey frames of 28x28, as channels, of one thing that moves; the label is the kind of motion.

    Pictures wrap around at their sides, and place, angle and brightness are uniform at any time, so that no single frame
    says anything of the label: a model has to look at several.
    """
    n = CLIP_COUNTS[split]
    labels = (uniform((SPLITS.index(split) << 40) + 0xC11B, n) * len(MOTIONS)).astype(np.int64)
    clips = [_clips(split, labels[start : start + _CHUNK], start) for start in range(0, n, _CHUNK)]
    return ImageSet("scene-clips", split, torch.from_numpy(np.concatenate(clips)), torch.from_numpy(labels), MOTIONS)


def _clips(split: str, labels: NDArray[np.int64], start: int) -> NDArray[np.uint8]:
    """uint8 (n, 8, 28, 28)."""
    n = len(labels)
    draws = uniform((SPLITS.index(split) << 40) + (start << 8) + 0xF117, n * 10).reshape(n, 10, 1)
    time = np.arange(FRAMES) - (FRAMES - 1) / 2
    speed = (1.2 + 1.2 * draws[:, 0]) * np.ones(FRAMES)
    path: dict[str, Any] = {name: np.zeros((n, FRAMES)) for name in ("x", "y", "turn")}
    steps = {"left": ("x", -time), "right": ("x", time), "up": ("y", -time), "down": ("y", time),
             "clockwise": ("turn", 0.17 * time), "anticlockwise": ("turn", -0.17 * time)}  # fmt: skip
    for number, motion in enumerate(MOTIONS):
        own = labels == number
        if motion in steps:
            name, along = steps[motion]
            path[name][own] += speed[own] * along
        elif motion == "trembling":
            path["x"][own] += speed[own] * _TREMBLE * (draws[own, 6] < 0.5)
            path["y"][own] += speed[own] * _TREMBLE * (draws[own, 6] >= 0.5)
    x, y = (path["x"] + CLIP_SIDE * draws[:, 1]), (path["y"] + CLIP_SIDE * draws[:, 2])
    turn = path["turn"] + 2 * np.pi * draws[:, 3]
    grid = (np.arange(CLIP_SIDE) + 0.5)[:, None], (np.arange(CLIP_SIDE) + 0.5)[None, :]
    radius = (5.0 + 2.5 * draws[:, 4])[..., None, None]
    dy = ((grid[0] - y[..., None, None] + CLIP_SIDE / 2) % CLIP_SIDE - CLIP_SIDE / 2) / radius
    dx = ((grid[1] - x[..., None, None] + CLIP_SIDE / 2) % CLIP_SIDE - CLIP_SIDE / 2) / radius
    c, s = np.cos(turn)[..., None, None], np.sin(turn)[..., None, None]
    u, v = c * dx + s * dy, c * dy - s * dx
    distance = np.select(
        [draws[:, 5, :, None, None] < 1 / 3, draws[:, 5, :, None, None] < 2 / 3],
        [
            np.maximum(np.hypot(u, v) - 0.95, -u),  # a half disc
            np.minimum(np.maximum(abs(u) - 0.3, abs(v) - 0.9), np.maximum(abs(u - 0.45) - 0.6, abs(v - 0.65) - 0.3)),
        ],
        np.maximum(-v - 0.5, (abs(u) - 0.45 * (1 - v)) * 0.912),  # an arrow's head
    )
    cover = np.clip(0.5 - distance * radius, 0, 1)
    dark, bright = 20 + 60 * draws[:, 7, :, None, None], 150 + 90 * draws[:, 8, :, None, None]
    grain = uniform((SPLITS.index(split) << 40) + (start << 8) + 0x94A1, cover.size).reshape(cover.shape)
    grey = dark + (bright - dark) * cover + 24 * (grain - 0.5)
    clips: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return clips
