"""What a panel of pictures shows: the pictures, how they are laid out, and what is drawn on and around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color

from gentool.runs.gallery import Look, Shot
from gentool.show.boxes import class_colour
from gentool.show.pixels import Pixels
from gentool.show.terminal import Layout, fit_columns
from gentool.show.text import safe_text
from gentool.tui.widgets.cells import Label


@dataclass(frozen=True)
class Box:
    """Something found on a picture: x1 y1 x2 y2 in its pixels, its class, how sure."""

    corners: tuple[float, float, float, float]
    label: int
    score: float
    name: str = ""


@dataclass(frozen=True)
class Album:
    """What a `Pictures` shows. pixels: uint8 (n, H, W, 1 or 3); `columns` fixes the columns of a view; `captions` stand
    under the pictures; `boxes` are drawn on them, one list a picture; `sizes` where a picture is the top left of a canvas.
    pairs: the second half of the pictures belongs under the first, one to one."""

    pixels: Pixels
    columns: int | None = None
    captions: Sequence[str] = ()
    boxes: Sequence[Sequence[Box]] = ()
    sizes: Sequence[tuple[int, int]] = ()
    pairs: bool = False

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, i: int) -> Pixels:
        image: Pixels = self.pixels[i]
        if i < len(self.sizes):
            height, width = self.sizes[i]
            image = image[:height, :width]
        return image

    def caption(self, i: int) -> str:
        return self.captions[i] if i < len(self.captions) else ""

    def fitted(self, width: int, lines: int, below: int) -> Layout:
        """The layout that shows most of the pictures as large as they fit: in so many cells and lines, `below` of them
        under each row for words."""
        n, height, wide = self.pixels.shape[:3]

        def fit(count: int, columns: int | None) -> Layout:
            return fit_columns(
                count, height, wide, columns=columns, max_width=width, max_lines=lines, below=below, smooth=True
            )

        if not self.pairs:
            return fit(n, self.columns)
        across = {-(-(n // 2) // blocks): blocks for blocks in range(n // 2, 0, -1)}
        found = [fit(2 * k * blocks, k) for k, blocks in across.items()]
        return max(found, key=lambda one: (min(one.shown, n), one.width, one.columns))

    def order(self, columns: int) -> list[int | None]:
        """The picture at each place, row after row; of pairs, rows of the first and of the second half take turns."""
        return paired(len(self), columns) if self.pairs else list(range(len(self)))


def album_of(shot: Shot, found: Look, *, truth: bool = False) -> Album:
    """The pictures of a file. Rows that mean something stay; previews are laid out anew to fill the panel.

    truth: with the true boxes, where they are known, in place of those that were found.
    """
    assert found.pixels is not None
    pairs = shot.kind == "reconstructions" and len(found.pixels) == 2 * (found.columns or 0)
    columns = None if shot.kind == "samples" or pairs else found.columns
    boxes = [
        [
            Box((b[0], b[1], b[2], b[3]), j, score, name)
            for b, j, score, name in zip(f.boxes, f.labels, f.scores, f.names)
        ]
        for f in (truth and found.truth) or found.found
    ]
    captions = () if boxes else found.captions
    return Album(found.pixels, columns=columns, captions=captions, boxes=boxes, sizes=found.sizes, pairs=pairs)


def paired(n: int, columns: int) -> list[int | None]:
    """The order in which rows of the first half and of the second half take turns."""
    half = n // 2
    order: list[int | None] = []
    for start in range(0, half, columns):
        row = [start + x if start + x < half else None for x in range(columns)]
        order += row
        order += [None if i is None else half + i for i in row]
    return order


def paint_boxes(album: Album, i: int, part: Pixels, threshold: float, x: int = 0, y: int = 0) -> list[Label]:
    """Draw what was found on a picture, of at least a score, on its part of a page, which begins at pixel (x, y); gives it in
    words, too."""
    labels: list[Label] = []
    if i >= len(album.boxes):
        return labels
    image = album.image(i)
    fy, fx = part.shape[0] / image.shape[0], part.shape[1] / image.shape[1]
    seen = [box for box in album.boxes[i] if box.score >= threshold]
    for box in reversed(seen):  # the best last, so that nothing lies on it
        x1, y1, x2, y2 = box.corners
        left, right = _clipped(x1 * fx, x2 * fx, part.shape[1])
        top, bottom = _clipped(y1 * fy, y2 * fy, part.shape[0])
        colour = class_colour(box.label)
        part[[top, bottom], left : right + 1] = colour
        part[top : bottom + 1, [left, right]] = colour
        words = safe_text(f"{box.name or box.label}" + (f" {box.score:.2f}" if box.score < 1 else ""))
        ink = "black" if sum(c * s for c, s in zip(colour, (0.3, 0.59, 0.11))) > 120 else "white"
        style = Style(color=ink, bgcolor=RichColor.from_rgb(*colour))
        line = max(0, (y + top) // 2 - (1 if top >= 2 else 0))
        labels.append(Label(x + left, line, f" {words} ", style))
    return labels


def _clipped(first: float, last: float, size: int) -> tuple[int, int]:
    """The first and last pixel of a span, within a picture."""
    start = min(max(0, round(first)), size - 1)
    return start, min(max(start, round(last) - 1), size - 1)


def frame(page: Pixels, x: int, y: int, width: int, height: int, colour: Color) -> None:
    """A line around a tile, in the gap."""
    tall = height + height % 2
    left, right, top, bottom = x - 1, x + width, y - 1, y + tall
    rows = slice(max(top, 0), min(bottom + 1, page.shape[0]))
    columns = slice(max(left, 0), min(right + 1, page.shape[1]))
    value: Any = colour.rgb
    for column in (left, right):
        if 0 <= column < page.shape[1]:
            page[rows, column] = value
    for row in (top, bottom):
        if 0 <= row < page.shape[0]:
            page[row, columns] = value
