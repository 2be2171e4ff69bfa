"""Curves as text for a terminal (plotext) and as pictures (drawn here with Pillow: axes, round ticks, a legend)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from gentool.evaluating import Curve
from gentool.show.scale import Axis, make_axis, pieces, thin
from gentool.show.terminal import color_depth, is_terminal, picture_stream, terminal_size
from gentool.show.text import cell_width, clip, safe_text, speaks_unicode, write

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

# Distinct also for the colour-blind (after Okabe and Ito), dark enough on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#6f4e7c", "#555555")
ANSI = (39, 208, 35, 170, 178, 81, 141, 245)  # the like on the 256-colour palette, for dark and light terminals
MARKERS = ("braille", "x", "o", "+", "*", "#", "@", "%")  # without colours
ASCII_MARKERS = ("*", "x", "o", "+", "#", "@", "%", "&")
PLAIN = str.maketrans("┌┐└┘├┤┬┴┼─│", "++++++++++|")
AXES = ("step", "")


def plot_terminal(
    curves: Sequence[Curve],
    axes: tuple[str, str] = AXES,
    *,
    log_y: bool = False,
    title: str = "",
    stream: IO[str] | None = None,
    height: int = 16,
) -> bool:
    """Draw curves as text; gives whether anything was drawn.

    `stream`: None for the terminal that pictures go to (nothing is drawn where there is none). Colours only on a terminal
    that has them and wants them, braille only where it can be encoded. The width is the terminal's, at most 100.
    """
    target = stream or picture_stream()
    if target is None:
        return False
    wide = min(terminal_size(target)[0] - 1, 100) if is_terminal(target) else 79
    colored = is_terminal(target) and color_depth() is not None
    text = plot_text(
        curves, axes, log_y=log_y, title=title, width=wide, height=height, color=colored,
        unicode=speaks_unicode(target),
    )  # fmt: skip
    write(text, target)
    return bool(text)


def plot_text(
    curves: Sequence[Curve],
    axes: tuple[str, str] = AXES,
    *,
    log_y: bool = False,
    title: str = "",
    width: int = 79,
    height: int = 16,
    color: bool = False,
    unicode: bool = True,
) -> str:
    """Curves as lines of at most `width` cells; the legend and the title stand above. Empty where nothing is finite."""
    import plotext

    width, height = max(width, 24), max(height, 6)
    y_axis = make_axis([y for curve in curves for y in curve.y], log=log_y, ticks=max(3, height // 3))
    drawn = [(curve, thin(*_points(curve, y_axis))) for curve in curves]
    drawn = [(curve, points) for curve, points in drawn if points[0]]
    if not drawn:
        return ""
    xs = [x for _, points in drawn for x in points[0]]
    x_axis = make_axis(xs, log=False, ticks=max(2, width // 14), margin=0.0, whole=_whole(xs))

    plotext.clear_figure()
    try:
        plotext.limit_size(False, False)
        plotext.plot_size(width, height)
        plotext.theme("clear")
        for i, (_, (x, y)) in enumerate(drawn):
            marker = _marker(i, color=color, unicode=unicode)
            paint = {"color": ANSI[i % len(ANSI)]} if color else {}
            plotext.plot([x_axis.place(v) for v in x], [y_axis.place(v) for v in y], marker=marker, **paint)
        plotext.xlim(0, 1)
        plotext.ylim(0, 1)
        plotext.xticks([x_axis.place(v) for v, _ in x_axis.ticks], [text for _, text in x_axis.ticks])
        plotext.yticks([y_axis.place(v) for v, _ in y_axis.ticks], [text for _, text in y_axis.ticks])
        if axes[0]:
            plotext.xlabel(clip(safe_text(axes[0]), width // 2))
        canvas = plotext.build()
    finally:
        plotext.clear_figure()
    if not color:
        canvas = _without_codes(canvas)
    heading = _heading([curve.name for curve, _ in drawn], title, axes[1], y_axis, width, color=color, unicode=unicode)
    body = "\n".join(line.rstrip() for line in canvas.rstrip("\n").split("\n"))
    return heading + (body if unicode else body.translate(PLAIN)) + "\n"


def _marker(i: int, *, color: bool, unicode: bool) -> str:
    if not unicode:
        return ASCII_MARKERS[i % len(ASCII_MARKERS)]
    return MARKERS[0] if color else MARKERS[i % len(MARKERS)]


def _points(curve: Curve, axis: Axis) -> tuple[list[float], list[float]]:
    kept = [(x, y) for x, y in zip(curve.x, curve.y, strict=False) if axis.holds(y)]
    return [x for x, _ in kept], [y for _, y in kept]


def _whole(values: Sequence[float]) -> bool:
    """Whether an axis counts something: whole numbers over more than a few."""
    return all(value == int(value) for value in values) and max(values) - min(values) >= 2


def _without_codes(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _heading(names: Sequence[str], title: str, what: str, axis: Axis, width: int, *, color: bool, unicode: bool) -> str:
    """The title with what y is, then the legend where it says more than the title."""
    said = ", ".join(part for part in (safe_text(what), "log scale" if axis.log else "") if part)
    top = " ".join(part for part in (safe_text(title), f"({said})" if said else "") if part)
    lines = [clip(top, width)] if top else []
    if len(names) > 1 or (names and names[0] not in (title, what)):
        row, used = "", 0
        for i, name in enumerate(names):
            mark = _marker(i, color=color, unicode=unicode)
            mark = "⣀⡠" if mark == "braille" else mark * 2
            entry = clip(f"{mark} {safe_text(name)}", width)
            size = cell_width(entry)
            if row and used + 3 + size > width:
                lines.append(row)
                row, used = "", 0
            painted = f"\x1b[38;5;{ANSI[i % len(ANSI)]}m{entry}\x1b[0m" if color else entry
            row, used = (f"{row}   {painted}", used + 3 + size) if row else (painted, size)
        lines.append(row)
    return "".join(line + "\n" for line in lines)


# -- pictures ----------------------------------------------------------------------------------------------------------

_FINE = 3  # drawn so many times larger, then shrunk: smooth lines
_GRID, _LINE, _INK, _SOFT = "#e6e6e6", "#9a9a9a", "#222222", "#555555"


def plot_png(
    curves: Sequence[Curve],
    axes: tuple[str, str] = AXES,
    *,
    log_y: bool = False,
    title: str = "",
    size: tuple[int, int] = (900, 540),
) -> Image:
    """Curves as a picture of `size` pixels: title, legend above the plot, round ticks, lines broken where y is not finite.

    Curves of few points get dots. On a log axis values that are not positive are left out. A plot without a finite value
    says so.
    """
    from PIL import Image, ImageDraw

    from gentool.show.pixels import drawable, fit_text, font, text_width

    wide, high = size[0] * _FINE, size[1] * _FINE
    page = Image.new("RGB", (wide, high), "white")
    pen = ImageDraw.Draw(page)
    title_face, face = font(19 * _FINE), font(14 * _FINE)
    pad = 18 * _FINE

    y_axis = make_axis([y for curve in curves for y in curve.y], log=log_y, ticks=7)
    shown = [(curve, pieces(curve, y_axis)) for curve in curves]
    xs = [x for _, parts in shown for part in parts for x, _ in part]
    x_axis = make_axis(xs, log=False, ticks=9, margin=0.015, whole=bool(xs) and _whole(xs))

    top = pad
    if title:
        pen.text((pad, top), fit_text(drawable(title), title_face, wide - 2 * pad), fill=_INK, font=title_face)
        top += 32 * _FINE
    names = [drawable(curve.name) for curve, _ in shown]
    if len(names) > 1 or (names and names[0] not in (title, axes[1])):
        top = _legend(pen, names, face, top, pad, wide)
    what = drawable(axes[1]) + (" (log scale)" if y_axis.log else "")
    if what.strip():
        pen.text((pad, top), fit_text(what.strip(), face, wide - 2 * pad), fill=_SOFT, font=face)
        top += 24 * _FINE

    left = pad + max((text_width(drawable(text), face) for _, text in y_axis.ticks), default=0) + 10 * _FINE
    box = (left, top + 6 * _FINE, wide - pad - 10 * _FINE, high - pad - (46 if axes[0] else 24) * _FINE)
    _axes(pen, x_axis, y_axis, box, face)
    if axes[0]:
        text = fit_text(drawable(axes[0]), face, box[2] - box[0])
        pen.text(
            ((box[0] + box[2] - text_width(text, face)) // 2, high - pad - 16 * _FINE), text, fill=_SOFT, font=face
        )
    if not xs:
        text = "no finite values"
        at = ((box[0] + box[2] - text_width(text, face)) // 2, (box[1] + box[3]) // 2)
        pen.text(at, text, fill=_SOFT, font=face)
    for i, (_, parts) in enumerate(shown):
        _curve(pen, parts, x_axis, y_axis, box, COLOURS[i % len(COLOURS)])
    return page.resize(size, Image.Resampling.LANCZOS)


def _legend(pen: ImageDraw, names: Sequence[str], face: Any, top: int, pad: int, wide: int) -> int:
    from gentool.show.pixels import fit_text, text_width

    at = pad
    swatch, gap = 22 * _FINE, 7 * _FINE
    for i, name in enumerate(names):
        text = fit_text(name, face, wide - 2 * pad - swatch - gap)
        size = swatch + gap + text_width(text, face) + 20 * _FINE
        if at > pad and at + size > wide - pad:
            at, top = pad, top + 22 * _FINE
        middle = top + 10 * _FINE
        pen.line((at, middle, at + swatch, middle), fill=COLOURS[i % len(COLOURS)], width=3 * _FINE)
        pen.text((at + swatch + gap, top), text, fill=_INK, font=face)
        at += size
    return top + 28 * _FINE


def _axes(pen: ImageDraw, x_axis: Axis, y_axis: Axis, box: tuple[int, int, int, int], face: Any) -> None:
    from gentool.show.pixels import drawable, text_width

    left, top, right, bottom = box
    for value, text in y_axis.ticks:
        y = bottom - y_axis.place(value) * (bottom - top)
        pen.line((left, y, right, y), fill=_GRID, width=_FINE)
        text = drawable(text)
        pen.text((left - text_width(text, face) - 8 * _FINE, y - 9 * _FINE), text, fill=_SOFT, font=face)
    for value, text in x_axis.ticks:
        x = left + x_axis.place(value) * (right - left)
        pen.line((x, top, x, bottom), fill=_GRID, width=_FINE)
        pen.line((x, bottom, x, bottom + 5 * _FINE), fill=_LINE, width=_FINE)
        text = drawable(text)
        pen.text((x - text_width(text, face) // 2, bottom + 7 * _FINE), text, fill=_SOFT, font=face)
    pen.line((left, top, left, bottom), fill=_LINE, width=_FINE)
    pen.line((left, bottom, right, bottom), fill=_LINE, width=_FINE)


def _curve(
    pen: ImageDraw,
    parts: Sequence[Sequence[tuple[float, float]]],
    x_axis: Axis,
    y_axis: Axis,
    box: tuple[int, int, int, int],
    color: str,
) -> None:
    left, top, right, bottom = box
    total = sum(map(len, parts))
    for part in parts:
        x, y = thin([p[0] for p in part], [p[1] for p in part], 1200)
        dots = [
            (left + x_axis.place(a) * (right - left), bottom - y_axis.place(b) * (bottom - top))
            for a, b in zip(x, y, strict=True)
        ]
        if len(dots) > 1:
            pen.line(dots, fill=color, width=round(1.8 * _FINE), joint="curve")
        if total <= 40 or len(dots) == 1:
            for a, b in dots:
                radius = 3.5 * _FINE
                pen.ellipse((a - radius, b - radius, a + radius, b + radius), fill=color)
