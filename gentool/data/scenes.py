"""Procedural scenes: a room with a floor and a wall, and things that stand in it, near ones before far ones.

Everything about a scene is known exactly: what stands where, which pixels are seen of it, and how far each pixel is. A
scene is a function of its key alone, on every machine and version: the numbers come from splitmix64, not from a library's
generator. The camera is a pinhole, so that size, place and distance agree as in a photograph.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 128
SHAPES = ("ball", "box", "cone", "ring", "star", "cross")
COLOURS = {
    "red": (208, 52, 48), "orange": (232, 138, 40), "yellow": (228, 206, 60), "green": (64, 158, 72),
    "blue": (58, 96, 200), "purple": (136, 70, 168), "brown": (124, 84, 56), "white": (226, 226, 222),
}  # fmt: skip
MOST = 8  # things that are tried; hidden ones are left out
CAMERA = 1.2  # metres above the floor
SMALL = 0.27  # metres of half the height, below which a thing is called small
SEEN, LEAST = 0.35, 24  # share and number of its pixels that have to be seen of a thing

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A picture and the truth about it; things in order from near to far.

    image: uint8 (H, W, 3); labels: int64 (K,), indices of `SHAPES`; masks: uint8 (H, W), 0 background, k+1 where thing
    k is seen; boxes: float64 (K, 4), x1 y1 x2 y2 of the pixels seen, ends excluded; area: float64 (K,), their number;
    depth: float32 (H, W), metres; colours and sizes ("small", "large"): words, one a thing.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    masks: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    area: NDArray[np.float64]
    depth: Floats
    colours: tuple[str, ...]
    sizes: tuple[str, ...]

    def names(self) -> list[str]:
        """``["large red ball", ...]``"""
        return [f"{s} {c} {SHAPES[i]}" for s, c, i in zip(self.sizes, self.colours, self.labels)]

    @property
    def caption(self) -> str:
        """What stands there from left to right, such as ``"a small white ring, left of a large red ball"``."""
        order = np.argsort(self.boxes[:, 0] + self.boxes[:, 2], kind="stable")
        words = [f"a {name}" for name in (self.names()[i] for i in order)]
        return ", left of ".join(words)


def uniform(key: int, n: int) -> NDArray[np.float64]:
    """n numbers in [0, 1), a function of the key: splitmix64 of (key, place)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) + np.uint64(key % 2**64) * np.uint64(0x632BE59BD9B4E019)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class _Thing:
    """One thing: where it stands (centre and radius in pixels, foot row), how far, and what it looks like."""

    label: int
    colour: str
    size: str
    x: float
    y: float
    radius: float
    distance: float
    half: float  # metres
    turn: float
    pattern: int
    rows: slice  # the window of the picture it lies in
    columns: slice
    u: Floats  # (h, w), its own coordinates in radii, right and up
    v: Floats
    alpha: Floats  # (h, w) in [0, 1]: how much of the pixel it covers


def render(key: int, side: int = SIDE, most: int = MOST) -> Scene:
    """The scene of a key; `most` things at most, and at least one."""
    words = uniform(key, 32 + 16 * MOST)
    room, rest = words[:32], words[32:].reshape(MOST, 16)
    focal, horizon = 0.9 * side, side * (0.26 + 0.14 * room[0])
    wall = 5 + 4 * room[1]
    base = horizon + focal * CAMERA / wall
    tried = 1 + int(room[2] * most) if most > 1 else 1
    things = [_place(own, side, focal, horizon, base) for own in rest[:tried]]
    things.sort(key=lambda thing: thing.distance)
    kept, masks = _seen(things, side)
    if not kept:
        things = [_place((*own[:1], 0.5, 0.5, 0.5, *own[4:]), side, focal, horizon, base) for own in rest[:1]]
        kept, masks = _seen(things, side)
    image, depth = _background(key, room, side, focal, horizon, wall)
    for thing in reversed(kept):
        _paint(image, depth, thing, wall, room)
    image *= np.float32(0.82 + 0.36 * room[4]) + np.float32(0.12) * (room[5:8].astype(np.float32) - np.float32(0.5))
    grain = uniform(key ^ 0x5EED, side * side).astype(np.float32).reshape(side, side, 1)
    image += (grain - np.float32(0.5)) * np.float32(4 + 10 * room[8])
    boxes, area = boxes_of(masks, len(kept))
    return Scene(
        image=np.clip(np.rint(image), 0, 255).astype(np.uint8),
        labels=np.array([thing.label for thing in kept], dtype=np.int64),
        masks=masks,
        boxes=boxes,
        area=area,
        depth=depth,
        colours=tuple(thing.colour for thing in kept),
        sizes=tuple(thing.size for thing in kept),
    )


def boxes_of(masks: NDArray[np.uint8], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes (n, 4) and areas (n,) of the instances 1 … n of a map, each of which has a pixel."""
    boxes, area = np.empty((n, 4)), np.empty(n)
    for k in range(n):
        own = masks == k + 1
        rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
        boxes[k] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        area[k] = np.count_nonzero(own)
    return boxes, area


# -- things ------------------------------------------------------------------------------------------------------------


def _place(own: Any, side: int, focal: float, horizon: float, base: float) -> _Thing:
    foot = base + 2 + (1.06 * side - base - 2) * own[1]
    distance = focal * CAMERA / (foot - horizon)
    half = 0.15 + 0.27 * own[2]
    radius = max(focal * half / distance, 4.5 * side / SIDE)
    half = radius * distance / focal
    x, y = side * (0.04 + 0.92 * own[3]), foot - 0.95 * radius
    label = int(own[0] * len(SHAPES))
    turn = (own[4] - 0.5) * (1.0 if label >= 3 else 0.3)
    rows = slice(max(0, int(y - radius - 1)), min(side, int(y + radius + 3)))
    columns = slice(max(0, int(x - radius - 1)), min(side, int(x + radius + 3)))
    right = ((np.arange(columns.start, columns.stop) + 0.5 - x) / radius).astype(np.float32)
    up = ((y - np.arange(rows.start, rows.stop)[:, None] - 0.5) / radius).astype(np.float32)
    c, s = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    u, v = c * right + s * up, c * up - s * right
    alpha = np.clip(np.float32(0.5) - _OUTLINES[SHAPES[label]](u, v) * np.float32(radius), 0, 1)
    return _Thing(
        label, tuple(COLOURS)[int(own[5] * len(COLOURS))], "small" if half < SMALL else "large", x, y, radius, distance,
        half, turn, int(own[6] * 4), rows, columns, u, v, alpha,
    )  # fmt: skip


def _ball(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.hypot(u, v) - np.float32(0.97))


def _box(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.maximum(np.abs(u), np.abs(v)) - np.float32(0.86))


def _cone(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.maximum(-v - np.float32(0.95), (np.abs(u) - np.float32(0.45) * (1 - v)) * np.float32(0.912)))


def _ring(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.abs(np.hypot(u, v) - np.float32(0.71)) - np.float32(0.25))


def _star(u: Floats, v: Floats) -> Floats:
    """Five points of radius 1, notches of 0.42: one tenth of it, folded, ends at the line between a point and a notch."""
    sector = math.pi / 5
    angle = np.abs((np.arctan2(u, v) + np.float32(21 * sector)) % np.float32(2 * sector) - np.float32(sector))
    r = np.hypot(u, v)
    x, y = 0.42 * math.cos(sector), 0.42 * math.sin(sector)
    length = math.hypot(x - 1, y)
    across, along = np.float32(y / length), np.float32((x - 1) / length)
    return np.asarray((r * np.cos(angle) - 1) * across - r * np.sin(angle) * along)


def _cross(u: Floats, v: Floats) -> Floats:
    across, along = np.abs(u), np.abs(v)
    thick, long = np.float32(0.32), np.float32(0.95)
    bars = np.maximum(across - thick, along - long), np.maximum(along - thick, across - long)
    return np.asarray(np.minimum(*bars))


# The signed distance to each outline in radii, negative inside.
_OUTLINES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "ball": _ball, "box": _box, "cone": _cone, "ring": _ring, "star": _star, "cross": _cross,
}  # fmt: skip


def _seen(things: list[_Thing], side: int) -> tuple[list[_Thing], NDArray[np.uint8]]:
    """The things (near first) of which enough is seen, and the map of who is seen where."""
    masks = np.zeros((side, side), np.uint8)
    kept: list[_Thing] = []
    least = LEAST * (side / SIDE) ** 2
    for thing in things:
        window = masks[thing.rows, thing.columns]
        own = thing.alpha >= 0.5
        free = own & (window == 0)
        seen = int(np.count_nonzero(free))
        if seen < least or seen < SEEN * np.count_nonzero(own):
            continue
        kept.append(thing)
        window[free] = len(kept)
    return kept, masks


def _paint(image: Floats, depth: Floats, thing: _Thing, wall: float, room: Any) -> None:
    window = image[thing.rows, thing.columns]
    u, v = thing.u, thing.v
    light = (np.float32(-0.35 + 0.7 * room[9]) * u + np.float32(0.5) * v) * np.float32(0.45)
    if SHAPES[thing.label] == "ball":
        bulge = np.sqrt(np.clip(1 - u * u - v * v, 0, None))
        shade = np.float32(0.45) + light + np.float32(0.6) * bulge
    else:
        bulge = None
        shade = np.float32(0.88) + np.float32(0.6) * light
    if thing.pattern == 1:
        shade = shade * (1 - np.float32(0.25) * (np.floor(v * 3) % 2))
    elif thing.pattern == 2:
        shade = shade * (1 - np.float32(0.25) * ((np.floor(u * 3) + np.floor(v * 3)) % 2))
    far = np.float32(min(thing.distance / 30, 0.3))
    colour = np.array(COLOURS[thing.colour], dtype=np.float32)
    own = np.clip(shade, 0, 1.25)[:, :, None] * colour * (1 - far) + far * 150
    window += thing.alpha[:, :, None] * (own - window)
    inside = thing.alpha >= 0.5
    distance = np.float32(thing.distance)
    relief = distance if bulge is None else (distance - np.float32(thing.half) * bulge)[inside]
    depth[thing.rows, thing.columns][inside] = relief


# -- the room ----------------------------------------------------------------------------------------------------------


def _background(key: int, room: Any, side: int, focal: float, horizon: float, wall: float) -> tuple[Floats, Floats]:
    """The empty room: float32 (H, W, 3), and its depth (H, W)."""
    rows = np.arange(side) + 0.5
    distance = np.where(rows > horizon + focal * CAMERA / wall, focal * CAMERA / np.maximum(rows - horizon, 1e-6), wall)
    floor = rows > horizon + focal * CAMERA / wall
    across = (np.arange(side) + 0.5 - side / 2) / focal
    blotches = _smooth(uniform(key ^ 0xB10C, 81).reshape(9, 9), side)
    pick = uniform(key ^ 0xC01, 6).reshape(2, 3)
    tones = 70 + 130 * uniform(key ^ 0x70E, 2)[:, None] + 60 * (pick - 0.5)
    texture = np.empty((side, side), np.float32)
    x = distance[floor, None] * across
    z = distance[floor, None] + np.zeros_like(x)
    texture[floor] = _pattern(int(room[10] * 4), x, z, 0.35 + 0.5 * room[11])
    height = (horizon - rows[~floor, None]) / focal * wall + np.zeros((1, side))
    texture[~floor] = _pattern(int(room[12] * 4), across * wall + np.zeros_like(height), height, 0.5 + room[13])
    texture *= np.float32(0.1 + 0.2 * room[14])
    texture += (blotches - np.float32(0.5)) * np.float32(0.5)
    fade = np.where(floor, 1.05 - 0.3 * distance / wall, 0.9).astype(np.float32)
    colours = np.where(floor[:, None], tones[0], tones[1]).astype(np.float32)
    image = (colours * fade[:, None])[:, None, :] * (1 + texture[:, :, None])
    return image, np.repeat(distance.astype(np.float32)[:, None], side, axis=1)


def _pattern(kind: int, x: NDArray[np.float64], y: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Plain, stripes along y, stripes along x, or checks of `size` metres: -1 or 1 (plain: 0)."""
    if kind == 0:
        return np.zeros_like(x)
    cell: Any = (np.floor(x / size) if kind in (1, 3) else 0) + (np.floor(y / size) if kind in (2, 3) else 0)
    return np.asarray(2.0 * (cell % 2) - 1)


@functools.cache
def _weights(n: int, side: int) -> Floats:
    """(side, n): linear interpolation of n values spread over `side` pixels."""
    at = np.linspace(0, n - 1, side)
    weights: Floats = np.clip(1 - np.abs(at[:, None] - np.arange(n)), 0, None).astype(np.float32)
    return weights


def _smooth(grid: NDArray[np.float64], side: int) -> Floats:
    weights = _weights(len(grid), side)
    return (weights @ grid.astype(np.float32) @ weights.T).astype(np.float32)
