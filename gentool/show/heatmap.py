"""Heat maps with words on both sides: as cells of numbers in a terminal, and as pictures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from gentool.evaluating import HeatMap
from gentool.show.terminal import WIDTH, color_depth, is_terminal, picture_stream, terminal_size
from gentool.show.text import cell_width, clip, pad, safe_text, speaks_unicode, write

if TYPE_CHECKING:
    from PIL.Image import Image

# From white to dark blue in even steps of lightness (after ColorBrewer's Blues), and the like of the 256 colours.
RAMP = ((255, 255, 255), (222, 235, 247), (158, 202, 225), (66, 146, 198), (8, 81, 156), (8, 48, 107))
_DARK = 0.45  # a share of the range above which ink on it is white
LEAST = 4  # cells of a column: a number and a space between
_SHADES = " ░▒▓█"


def heatmap_terminal(map: HeatMap, stream: IO[str] | None = None) -> bool:
    """Draw a map as text where there is a terminal (or on `stream`); gives whether anything was drawn."""
    target = stream or picture_stream()
    if target is None:
        return False
    wide = min(terminal_size(target)[0] - 1, 160) if is_terminal(target) else WIDTH - 1
    depth = color_depth() if is_terminal(target) else None
    write(heatmap_text(map, wide, depth=depth, unicode=speaks_unicode(target)), target)
    return True


def heatmap_text(map: HeatMap, width: int, *, depth: str | None = None, unicode: bool = True) -> str:
    """Lines of at most `width` cells: the columns' words above, each row's word before its numbers in percent of the
    largest possible, on its colour (depth: "256" or "truecolor") or beside a shade. Words are cut to what fits; columns
    that do not fit at all are left out, and a line says so."""
    rows, columns = [_word(row) for row in map.rows], [_word(column) for column in map.columns]
    left = min(max(map_width(rows), 1), max(8, width // 3), max(1, width - LEAST - 1))
    widths, shown = _widths(columns, max(width - left - 1, LEAST))
    lines = [clip(line, width) for line in textwrap.wrap(safe_text(map.title), width)]
    heads = [pad(clip(word, wide - 1), wide - 1, "right") for word, wide in zip(columns, widths)]
    lines.append(" " * (left + 1) + " ".join(heads).rstrip() if heads else "")
    for word, shares in zip(rows, map.shares(), strict=True):
        cells = [_cell(share, wide, depth, unicode) for share, wide in zip(shares, widths)]
        lines.append(pad(clip(word, left), left, "right") + " " + "".join(cells).rstrip())
    if shown < len(columns):
        lines.append(f"(the first {shown} of {len(columns)} columns; the picture has all)")
    return "".join(line + "\n" for line in lines)


def map_width(words: Sequence[str]) -> int:
    """The cells of the widest word."""
    return max(map(cell_width, words), default=0)


def _word(text: str) -> str:
    return safe_text(" ".join(text.split())) or "·"


def _widths(words: Sequence[str], room: int) -> tuple[list[int], int]:
    """(cells of each column with the space between, how many columns are shown): the longest words are cut first."""
    shown = min(len(words), room // LEAST)
    widths = [max(LEAST, cell_width(word) + 1) for word in words[:shown]]
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths, shown


def _cell(share: float, width: int, depth: str | None, unicode: bool) -> str:
    """One value as its percentage; on a terminal with colours on its shade, else with a shade beside it."""
    share = min(max(share, -0.99), 9.99) if math.isfinite(share) else share
    percent = round(100 * share) if math.isfinite(share) else None
    number = "?" if percent is None else str(percent) if percent else ""
    if depth is None:
        shade = _SHADES[min(4, max(0, int(5 * share)))] if unicode and percent else ""
        return pad(number + (shade or " "), width, "right")
    red, green, blue = shade_of(share)
    paint = f"2;{red};{green};{blue}"
    if depth == "256":  # the nearest of its cube of 6 x 6 x 6 colours
        paint = f"5;{16 + 36 * round(red / 51) + 6 * round(green / 51) + round(blue / 51)}"
    ink = "97" if share > _DARK else "30"
    return f"\x1b[48;{paint};{ink}m{pad(number, width - 1, 'right')} \x1b[0m"


def shade_of(share: float) -> tuple[int, int, int]:
    """The colour of a share in [0, 1]; grey for what is not finite."""
    if not math.isfinite(share):
        return (190, 190, 190)
    place = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    first = min(int(place), len(RAMP) - 2)
    a, b, t = RAMP[first], RAMP[first + 1], place - first
    return (round(a[0] + t * (b[0] - a[0])), round(a[1] + t * (b[1] - a[1])), round(a[2] + t * (b[2] - a[2])))


def heatmap_png(map: HeatMap, cell: int = 44) -> Image:
    """A map as a picture: the columns' words upright above it where they are longer than a cell, numbers in the cells."""
    from PIL import Image, ImageDraw

    from gentool.show.pixels import drawable, fit_text, font, text_width, wrap_text

    cell = max(14, min(cell, 2400 // max(1, len(map.rows), len(map.columns))))
    face, small, heading = font(max(10, min(16, cell // 2))), font(max(8, cell // 3)), font(18)
    margin, gap = 16, 8
    rows = [fit_text(drawable(_word(word)), face, 240) for word in map.rows]
    columns = [fit_text(drawable(_word(word)), face, 240) for word in map.columns]
    upright = any(text_width(word, face) > cell - 4 for word in columns)
    above = max((text_width(word, face) for word in columns), default=0) if upright else 20
    left = margin + max((text_width(word, face) for word in rows), default=0) + gap
    across = left + cell * len(columns)
    title = wrap_text(drawable(map.title), heading, max(across - margin, 360), 4) if map.title else []
    top = margin + 26 * len(title) + (gap if title else 0) + above + gap
    axes = [drawable(axis) for axis in map.axes]
    legend = f"rows: {axes[0]}, columns: {axes[1]}, in percent" if any(axes) else ""
    wide = [text_width(line, heading) for line in title] + [text_width(legend, small)]
    page_w = min(max(across, margin + max(wide)) + margin, 4000)
    page_h = top + cell * len(rows) + margin + (26 if legend else 0)
    page = Image.new("RGB", (page_w, page_h), "white")
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(title):
        pen.text((margin, margin + 26 * number), line, fill="#222222", font=heading)
    for j, word in enumerate(columns):
        x = left + j * cell
        if upright:
            strip = Image.new("RGB", (text_width(word, face) + 2, 24), "white")
            ImageDraw.Draw(strip).text((0, 1), word, fill="#222222", font=face)
            strip = strip.rotate(90, expand=True)
            page.paste(strip, (x + (cell - strip.width) // 2, top - gap - strip.height))
        else:
            pen.text((x + (cell - text_width(word, face)) // 2, top - gap - 18), word, fill="#222222", font=face)
    for i, (word, shares) in enumerate(zip(rows, map.shares(), strict=True)):
        y = top + i * cell
        pen.text((left - gap - text_width(word, face), y + cell // 2 - 10), word, fill="#222222", font=face)
        for j, share in enumerate(shares):
            x = left + j * cell
            pen.rectangle((x, y, x + cell - 2, y + cell - 2), fill=shade_of(share), outline="#e6e6e6")
            text = f"{100 * share:.0f}" if math.isfinite(share) else "?"
            if cell >= 26 and text != "0":
                ink = "white" if share > _DARK else "#222222"
                at = (x + (cell - text_width(text, small)) // 2, y + cell // 2 - cell // 5)
                pen.text(at, text, fill=ink, font=small)
    if legend:
        pen.text((margin, page_h - 26), legend, fill="#555555", font=small)
    return page
