"""Boxes with class and score drawn on pictures, so that they can be read on small pictures and on large ones."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from gentool.show.pixels import Pixels, drawable, font, near_square, text_width, to_bytes

if TYPE_CHECKING:
    from gentool.sampling import Detections, Samples

TILE = 280  # pixels a side to which small pictures are enlarged, so that names fit into their boxes
WIDEST = 1600  # of a grid


def class_colour(index: int) -> tuple[int, int, int]:
    """A bright colour of a class, unlike those of its neighbours."""
    hue = (0.13 + index * 0.381966) % 1.0  # the golden angle: any few are well apart
    value = (1.0, 0.86)[index // 8 % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(
    image: Pixels, found: Detections, classes: Sequence[str] = (), *, factor: int = 1, names: bool = True
) -> Pixels:
    """A picture (H, W, 1 or 3), enlarged `factor` times, with boxes in its own pixels: uint8 (H', W', 3).

    The best are drawn last, so that nothing lies on them. A score of 1 is not written: that is the truth.
    """
    from gentool.show.grid import enlarge

    big = enlarge(image if image.shape[2] == 3 else image.repeat(3, axis=2), factor)
    picture = Image.fromarray(np.ascontiguousarray(big))
    pen = ImageDraw.Draw(picture)
    height, width = big.shape[:2]
    line = max(1, round(min(height, width) / 160))
    face = font(max(10, min(16, round(min(height, width) / 24))))
    order = range(len(found) - 1, -1, -1)
    boxes, scores, labels = found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    for i in order:
        x1, y1, x2, y2 = (value * factor for value in boxes[i])
        corners = (round(x1), round(y1), max(round(x1), round(x2) - 1), max(round(y1), round(y2) - 1))
        pen.rectangle(corners, outline=class_colour(labels[i]), width=line)
    if names:
        for i in order:
            _name(
                pen,
                boxes[i],
                factor,
                _text(labels[i], scores[i], classes),
                class_colour(labels[i]),
                face,
                (height, width),
            )
    return np.asarray(picture, dtype=np.uint8)


def _text(label: int, score: float, classes: Sequence[str]) -> str:
    name = drawable(classes[label]) if 0 <= label < len(classes) else str(label)
    return name if score >= 1 else f"{name} {score:.2f}"


def _name(
    pen: Any, box: list[float], factor: int, text: str, colour: tuple[int, int, int], face: Any, room: tuple[int, int]
) -> None:
    """The name on a flag: over the box where there is room, else inside at its top."""
    height, width = room
    tall = int(face.getbbox("Ág|")[3]) + 2
    wide = text_width(text, face) + 4
    x = min(max(0, round(box[0] * factor)), max(0, width - wide))
    y = round(box[1] * factor) - tall
    y = min(max(0, round(box[1] * factor)), height - tall) if y < 0 else y
    pen.rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour)
    dark = sum(channel * share for channel, share in zip(colour, (0.3, 0.59, 0.11))) > 120
    pen.text((x + 2, y), text, fill=(0, 0, 0) if dark else (255, 255, 255), font=face)


def cut(samples: Samples) -> list[Pixels]:
    """Each picture without what its canvas was filled up with."""
    assert samples.images is not None
    pixels = to_bytes(samples.images)
    if samples.sizes is None:
        return list(pixels)
    return [image[:h, :w] for image, (h, w) in zip(pixels, samples.sizes.tolist())]


def tiles(samples: Samples, columns: int | None = None) -> Pixels:
    """The pictures with their boxes drawn, on white tiles of one size: uint8 (n, H, W, 3)."""
    assert samples.detections is not None
    images = cut(samples)
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    across = min(columns or near_square(len(images)), len(images))
    factor = max(1, min(-(-TILE // max(height, width)), WIDEST // (across * width)))
    page = np.full((len(images), height * factor, width * factor, 3), 255, np.uint8)
    for tile, image, found in zip(page, images, samples.detections):
        drawn = draw_boxes(image, found, samples.classes, factor=factor)
        tile[: drawn.shape[0], : drawn.shape[1]] = drawn
    return page


def grid_with_boxes(samples: Samples) -> Image.Image:
    """Samples that have detections as one picture."""
    from gentool.show.grid import make_grid

    made = tiles(samples, samples.columns).transpose(0, 3, 1, 2)
    return make_grid(made, columns=samples.columns, captions=samples.captions, title=samples.title or None, scale=1)


def show_boxes(samples: Samples, mode: str = "auto", title: str = "") -> int:
    """Samples that have detections in the terminal; gives how many pictures were shown."""
    from gentool.show.terminal import show_image

    return show_image(
        tiles(samples, samples.columns).transpose(0, 3, 1, 2),
        mode,
        columns=samples.columns,
        title=samples.title or title,
    )
