"""Curves in the terminal: axes with round ticks, a faint grid, and a line that says what the values are at a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.events import Click, MouseMove
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from gentool.evaluating import Curve
from gentool.show.braille import NOTHING, Canvas
from gentool.show.scale import Axis, make_axis, pieces, running_mean, thin
from gentool.show.text import cell_width, clip, safe_text
from gentool.tui.theme import curve_colors


@dataclass(frozen=True)
class Line:
    """A curve and the number of its colour."""

    curve: Curve
    color: int


@dataclass(frozen=True)
class Drawn:
    """What was computed for a size: redrawn from it until something changes."""

    canvas: Canvas
    x_axis: Axis
    y_axis: Axis
    left: int  # cells of the labels of y
    lines: tuple[Line, ...]


class Plot(Widget, can_focus=False):
    """Draws `Line`s. `log_y` asks for a log axis (where something is positive), `smooth` for a mean over so many hundredths."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"plot--label", "plot--grid", "plot--title", "plot--at"}
    DEFAULT_CSS = """
    Plot { width: 1fr; height: 1fr; }
    Plot > .plot--label { color: $soft; }
    Plot > .plot--grid { color: $line; }
    Plot > .plot--title { color: $foreground; }
    Plot > .plot--at { color: $accent; }
    """
    ALLOW_SELECT = False

    class Pointed(Message):
        """The place that is looked at is another (a value of x, or None)."""

        def __init__(self, plot: Plot, at: float | None) -> None:
            super().__init__()
            self.plot, self.at = plot, at

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: tuple[Line, ...] = ()
        self.title = ""
        self.legend = False  # the curves' names at the top, in their colours
        self.x_name = "step"
        self.nothing = "No finite values yet."
        self.log_y = False
        self.smooth = 0
        self.at: float | None = None  # the place that is looked at
        self._drawn: Drawn | None = None

    def show_lines(
        self,
        lines: Sequence[Line],
        *,
        title: str = "",
        legend: bool = False,
        x_name: str = "step",
        log_y: bool = False,
        smooth: int = 0,
    ) -> None:
        """Draw these; y is told to be logarithmic or smoothed in the title."""
        self.lines, self.title, self.x_name = tuple(lines), safe_text(title), x_name
        self.log_y, self.smooth, self.legend = log_y, smooth, legend
        self._drawn = None
        self.refresh()

    def on_resize(self) -> None:
        self._drawn = None

    # -- the place that is looked at ----------------------------------------------------------------------------------

    def point(self, at: float | None) -> None:
        if at != self.at:
            self.at = at
            self.refresh()
            self.post_message(self.Pointed(self, at))

    def step(self, by: int) -> None:
        """Move the place by cells, from the right end at first."""
        drawn = self._draw()
        wide = drawn.canvas.width
        here = wide if self.at is None else round(drawn.x_axis.place(self.at) * (wide - 1))
        column = here + by
        if column < 0 or column >= wide:
            self.point(None)
        else:
            self.point(self._value(drawn, column))

    def _value(self, drawn: Drawn, column: int) -> float:
        axis = drawn.x_axis
        return axis.low + column / max(drawn.canvas.width - 1, 1) * (axis.high - axis.low)

    def on_mouse_move(self, event: MouseMove) -> None:
        drawn = self._draw()
        column = event.x - drawn.left
        self.point(self._value(drawn, column) if 0 <= column < drawn.canvas.width and drawn.lines else None)

    def on_leave(self) -> None:
        self.point(None)

    def on_click(self, event: Click) -> None:
        self.on_mouse_move(event)  # type: ignore[arg-type]

    # -- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self) -> Drawn:
        if self._drawn is None:
            self._drawn = draw(self.lines, self.size.width, self.size.height - 2, log_y=self.log_y, smooth=self.smooth)
        return self._drawn

    def render_line(self, y: int) -> Strip:
        width, height = self.size.width, self.size.height
        base = self.rich_style
        if y == 0:
            return Strip(self._title()).adjust_cell_length(width, base)
        drawn = self._draw()
        label = self.get_component_rich_style("plot--label")
        if not drawn.lines:
            text = self.nothing if y == height // 2 else ""
            space = " " * max(0, (width - cell_width(text)) // 2)
            return Strip([Segment(space + text, label)]).adjust_cell_length(width, base)
        if y == height - 1:
            return Strip(self._x_labels(drawn, width)).adjust_cell_length(width, base)
        return Strip(self._row(drawn, y - 1, base)).adjust_cell_length(width, base)

    def _title(self) -> list[Segment]:
        style = self.get_component_rich_style("plot--title")
        segments = [Segment(self.title, style)] if self.title else []
        if self.legend:
            styles = self._styles()
            for line in self.lines:
                mark = Segment("━━ ", styles[line.color % len(styles)])
                segments += [mark, Segment(safe_text(line.curve.name) + "   ", style)]
            segments += [Segment("log scale", self.get_component_rich_style("plot--label"))] if self.log_y else []
        return segments

    def _row(self, drawn: Drawn, y: int, base: Style) -> list[Segment]:
        canvas = drawn.canvas
        ticks = {_line_of(place, canvas.height): text for place, text in _placed(drawn.y_axis)}
        label, grid = self.get_component_rich_style("plot--label"), self.get_component_rich_style("plot--grid")
        tick = ticks.get(y)
        segments = [Segment((tick or "").rjust(drawn.left - 1) + " ", label)]
        styles = self._styles()
        at = self._at_column(drawn)
        column = 0
        for text, pen in canvas.row(y):
            if pen == NOTHING:
                text = "┄" * len(text) if tick is not None else text
                style = grid
            else:
                style = styles[pen % len(styles)]
            if at is not None and column <= at < column + len(text):
                cut = at - column
                mark = Segment("│" if pen == NOTHING else text[cut], self.get_component_rich_style("plot--at"))
                segments += [Segment(text[:cut], style), mark, Segment(text[cut + 1 :], style)]
            else:
                segments.append(Segment(text, style))
            column += len(text)
        return [segment for segment in segments if segment.text]

    def _at_column(self, drawn: Drawn) -> int | None:
        if self.at is None:
            return None
        return round(drawn.x_axis.place(self.at) * (drawn.canvas.width - 1))

    def _styles(self) -> list[Style]:
        ground = self.background_colors[1]
        colors = curve_colors(self.app.current_theme)
        return [Style.from_color(Color.parse(color).rich_color, ground.rich_color) for color in colors]

    def _x_labels(self, drawn: Drawn, width: int) -> list[Segment]:
        label = self.get_component_rich_style("plot--label")
        cells = [" "] * width
        name = clip(safe_text(self.x_name), max(4, drawn.left - 1))
        used = 0
        if len(name) <= drawn.left - 1:
            cells[: len(name)] = name
            used = len(name) + 1
        for place, text in _placed(drawn.x_axis):
            column = drawn.left + round(place * (drawn.canvas.width - 1))
            start = min(max(column - len(text) // 2, 0), width - len(text))
            if start >= used:
                cells[start : start + len(text)] = text
                used = start + len(text) + 2
        return [Segment("".join(cells), label)]


def draw(lines: Sequence[Line], width: int, height: int, *, log_y: bool, smooth: int) -> Drawn:
    """Lay the curves out in so many cells. Each is thinned to what can be seen, its highest and lowest points kept."""
    height = max(height, 1)
    smoothed = [Line(_smoothed(line.curve, smooth), line.color) for line in lines]
    y_axis = make_axis([y for line in smoothed for y in line.curve.y], log=log_y, ticks=max(2, height // 4))
    left = max((len(text) for _, text in y_axis.ticks), default=0)
    left = max(left, 4) + 2
    wide = max(width - left - 1, 4)
    parts = [(line, pieces(line.curve, y_axis)) for line in smoothed]
    xs = [x for _, found in parts for piece in found for x, _ in piece]
    whole = bool(xs) and all(x == int(x) for x in xs[:100]) and max(xs) - min(xs) >= 2
    x_axis = make_axis(xs, log=False, ticks=max(2, wide // 12), margin=0.0, whole=whole)
    canvas = Canvas(wide, height)
    for line, found in parts:
        for piece in found:
            x, y = thin([p[0] for p in piece], [p[1] for p in piece], max(400, 2 * wide))
            canvas.line([(x_axis.place(a), y_axis.place(b)) for a, b in zip(x, y, strict=True)], line.color)
    return Drawn(canvas, x_axis, y_axis, left, tuple(line for line, found in parts if found))


def _smoothed(curve: Curve, hundredths: int) -> Curve:
    return running_mean(curve, len(curve.y) * hundredths // 100) if hundredths else curve


def _placed(axis: Axis) -> list[tuple[float, str]]:
    return [(axis.place(value), text) for value, text in axis.ticks]


def _line_of(place: float, height: int) -> int:
    """The line of cells that a place in [0, 1] falls in."""
    return min(height - 1, max(0, (4 * height - 1 - round(place * (4 * height - 1))) >> 2))


def value_at(curve: Curve, at: float) -> float | None:
    """The value of a curve at the point next to a place."""
    import bisect

    if not curve.x:
        return None
    i = bisect.bisect_left(curve.x, at)
    near = [j for j in (i - 1, i) if 0 <= j < len(curve.x)]
    return curve.y[min(near, key=lambda j: abs(curve.x[j] - at))]
