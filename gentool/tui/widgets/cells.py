"""Pages of pixels as terminal cells: two pixels a cell, one above the other; and what changed between two pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from gentool.show.pixels import Pixels, shrink
from gentool.show.terminal import SHADES
from gentool.show.text import cell_width, clip

HALF = "▄"
_MOST_STYLES = 1 << 16
_styles: dict[int, Style] = {}


@dataclass(frozen=True)
class Label:
    """Words on a page, in cells from its top left corner; `style` is drawn as it is."""

    x: int
    y: int
    text: str
    style: Style


@dataclass
class Page:
    """Pixels (2 * lines, columns, 3) with words on them."""

    pixels: Pixels
    labels: Sequence[Label] = ()
    _at: dict[int, list[Label]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for label in self.labels:
            if label.text and 0 <= label.y < self.lines and label.x < self.width:
                self._at.setdefault(label.y, []).append(label)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def lines(self) -> int:
        return int(self.pixels.shape[0]) // 2

    def labels_at(self, y: int) -> list[Label]:
        return self._at.get(y, [])

    def strip(self, y: int, *, shades: bool = False, base: Style | None = None) -> Strip:
        """Line y as Textual draws it. shades: light and dark characters, for terminals of few colours."""
        line = _shaded(self.pixels[2 * y : 2 * y + 2], base or Style()) if shades else None
        strip = Strip(line or _halves(self.pixels[2 * y : 2 * y + 2]), self.width)
        for label in self.labels_at(y):
            text = clip(label.text, self.width - label.x)
            end = label.x + cell_width(text)
            words = Strip([Segment(text, label.style)])
            strip = Strip.join([strip.crop(0, label.x), words, strip.crop(end, self.width)])
        return strip

    def changed(self, before: Page) -> list[Region] | None:
        """The parts of the lines that differ from a page of the same size; None for one of another size."""
        if self.pixels.shape != before.pixels.shape:
            return None
        differ: NDArray[np.bool_] = (self.pixels != before.pixels).any(2)
        differ = differ[0::2] | differ[1::2]
        for y in self._at.keys() | before._at.keys():
            if self.labels_at(y) != before.labels_at(y):
                for label in (*self.labels_at(y), *before.labels_at(y)):
                    differ[y, label.x : label.x + cell_width(label.text)] = True
        regions = []
        for y in np.flatnonzero(differ.any(1)).tolist():
            where = np.flatnonzero(differ[y])
            first, last = int(where[0]), int(where[-1])
            regions.append(Region(first, y, last - first + 1, 1))
        return regions


def _halves(two: Pixels) -> list[Segment]:
    """A line of half cells; neighbours that look the same are one segment."""
    wide = two.astype(np.int64)
    colours = (wide[:, :, 0] << 16) | (wide[:, :, 1] << 8) | wide[:, :, 2]
    pairs = (colours[0] << 24) | colours[1]
    starts = np.flatnonzero(np.diff(pairs, prepend=pairs[:1] - 1))
    ends = [*starts[1:].tolist(), len(pairs)]
    return [
        Segment((HALF if pair >> 24 != pair & 0xFFFFFF else " ") * (end - start), _style(pair))
        for start, end, pair in zip(starts.tolist(), ends, pairs[starts].tolist(), strict=True)
    ]


def _style(pair: int) -> Style:
    found = _styles.get(pair)
    if found is None:
        if len(_styles) >= _MOST_STYLES:
            _styles.clear()
        found = Style(color=_colour(pair & 0xFFFFFF), bgcolor=_colour(pair >> 24))
        _styles[pair] = found
    return found


def _colour(value: int) -> Color:
    return Color.from_rgb(value >> 16, value >> 8 & 255, value & 255)


def _shaded(two: Pixels, base: Style) -> list[Segment]:
    """A line of shades: light on dark."""
    light = two.astype(np.float32).mean(0) @ np.array([0.299, 0.587, 0.114], np.float32)
    ramp = np.array(list(SHADES))
    words = "".join(ramp[np.minimum(light * len(SHADES) / 256, len(SHADES) - 1).astype(int)].tolist())
    return [Segment(words, base)]


def scaled(image: Pixels, height: int, width: int) -> Pixels:
    """An image (H, W, C) at (height, width): whole multiples keep hard pixels, in between it is smooth; shrunk by area."""
    rows, columns = image.shape[:2]
    if height <= rows and width <= columns:
        return image if (height, width) == (rows, columns) else shrink(image, height, width)
    if height % rows == 0 and width % columns == 0:
        return image.repeat(height // rows, axis=0).repeat(width // columns, axis=1)
    from PIL import Image

    grey = image.shape[2] == 1
    picture = Image.fromarray(image[:, :, 0] if grey else image)
    how = Image.Resampling.NEAREST if min(height / rows, width / columns) >= 3 else Image.Resampling.BICUBIC
    array = np.asarray(picture.resize((width, height), how))
    return array[:, :, None] if grey else array
