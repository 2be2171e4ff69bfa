"""What a run is: its card, the commands that repeat it or go on with it, and its config with where each value came from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from gentool.runs.describe import facts, next_commands, shown_value, wants_log
from gentool.runs.index import LogIndex
from gentool.runs.metrics import Metrics
from gentool.runs.reader import RunView
from gentool.tui.follow import Followed
from gentool.tui.page import Pane, binding
from gentool.tui.widgets.grid import Cell, Column, Grid
from gentool.tui.widgets.plot import Line, Plot
from gentool.tui.wording import STATUS_LOOK

_PLAIN = ("default", "model default")  # a value that nobody chose


@dataclass(frozen=True)
class Item:
    """One line: a heading (without a value), a fact, a command or a value of the config."""

    kind: str
    name: str
    value: str = ""
    source: str = ""


class OverviewGrid(Grid[Item]):
    """Lines that can be copied."""

    BINDINGS: ClassVar[list[BindingType]] = [binding("enter,l", "choose", "Copy", show=True)]


class OverviewPane(Pane):
    """Card, commands, config; beside them the loss where there is room."""

    DEFAULT_CSS = """
    OverviewPane #items { padding: 0 1; }
    OverviewPane Plot { display: none; width: 45%; padding: 0 1 0 2; }
    OverviewPane.wide Plot { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("d", "defaults", "Defaults too", show=True),
    ]

    def __init__(self, run: RunView) -> None:
        super().__init__(run)
        self.every = False  # defaults too
        self._followed = Followed(LogIndex(run.path))

    def compose(self) -> ComposeResult:
        columns = (
            Column("name", "", 12, grow=1, most=26, sorts=False),
            Column("value", "", 20, grow=6, sorts=False),
            Column("source", "", 13, grow=1, most=24, priority=1, sorts=False),
        )
        with Horizontal():
            yield OverviewGrid(columns, self._cell, lambda item: f"{item.kind} {item.name}", id="items")
            yield Plot(id="loss")

    def on_resize(self) -> None:
        self.set_class(self.size.width >= 130, "wide")

    def show_run(self) -> None:
        self._read()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self) -> None:
        """Folders and files are looked at apart from the thread that draws."""
        run = self.run_view
        made = items(run, every=self.every)
        self._followed.update()
        self.app.call_from_thread(self._show, made)

    def _show(self, made: list[Item]) -> None:
        if not self.is_mounted:
            return
        grid = self.query_one("#items", Grid)
        if grid.rows != made:
            grid.set_rows(made)
        metrics: Metrics = self._followed.metrics
        names = [name for name in metrics.names() if name.endswith("/loss")][:4]
        curves = [self._followed.curve(name, "step") for name in names]
        plot = self.query_one(Plot)
        plot.nothing = "No losses yet."
        lines = [Line(curve, i) for i, curve in enumerate(curves)]
        plot.show_lines(lines, legend=True, log_y=wants_log(curves))

    def tick(self) -> None:
        if self.run_view.live:
            self._read()

    def _cell(self, item: Item, key: str, width: int) -> Cell:
        if item.kind == "head":
            return (item.name, "strong") if key == "name" else ""
        if key == "name":
            return item.name, "soft"
        if key == "source":
            return item.source, "soft" if item.source in _PLAIN else "mark"
        if item.name == "status":
            mark, style = STATUS_LOOK[self.run_view.status]
            return [(f"{mark} ", style), (item.value, style)]
        return item.value, "live" if item.kind == "command" else "soft" if item.source in _PLAIN else "text"

    @on(Grid.Chosen)
    def _chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        item: Item = event.row
        if item.kind == "config":
            self.tool.copy(f"--set {item.name}={shlex.quote(item.value)}", f"--set {item.name}=…")
        elif item.value:
            self.tool.copy(item.value, item.name)

    def action_defaults(self) -> None:
        self.every = not self.every
        self._read()


def items(run: RunView, *, every: bool) -> list[Item]:
    """The lines of a run. `every`: the values of the config that nobody chose too."""
    found = [Item("head", "Card")]
    found += [Item("fact", name, str(value)) for name, value in facts(run) if name != "command"]
    found += [Item("fact", "tags", " ".join(run.marks.tags))] if run.marks.tags else []
    found += [Item("head", " "), Item("head", "Commands")]
    known = dict(facts(run))
    if "command" in known:
        found.append(Item("command", "began with", str(known["command"])))
    if run.config and run.model:
        config = shlex.quote(str(run.path / "config.toml"))
        found.append(Item("command", "repeat", f"gentool train {shlex.quote(run.model)} --config {config}"))
    found += [Item("command", _verb(line), line) for line in next_commands(run)]
    config_rows = [(key, shown_value(value), run.changed.get(key, "default")) for key, value in run.config.items()]
    chosen = [row for row in config_rows if every or row[2] not in _PLAIN]
    left = len(config_rows) - len(chosen)
    found += [Item("head", "  "), Item("head", "Config")]
    found += [Item("config", *row) for row in chosen]
    if left and not every:
        found.append(Item("note", "", f"{left} more are defaults: d shows them"))
    return found


def _verb(line: str) -> str:
    words = line.split()
    return words[2] if words[1] == "runs" else words[1]
