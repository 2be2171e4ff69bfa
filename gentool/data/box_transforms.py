"""Resizing and augmenting a picture, uint8 (H, W, 3), together with its boxes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

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
    """A picture (H, W, C) at (height, width): bilinear, antialiased where it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    # In this layout torch's kernel for bytes is five times as fast as Pillow's, and within one grey value of it.
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    made = F.interpolate(planes, size=(height, width), mode="bilinear", antialias=True)
    pixels: NDArray[np.uint8] = made[0].permute(1, 2, 0).contiguous().numpy()
    return pixels


def augmented(example: Example, config: BoxesConfig, rng: np.random.Generator) -> Example:
    """The example mirrored, turned, cut, scaled and recoloured by draws of `rng`, in this order; always so many draws."""
    mirror, upside, cut, log_scale, *rest = rng.random(12)
    if config.flip != "none" and mirror < 0.5:
        example = flipped(example, horizontal=True)
    if config.flip in ("both", "all") and upside < 0.5:
        example = flipped(example, horizontal=False)
    if config.flip == "all" and upside % 0.5 < 0.25:  # with the two above: any of the eight symmetries of a square
        example = transposed(example)
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
    mirrored = torch.from_numpy(example.image).flip(axis).numpy()  # NumPy copies pixel by pixel: eight times as slow
    return dataclasses.replace(example, image=mirrored, boxes=boxes)


def transposed(example: Example) -> Example:
    """Rows and columns in each other's place."""
    image = torch.from_numpy(example.image).transpose(0, 1).contiguous().numpy()
    return dataclasses.replace(example, image=image, boxes=example.boxes[:, [1, 0, 3, 2]], scale=example.scale[::-1].copy())


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
        image=resized(example.image, new_h, new_w),
        boxes=example.boxes * np.tile(grown, 2),
        scale=example.scale * grown,
    )


def recoloured(image: NDArray[np.uint8], amount: float, draws: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Brightness, contrast (about the mean grey) and colour (about grey) times 1 ± amount, by draws in [0, 1).

    All three are linear: with the grey g of a pixel, its mean m, colour c, contrast k and brightness l, each channel p
    becomes l k (c p + (1 - c) g) + l (1 - k) m.
    """
    brightness, contrast, colour = (1 + amount * (2 * draws - 1)).tolist()
    planes = torch.from_numpy(image).permute(2, 0, 1).contiguous().float()  # a product of (N, 3) and (3, 3) is slower
    grey = 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    offset = brightness * (1 - contrast) * float(grey.mean())
    gain = brightness * contrast
    planes.mul_(gain * colour).add_(grey.mul_(gain * (1 - colour)).add_(offset))
    made: NDArray[np.uint8] = planes.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return made


def box_area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas (M,) of boxes (M, 4)."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]
