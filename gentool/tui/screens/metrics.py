"""The curves of a run, followed while it trains: which ones, smoothed or not, by step or by time, beside pinned runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from gentool.evaluating import Curve
from gentool.runs.index import LogIndex
from gentool.runs.reader import RunView
from gentool.show import units
from gentool.show.text import safe_text
from gentool.tui.curves import CURVE_KEYS, Curves
from gentool.tui.follow import Followed, clip_metric
from gentool.tui.page import Pane, binding
from gentool.tui.store import Stamp, stamp_of
from gentool.tui.widgets.grid import Cell, Column, Grid
from gentool.tui.widgets.plot import Line, Plot

MOST_PINNED = 5
REDRAW = 0.25  # seconds between two drawings at the least


@dataclass(frozen=True)
class Series:
    """One curve to choose: of the run itself ("") or of a pinned one."""

    run: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.run}\0{self.name}"


class SeriesGrid(Grid[Series]):
    """The list of series."""

    BINDINGS: ClassVar[list[BindingType]] = [binding("enter,l", "choose", "Show or hide")]


class MetricsPane(Curves, Pane):
    """A list of series, and the plot of those that are chosen."""

    DEFAULT_CSS = """
    MetricsPane #series { width: 34; padding: 0 0 0 1; }
    MetricsPane.narrow #series { width: 27; }
    MetricsPane Plot { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("space", "switch", "Show or hide", show=True, key_display="space"),
        binding("o", "only", "Only this", show=True),
        *CURVE_KEYS,
        binding("P", "overlay", "Pinned runs", show=True),
        binding("n", "look_nowhere", "Newest values"),
        binding("Y", "copy_values", "Copy the curve under the cursor as CSV"),
    ]

    def __init__(self, run: RunView) -> None:
        super().__init__(run)
        self.followed = Followed(LogIndex(run.path))
        self.pinned: dict[str, Followed] = {}
        self.shown: dict[str, int] | None = None  # keys of the chosen series with their colours
        self.overlay = True
        self._colors: dict[str, int] = {}
        self._busy = False
        self._stamps: list[tuple[str, Stamp]] = []
        self._drawn = 0.0

    def compose(self) -> ComposeResult:
        columns = [Column("mark", "", 2, sorts=False), Column("name", "SERIES", 10, grow=1, sorts=False),
                   Column("value", "LAST", 9, right=True, sorts=False)]  # fmt: skip
        with Horizontal():
            yield SeriesGrid(columns, self._cell, lambda series: series.key, id="series")
            yield Plot(id="plot")

    @property
    def grid(self) -> Grid[Series]:
        return self.query_one("#series", Grid)

    def on_resize(self) -> None:
        self.set_class(self.size.width < 100, "narrow")

    # -- reading ------------------------------------------------------------------------------------------------------

    def show_run(self) -> None:
        self.tick()

    def tick(self) -> None:
        if self._busy or time.monotonic() - self._drawn < REDRAW:
            return
        pinned = self._pinned_views()
        stamps = [(view.name, stamp_of(view.path / "metrics.jsonl")) for view in (self.run_view, *pinned)]
        if stamps != self._stamps:  # nothing is read, and nobody woken, where nothing was written
            self._stamps = stamps
            self._busy = True
            self._read(pinned)

    def _pinned_views(self) -> list[RunView]:
        """The newest pinned runs, this one left out; none where they are not overlaid."""
        if not self.overlay:
            return []
        views = [view for view in self.tool.store.views() if view.marks.pinned and view.name != self.run_view.name]
        return sorted(views, key=lambda view: view.started or 0.0, reverse=True)[:MOST_PINNED]

    @work(thread=True, group="read", exit_on_error=False)
    def _read(self, views: list[RunView]) -> None:
        try:
            changed = self.followed.update()
            pinned = {view.name: self.pinned.get(view.name) or Followed(LogIndex(view.path)) for view in views}
            for one in pinned.values():
                changed |= one.update()
            changed |= list(pinned) != list(self.pinned)
            self.app.call_from_thread(self._took, pinned, changed)
        finally:
            self._busy = False

    def _took(self, pinned: dict[str, Followed], changed: bool) -> None:
        if self.is_mounted and (changed or self.shown is None):
            self.pinned = pinned
            self._list()

    def _list(self) -> None:
        names = self.followed.metrics.names()
        series = [Series("", name) for name in names]
        if self.shown is None:
            chosen = [name for name in names if name.endswith("/loss")][:4] or names[:1]
            self.shown = {Series("", name).key: i for i, name in enumerate(chosen)}
        own = [one for one in series if one.key in self.shown]
        for run, followed in self.pinned.items():
            there = set(followed.metrics.names())
            series += [Series(run, one.name) for one in own if one.name in there]
        if not names:
            self.shown = None
        before = [one.key for one in self.grid.rows]
        if before != [one.key for one in series]:
            self.grid.set_rows(series)
        else:
            self.grid.refresh()
        self.draw()

    # -- drawing ------------------------------------------------------------------------------------------------------

    def chosen(self) -> list[tuple[Series, Curve, int]]:
        """What is drawn: the chosen series of the run, and of pinned runs those of the same name."""
        shown = self.shown or {}
        found = []
        for series in self.grid.rows:
            if series.run:
                followed = self.pinned.get(series.run)
                if followed is not None and Series("", series.name).key in shown:
                    found.append((series, followed.curve(series.name, self.x), -1))
            elif series.key in shown:
                found.append((series, self.followed.curve(series.name, self.x), shown[series.key]))
        taken = {color for _, _, color in found if color >= 0}
        free = iter(color for color in range(100) if color not in taken)
        return [(series, curve, color if color >= 0 else next(free)) for series, curve, color in found]

    def draw(self) -> None:
        """Draw the plot."""
        chosen = self.chosen()
        self._colors = {series.key: color for series, _, color in chosen}
        curves = [curve for _, curve, _ in chosen]
        names = ", ".join(dict.fromkeys(series.name for series, _, _ in chosen if not series.run))
        held, more = self.followed.metrics, []
        if held.lines > 2 * len(held.rows):
            more.append(f"{len(held.rows):,} of {held.lines:,} lines")
        if held.garbage:
            more.append(f"{held.garbage} unreadable")
        lines = [Line(curve, color) for _, curve, color in reversed(chosen)]
        self.plot.nothing = (
            "Choose a series with space." if held.rows else "No metrics yet: metrics.jsonl is empty or missing."
        )
        self.show_curves(curves, lines, names, more)
        self.grid.refresh()
        self._drawn = time.monotonic()

    def _cell(self, series: Series, key: str, width: int) -> Cell:
        color = self._colors.get(series.key)
        if key == "mark":
            return ("━━", f"curve{color % 8}") if color is not None else ("  ", "")
        if key == "name":
            if series.run:
                return [("★ ", "mark"), (series.run[11:] or series.run, "text"), (f" {series.name}", "soft")]
            return clip_metric(series.name, width), "text" if color is not None else "soft"
        return units.number(self._value(series)), "text" if color is not None else "soft"

    def _value(self, series: Series) -> float | None:
        followed = self.pinned.get(series.run) if series.run else self.followed
        if followed is None:
            return None
        return self.read_off(followed.curve(series.name, self.x))

    @on(Plot.Pointed)
    def _pointed(self, event: Plot.Pointed) -> None:
        at = event.at
        title = "LAST" if at is None else f"AT {at:,.0f}" if self.x == "step" else f"AT {at:.1f}"
        columns = self.grid.columns
        self.grid.set_columns([*columns[:2], Column("value", title, 9, right=True, sorts=False)])

    # -- what keys do -------------------------------------------------------------------------------------------------

    @on(Grid.Chosen)
    def _enter(self, event: Any) -> None:
        event.stop()
        self.action_switch()

    def action_switch(self) -> None:
        series = self.grid.row
        if series is None or self.shown is None:
            return
        key = Series("", series.name).key
        if key in self.shown:
            del self.shown[key]
        else:
            self.shown[key] = next(color for color in range(100) if color not in self.shown.values())
        self._list()

    def action_only(self) -> None:
        series = self.grid.row
        if series is not None:
            self.shown = {Series("", series.name).key: 0}
            self._list()

    def action_overlay(self) -> None:
        self.overlay = not self.overlay
        if self.overlay and not self._pinned_views():
            self.tool.say("No other run is pinned: p pins one, here or in the table of runs.")
        self.pinned = {} if not self.overlay else self.pinned
        self._list()
        self.tick()

    def action_look_nowhere(self) -> None:
        self.plot.point(None)

    def action_copy_values(self) -> None:
        series = self.grid.row
        if series is not None:
            followed = self.pinned.get(series.run) if series.run else self.followed
            if followed is not None:
                curve = followed.curve(series.name, "step")
                rows = "".join(f"{x:g},{y:.8g}\n" for x, y in zip(curve.x, curve.y, strict=True))
                self.tool.copy(f"step,{series.name}\n{rows}", f"{len(curve.x):,} points of {safe_text(series.name)}")
