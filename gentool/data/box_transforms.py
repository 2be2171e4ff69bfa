"""Resizing and augmenting a picture, uint8 (H, W, 3), together with its boxes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gentool.data.config import BoxesConfig

VISIBLE = 0.3  # a box of which less is left by a crop is ignored like a crowd: neither there nor not there
SMALLEST_CROP = 0.4  # of a side
SMALLEST_SIDE = 16  # pixels


@dataclass(frozen=True)
class Example:
    """A picture at training size with its boxes in its own pixels; `area` is in pixels of the original, `scale` x and y
    pixels for one of the original. See `gentool.data.boxes.Target`."""

    index: int
    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float64]
    scale: NDArray[np.float64]


def fitted_size(height: int, width: int, config: BoxesConfig) -> tuple[int, int]:
    """(height, width) that a picture is resized to."""
    short, long = min(height, width), max(height, width)
    factor = config.short_side / short if config.short_side else 1.0
    factor = min(factor, config.long_side / long)
    return max(1, round(height * factor)), max(1, round(width * factor))


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Bilinear, antialiased where it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    made = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(made, dtype=np.uint8)


def augmented(example: Example, config: BoxesConfig, rng: np.random.Generator) -> Example:
    """The example mirrored, cut, scaled and recoloured by draws of `rng`, in this order; always so many draws."""
    mirror, upside, cut, log_scale, *rest = rng.random(12)
    if config.flip != "none" and mirror < 0.5:
        example = flipped(example, horizontal=True)
    if config.flip == "both" and upside < 0.5:
        example = flipped(example, horizontal=False)
    height, width, _ = example.image.shape
    if cut < config.crop:
        h = max(min(SMALLEST_SIDE, height), round(height * (SMALLEST_CROP + (1 - SMALLEST_CROP) * rest[0])))
        w = max(min(SMALLEST_SIDE, width), round(width * (SMALLEST_CROP + (1 - SMALLEST_CROP) * rest[1])))
        example = cropped(example, round((height - h) * rest[2]), round((width - w) * rest[3]), h, w)
    if config.jitter > 1:
        example = scaled(example, config.jitter ** (2 * log_scale - 1), (height, width), rest[4], rest[5])
    if config.colour:
        example = dataclasses.replace(
            example, image=recoloured(example.image, config.colour, np.array([*rest[6:8], mirror]))
        )
    return example


def flipped(example: Example, *, horizontal: bool) -> Example:
    """Mirrored left to right, or upside down."""
    axis = 1 if horizontal else 0
    side = example.image.shape[axis]
    low, high = (0, 2) if horizontal else (1, 3)
    boxes = example.boxes.copy()
    boxes[:, low], boxes[:, high] = side - example.boxes[:, high], side - example.boxes[:, low]
    return dataclasses.replace(example, image=np.ascontiguousarray(np.flip(example.image, axis)), boxes=boxes)


def cropped(example: Example, top: int, left: int, height: int, width: int) -> Example:
    """The part of (height, width) at (top, left). Boxes are clipped to it, and `area` shrinks with them; a box that is
    outside is gone, and one of which little is left is ignored."""
    boxes = example.boxes - np.array([left, top, left, top])
    inside = np.clip(boxes, 0, np.array([width, height, width, height]))
    before, after = box_area(boxes), box_area(inside)
    left_over = np.divide(after, before, out=np.zeros_like(after), where=before > 0)
    keep = after > 0
    return dataclasses.replace(
        example,
        image=example.image[top : top + height, left : left + width],
        boxes=inside[keep],
        labels=example.labels[keep],
        crowd=(example.crowd | (left_over < VISIBLE))[keep],
        area=(example.area * left_over)[keep],
    )


def scaled(example: Example, factor: float, room: tuple[int, int], right: float, down: float) -> Example:
    """Resized by `factor`; where it is then larger than `room` (height, width), a part of that size is cut out, of whose
    possible places `down` and `right` in [0, 1) choose one. What is cut away is not resized first."""
    height, width, _ = example.image.shape
    h, w = min(height, math.ceil(room[0] / factor)), min(width, math.ceil(room[1] / factor))
    if (h, w) != (height, width):
        example = cropped(example, round((height - h) * down), round((width - w) * right), h, w)
    new_h = min(room[0], max(min(SMALLEST_SIDE, h), round(h * factor)))
    new_w = min(room[1], max(min(SMALLEST_SIDE, w), round(w * factor)))
    grown = np.array([new_w / w, new_h / h])
    return dataclasses.replace(
        example,
        image=resized(np.ascontiguousarray(example.image), new_h, new_w),
        boxes=example.boxes * np.tile(grown, 2),
        scale=example.scale * grown,
    )


def recoloured(image: NDArray[np.uint8], amount: float, draws: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Brightness, contrast (about the mean) and colour (about grey) times 1 ± amount, by draws in [0, 1)."""
    brightness, contrast, colour = (1 + amount * (2 * draws - 1)).astype(np.float32)
    pixels = image.astype(np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    pixels = grey[:, :, None] + (pixels - grey[:, :, None]) * colour
    mean = grey.mean()
    pixels = (pixels - mean) * (contrast * brightness) + mean * brightness
    made: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return made


def box_area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas (M,) of boxes (M, 4)."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]
