"""Lines drawn with braille characters: two by four dots a cell, a colour a cell. Light: a plot takes a few milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column, then row of a cell
NOTHING = -1


class Canvas:
    """A drawing of `width` by `height` cells. Places are in [0, 1], y upwards; what lies outside is left out."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = max(width, 1), max(height, 1)
        self._dots = [bytearray(self.width) for _ in range(self.height)]
        self._pens = [[NOTHING] * self.width for _ in range(self.height)]

    def line(self, points: Sequence[tuple[float, float]], pen: int) -> None:
        """Join the points with a line; a single point is a dot. A later pen paints over an earlier one."""
        wide, high = 2 * self.width - 1, 4 * self.height - 1
        before: tuple[int, int] | None = None
        for x, y in points:
            here = round(x * wide), high - round(y * high)
            if here == before:
                continue
            if before is None:
                self._dot(*here, pen)
            else:
                self._join(before, here, pen)
            before = here

    def _join(self, start: tuple[int, int], end: tuple[int, int], pen: int) -> None:
        (x0, y0), (x1, y1) = start, end
        count = max(abs(x1 - x0), abs(y1 - y0))
        if count > 8 * (self.width + self.height):  # far outside: nothing of it would be seen where it belongs
            return
        dx, dy = (x1 - x0) / count, (y1 - y0) / count
        for i in range(1, count + 1):
            self._dot(round(x0 + i * dx), round(y0 + i * dy), pen)

    def _dot(self, x: int, y: int, pen: int) -> None:
        column, row = x >> 1, y >> 2
        if 0 <= column < self.width and 0 <= row < self.height:
            self._dots[row][column] |= _DOTS[x & 1][y & 3]
            self._pens[row][column] = pen

    def row(self, y: int) -> list[tuple[str, int]]:
        """One line of cells as stretches of the same pen: (characters, pen), spaces where nothing was drawn."""
        stretches: list[tuple[str, int]] = []
        text, last = "", NOTHING
        for dots, pen in zip(self._dots[y], self._pens[y], strict=True):
            pen = pen if dots else NOTHING
            if pen != last and text:
                stretches.append((text, last))
                text = ""
            text += chr(0x2800 + dots) if dots else " "
            last = pen
        return [*stretches, (text, last)] if text else stretches
