"""Two to four runs beside each other: where their configs differ, their curves, what they drew at the same step."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from gentool.runs.describe import differing_keys, run_costs, shown_value
from gentool.runs.index import LogIndex
from gentool.runs.metrics import key_metric, key_rank
from gentool.runs.reader import RunView
from gentool.show import units
from gentool.show.text import cell_width, clip
from gentool.tui.curves import CURVE_KEYS, Curves
from gentool.tui.follow import Followed, clip_metric
from gentool.tui.page import Page, binding, numbered
from gentool.tui.theme import curve_colors
from gentool.tui.widgets.bar import Part
from gentool.tui.widgets.grid import Cell, Column, Grid
from gentool.tui.widgets.plot import Line, Plot
from gentool.tui.wording import STATUS_LOOK, short_name

VIEWS = (("differences", "Differences"), ("curves", "Curves"), ("samples", "Samples"))
LETTERS = "ABCD"
LEGEND = 33  # cells of a line of the legend


@dataclass(frozen=True)
class Row:
    """One line of the differences: a heading without values, or a value a run."""

    kind: str
    name: str
    values: tuple[str, ...] = ()


class ComparePage(Curves, Page):
    """Differences, curves, samples of a few runs."""

    CSS = """
    ComparePage #view { width: 1fr; height: 1fr; }
    ComparePage #differences { padding: 0 1; }
    ComparePage #left { width: 34; padding: 0 0 0 1; }
    ComparePage #legend { height: auto; padding: 1 0 0 0; }
    ComparePage Plot { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(binding(str(number), f"view('{name}')", title) for number, (name, title) in enumerate(VIEWS, 1)),
        binding("tab,right_square_bracket", "next(1)", "Next tab", key_display="tab", show=True),
        binding("shift+tab,left_square_bracket", "next(-1)", "Tab before"),
        *CURVE_KEYS,
        binding("escape,h,backspace,q", "app.leave", "Back", show=True, key_display="esc"),
    ]

    def __init__(self, runs: list[RunView]) -> None:
        super().__init__()
        self.runs = list(runs)
        self.current = "differences"
        self.followed = [Followed(LogIndex(run.path)) for run in runs]
        self.metric = ""
        self._busy = False

    def body(self) -> Iterable[Widget]:
        columns = [Column("name", "", 14, grow=2, most=30, sorts=False)]
        columns += [
            Column(str(i), f"{LETTERS[i]}  {short_name(run)}", 9, grow=2, most=34, sorts=False)
            for i, run in enumerate(self.runs)
        ]
        names = [Column("name", "METRIC", 10, grow=1, sorts=False)]
        with Container(id="view"):
            yield Grid[Row](columns, self._cell, lambda row: f"{row.kind}\0{row.name}", id="differences")
            with Horizontal(id="curves"):
                with Vertical(id="left"):
                    yield Grid[str](names, self._metric_cell, lambda name: name, id="metrics")
                    yield Static("", id="legend", markup=False)
                yield Plot(id="plot")
            yield Container(id="samples")

    def on_mount(self) -> None:
        super().on_mount()
        self.action_view(self.current)
        self._read()
        self.set_interval(0.5, self._tick)

    def where(self) -> list[Part]:
        parts = [Part("‹ ", "key", "app.leave"), Part(f"{len(self.runs)} runs", "strong", "app.leave"), Part("   ")]
        return parts + numbered(VIEWS, self.current, "screen.view")

    # -- reading ------------------------------------------------------------------------------------------------------

    def runs_changed(self, names: Collection[str], *, more: bool) -> None:
        super().runs_changed(names, more=more)
        store = self.tool.store
        self.runs = [store.view(run.name) or run if run.name in names else run for run in self.runs]
        if any(run.name in names for run in self.runs):
            self._read()

    def _tick(self) -> None:
        if any(run.live for run in self.runs) and self.app.screen is self and not self._busy:
            self._read()

    @work(thread=True, group="read", exit_on_error=False)
    def _read(self) -> None:
        self._busy = True
        try:
            changed = [one.update() for one in self.followed]
            rows = difference_rows(self.runs, self.followed)
            self.app.call_from_thread(self._took, rows, any(changed))
        finally:
            self._busy = False

    def _took(self, rows: list[Row], changed: bool) -> None:
        if not self.is_mounted:
            return
        grid = self.query_one("#differences", Grid)
        if grid.rows != rows:
            grid.set_rows(rows)
        there = [set(one.metrics.names()) for one in self.followed]
        names = sorted(set.union(*there), key=lambda name: (-sum(name in one for one in there), key_rank(name)))
        listed = self.query_one("#metrics", Grid)
        if listed.rows != names:
            listed.set_rows(names)
        if not self.metric and names:
            self.metric = key_metric(set.intersection(*there)) or names[0]
            listed.go_to(self.metric)
        if changed or not self.plot.lines:
            self.draw()

    # -- differences --------------------------------------------------------------------------------------------------

    def _cell(self, row: Row, key: str, width: int) -> Cell:
        if key == "name":
            return row.name, "strong" if not row.values else "soft"
        i = int(key)
        if not row.values:
            return ""
        if row.name == "status":
            mark, style = STATUS_LOOK[self.runs[i].status]
            return [(f"{mark} ", style), (row.values[i], style)]
        return row.values[i], "soft" if row.values[i] == "-" else "text"

    # -- curves -------------------------------------------------------------------------------------------------------

    def _metric_cell(self, name: str, key: str, width: int) -> Cell:
        return clip_metric(name, width), "text" if name == self.metric else "soft"

    @on(Grid.Moved, "#metrics")
    def _moved(self, event: Grid.Moved) -> None:
        if event.row and self.current == "curves" and event.row != self.metric:
            self.metric = event.row
            self.draw()
            event.grid.refresh()

    def draw(self) -> None:
        """Draw the metric of every run that has it, and the legend."""
        curves = [one.curve(self.metric, self.x) for one in self.followed]
        lines = [Line(curve, i) for i, curve in enumerate(curves) if curve.x]
        self.plot.nothing = "No metrics yet in these runs." if not self.metric else "No run has a value of it."
        self.show_curves(curves, lines, self.metric)
        self._legend()

    @on(Plot.Pointed)
    def _legend(self) -> None:
        colors = curve_colors(self.app.current_theme)
        lines, at = [], self.plot.at
        if at is not None:
            lines.append(Content.styled(f"at {at:,.0f}" if self.x == "step" else f"at {at:.1f} min", "$soft"))
        for i, (run, one) in enumerate(zip(self.runs, self.followed, strict=True)):
            curve = one.curve(self.metric, self.x)
            figure = units.number(self.read_off(curve))
            name = clip(short_name(run), LEGEND - 6 - len(figure))
            space = " " * (LEGEND - 5 - cell_width(name) - len(figure))
            lines.append(Content.assemble((f"━━ {LETTERS[i]} ", colors[i]), name, space, figure))
        self.query_one("#legend", Static).update(Content("\n").join(lines))

    # -- what keys do -------------------------------------------------------------------------------------------------

    def action_view(self, name: str) -> None:
        self.current = name
        for one, _ in VIEWS:
            self.query_one(f"#{one}").display = one == name
        if name == "samples":
            self._open_samples()
        focus = {"differences": "#differences", "curves": "#metrics"}.get(name)
        if focus:
            self.query_one(focus).focus()
        self.draw_top()
        self.refresh_bindings()

    def _open_samples(self) -> None:
        home = self.query_one("#samples", Container)
        if not home.children:
            from gentool.tui.screens.compare_samples import SamplesBeside

            home.mount(SamplesBeside(self.runs))
        else:
            home.query_one("Slider").focus()

    def action_next(self, by: int) -> None:
        names = [name for name, _ in VIEWS]
        self.action_view(names[(names.index(self.current) + by) % len(names)])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.current == "curves" if action in ("smooth", "log", "x", "look") else True


def difference_rows(runs: list[RunView], followed: list[Followed]) -> list[Row]:
    """What the runs are and cost, the config where it differs, their last metrics."""

    def row(kind: str, name: str, values: Iterable[object]) -> Row:
        return Row(kind, name, tuple("-" if value in (None, "") else str(value) for value in values))

    now = time.time()
    rows = [Row("head", "Runs")]
    rows.append(row("run", "status", [run.status for run in runs]))
    rows.append(row("run", "model", [run.model for run in runs]))
    rows.append(row("run", "data", [run.data for run in runs]))
    rows.append(
        row(
            "run",
            "step",
            [f"{units.number(run.step)}/{units.number(run.total)}" if run.total else run.step for run in runs],
        )
    )
    rows.append(row("run", "time", [units.duration(run.seconds) for run in runs]))
    rows.append(row("run", "age", [units.age(None if run.started is None else now - run.started) for run in runs]))
    best = [f"{units.number(run.best['value'])} {run.best['name']}" if run.best else None for run in runs]
    rows += [row("run", "best", best)] if any(best) else []
    costs = [run_costs(run) for run in runs]
    rows += [
        row("cost", what, [cost.get(what) for cost in costs]) for what in dict.fromkeys(w for c in costs for w in c)
    ]
    keys = sorted(differing_keys(runs), key=lambda key: not all(key in run.config for run in runs))
    rows += [Row("head", " "), Row("head", "Config, where it differs" if keys else "Config: no difference")]
    rows += [
        row("config", key, [shown_value(run.config[key]) if key in run.config else None for run in runs])
        for key in keys
    ]
    rows += [
        row("config", f"({LETTERS[i]})", [run.config_problem if run is one else "" for one in runs])
        for i, run in enumerate(runs)
        if run.config_problem
    ]
    last = [one.metrics.last() for one in followed]
    names = sorted({name for one in last for name in one if name not in ("step", "t")}, key=key_rank)
    if names:
        rows += [Row("head", "  "), Row("head", "Last metrics")]
        rows += [
            row("metric", name, [units.number(one[name]) if name in one else None for one in last]) for name in names
        ]
    return rows
