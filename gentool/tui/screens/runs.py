"""Every run of the folder: filtered as one types, sorted, tagged, pinned, and followed while it is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from gentool.runs.marks import Marks, parse_tags, write_marks
from gentool.runs.reader import RunView
from gentool.runs.select import Query, arranged, parse_query
from gentool.show import units
from gentool.show.text import safe_text
from gentool.tui.page import Page, binding, short_path
from gentool.tui.screens.ask import AskScreen
from gentool.tui.screens.preview import Preview
from gentool.tui.widgets.grid import Cell, Column, Grid, Piece
from gentool.tui.widgets.spark import spark
from gentool.tui.wording import STATUS_LOOK, short

COLUMNS = (
    Column("marks", "", 2, sorts=False),
    Column("id", "RUN", 19, grow=4, most=44),
    Column("status", "STATUS", 13),
    Column("model", "MODEL", 7, grow=1, most=16, priority=6),
    Column("data", "DATA", 8, grow=1, most=18, priority=8),
    Column("step", "STEP", 11, right=True),
    Column("curve", "LOSS", 8, grow=2, most=24, priority=2, sorts=False),
    Column("loss", "LAST", 7, right=True, priority=5),
    Column("best", "BEST", 7, right=True, priority=3),
    Column("age", "AGE", 6, right=True, priority=1),
    Column("tags", "TAGS", 10, grow=1, most=30, priority=9, sorts=False),
)
# How a column is sorted at the first click: what one wants to see first is on top.
DATED = 28  # cells of a name's column from which on the date in it is shown
FALLS = {"age": False, "step": True}
SPACIOUS = 240  # columns from which on every heading is shown
ROOMY = 150  # columns of a terminal from which on the run under the cursor is shown beside the table
ORDERS = ("age", "id", "status", "model", "step", "loss", "best")


class RunsGrid(Grid[RunView]):
    """Runs."""

    BINDINGS: ClassVar[list[BindingType]] = [binding("enter,l", "choose", "Open", show=True)]


class RunsPage(Page):
    """The table of runs."""

    TAB = "runs"
    AUTO_FOCUS = "#runs"
    CSS = """
    RunsPage #filter-line { height: 1; background: $background; }
    RunsPage #slash { width: 3; color: $soft; padding: 0 0 0 1; }
    RunsPage #filter { width: 1fr; padding: 0; background: $background; }
    RunsPage #said { width: auto; min-width: 8; padding: 0 1; color: $soft; }
    RunsPage #runs { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("slash", "filter", "Filter", show=True, key_display="/"),
        binding("space", "mark", "Select", show=True, key_display="space"),
        binding("s", "sort", "Sort", show=True),
        binding("S", "reverse", "Sort the other way"),
        binding("c", "compare", "Compare", show=True),
        binding("t", "tag", "Tag", show=True),
        binding("p", "pin", "Pin", show=True),
        binding("m", "open('metrics')", "Open its metrics"),
        binding("y", "copy", "Copy its path", show=True),
        binding("x", "stop", "Stop it (twice): it saves first"),
        binding("R", "resume", "Resume it"),
        binding("ctrl+a", "mark_all", "Select all that are shown"),
        binding("escape", "clear", "Clear the filter, then the selection"),
        binding("r", "refresh", "Look at the folder now"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.marked: dict[str, None] = {}  # names, in the order in which they were chosen
        self.sort = "age"
        self.falls = False
        self.query_text = ""
        self._query = Query()
        self._asked = 0  # the number of the newest question to the thread

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="filter-line"):
            yield Static("/", id="slash", markup=False)
            yield Input(placeholder="filter: model:gan status:running loss<0.3", id="filter", compact=True)
            yield Static("", id="said", markup=False)
        with Horizontal(id="table"):
            yield RunsGrid(COLUMNS, self._cell, lambda run: run.name, id="runs")
            yield Preview()
        yield Static("", classes="empty", id="none", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.rearrange()
        self.set_interval(5.0, self._older)

    @property
    def grid(self) -> Grid[RunView]:
        return self.query_one("#runs", Grid)

    # -- what is shown ----------------------------------------------------------------------------------------------

    def runs_changed(self, names: Collection[str], *, more: bool) -> None:
        super().runs_changed(names, more=more)
        if more or self._query.terms or self.sort != "age":
            self.rearrange()
        else:
            self._exchange(names)

    def _exchange(self, names: Collection[str]) -> None:
        """Put the new views of runs in place of the old: nothing moved."""
        grid, store = self.grid, self.tool.store
        for name in names:
            view = store.view(name)
            i = grid.index_of(name)
            if view is not None and i is not None:
                grid.rows[i] = view
        grid.redraw(names)
        if grid.row is not None and grid.row.name in names:
            self.query_one(Preview).show(grid.row)

    def rearrange(self) -> None:
        """Filter and sort anew: here where run.json tells, in a thread where every log has to be read."""
        query, sort = self._query, self.sort
        self._asked += 1
        if query.cheap and sort not in ("loss", "best"):
            self._show(arranged(self.tool.store.views(), query, sort, self.falls), self._asked)
        else:
            self._arrange_apart(query, sort, self.falls, self._asked)

    @work(thread=True, exclusive=True, group="arrange")
    def _arrange_apart(self, query: Query, sort: str, falls: bool, asked: int) -> None:
        store = self.tool.store
        if not query.cheap or sort == "loss":
            store.glance_all(list(store.entries))
        runs = arranged(store.views(), query, sort, falls)
        self.app.call_from_thread(self._show, runs, asked)

    def _show(self, runs: list[RunView], asked: int) -> None:
        if asked != self._asked or not self.is_mounted:
            return
        grid, store = self.grid, self.tool.store
        self.marked = {name: None for name in self.marked if name in store.entries}
        self._choose_columns(runs)
        grid.sorted_by = ("-" if self.falls else "") + self.sort
        grid.set_rows(runs)
        self.query_one("#table").display = bool(runs)
        none = self.query_one("#none", Static)
        none.display = not runs
        if not runs:
            none.update(self._nothing())
        self._say()

    def _choose_columns(self, runs: Sequence[RunView]) -> None:
        """Where no run has a tag and names would be cut, the room for tags is theirs."""
        tags = self.size.width >= SPACIOUS or any(run.marks.tags for run in runs)
        columns = tuple(column for column in COLUMNS if tags or column.key != "tags")
        if columns != self.grid.columns:
            self.grid.set_columns(columns)

    def _nothing(self) -> Content:
        store = self.tool.store
        folder = safe_text(short_path(store.root))
        if store.problem:
            return Content.assemble((f"The folder {folder} cannot be read: {safe_text(store.problem)}.", "$bad"))
        if not store.whole:
            return Content(f"Reading {folder} …")
        if store.count:
            return Content.assemble(
                ("No run passes this filter.", "$foreground"), "\n\n", ("esc", "$primary"), " clears it"
            )
        return Content.assemble(
            (f"No run in {folder} yet.", "$foreground"), "\n\nStart one:  ", ("gentool train vae", "$primary"),
            "\nIt appears here by itself.",
        )  # fmt: skip

    def _say(self) -> None:
        store = self.tool.store
        parts = []
        if self._query.problem:
            parts.append(self._query.problem[:60])
        if self.marked:
            parts.append(f"{len(self.marked)} selected")
        if self._query.terms:
            parts.append(f"{len(self.grid.rows):,} of {store.count:,}")
        self.query_one("#said", Static).update(safe_text("  ".join(parts)))
        self.draw_top()

    def _older(self) -> None:
        """The ages go on."""
        self.grid.refresh()

    # -- a cell -----------------------------------------------------------------------------------------------------

    def _cell(self, run: RunView, key: str, width: int) -> Cell:
        return _CELLS[key](self, run, width)

    def _marks(self, run: RunView, width: int) -> Cell:
        chosen = "▸" if run.name in self.marked else " "
        return [(chosen, "mark"), ("★" if run.marks.pinned else " ", "mark")]

    def _glanced(self, run: RunView, width: int) -> Cell:
        glance = self.tool.store.glance(run.name)
        return (spark(glance.values, width), "live" if run.live else "soft") if glance else ""

    def _last(self, run: RunView, width: int) -> Cell:
        glance = self.tool.store.glance(run.name)
        return units.number(glance.last.get(glance.name)) if glance and glance.name else ("-", "soft")

    # -- what keys do -----------------------------------------------------------------------------------------------

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        if event.value != self.query_text:
            self.query_text = event.value
            self._query = parse_query(event.value)
            self.rearrange()

    @on(Input.Submitted, "#filter")
    def _typed_enough(self) -> None:
        self.grid.focus()

    @on(Grid.Moved, "#runs")
    def _moved(self, event: Grid.Moved) -> None:
        self.query_one(Preview).show(event.row)

    def on_resize(self) -> None:
        super().on_resize()
        self._choose_columns(self.grid.rows)
        preview = self.query_one(Preview)
        if preview.display != (self.size.width >= ROOMY):
            preview.display = not preview.display
            preview.show(self.grid.row)

    @on(Grid.Heading)
    def _heading(self, event: Grid.Heading) -> None:
        key = event.column.key
        self._sort_by(key, not self.falls if key == self.sort else FALLS.get(key, False))

    @on(Grid.Chosen)
    def _chosen(self) -> None:
        self.action_open("overview")

    def _sort_by(self, key: str, falls: bool) -> None:
        self.sort, self.falls = key, falls
        self.rearrange()

    def filter_by(self, text: str) -> None:
        """Filter by a line of terms, as if it were typed."""
        self.query_one("#filter", Input).value = text
        self.grid.focus()

    def action_filter(self) -> None:
        self.query_one("#filter", Input).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "filter" or not isinstance(self.app.focused, Input)  # there a / is typed

    def action_sort(self) -> None:
        at = ORDERS.index(self.sort) if self.sort in ORDERS else -1
        key = ORDERS[(at + 1) % len(ORDERS)]
        self._sort_by(key, FALLS.get(key, False))

    def action_reverse(self) -> None:
        self._sort_by(self.sort, not self.falls)

    def action_clear(self) -> None:
        field = self.query_one("#filter", Input)
        if field.value:
            field.value = ""
        elif self.marked:
            self.marked.clear()
            self.grid.refresh()
            self._say()
        self.grid.focus()

    def action_mark(self) -> None:
        run = self.grid.row
        if run is not None:
            if run.name in self.marked:
                del self.marked[run.name]
            else:
                self.marked[run.name] = None
            self.grid.redraw([run.name])
            self.grid.action_move(1)
            self._say()

    def action_mark_all(self) -> None:
        names = [run.name for run in self.grid.rows]
        if all(name in self.marked for name in names):
            self.marked.clear()
        else:
            self.marked |= dict.fromkeys(names)
        self.grid.refresh()
        self._say()

    def chosen(self) -> list[RunView]:
        """The selected runs, or the one under the cursor."""
        found = [view for name in self.marked if (view := self.tool.store.view(name)) is not None]
        return found or ([self.grid.row] if self.grid.row is not None else [])

    def action_open(self, pane: str) -> None:
        if self.grid.row is not None:
            self.tool.open_run(self.grid.row, pane)

    def action_compare(self) -> None:
        runs = self.chosen()
        if not 2 <= len(runs) <= 4:
            self.tool.say("Select two to four runs with space, then compare them.", bad=len(runs) > 4)
            return
        self.tool.open_compare(runs)

    def action_pin(self) -> None:
        runs = self.chosen()
        pinned = not all(run.marks.pinned for run in runs)
        self._mark_all(runs, lambda run: Marks(run.marks.tags, pinned))

    def action_tag(self) -> None:
        runs = self.chosen()
        if not runs:
            return
        common = [tag for tag in runs[0].marks.tags if all(tag in run.marks.tags for run in runs)]
        which = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"

        def answered(text: str | None) -> None:
            if text is None:
                return
            tags = self.tool.attempt(lambda: parse_tags(text))
            if tags is not None:
                kept = {run.name: [tag for tag in run.marks.tags if tag not in common] for run in runs}
                self._mark_all(runs, lambda run: Marks((*dict.fromkeys([*kept[run.name], *tags]),), run.marks.pinned))

        self.app.push_screen(
            AskScreen(f"Tags of {which}", " ".join(common), "apart by spaces; none removes them"), answered
        )

    def _mark_all(self, runs: Sequence[RunView], made: Callable[[RunView], Marks]) -> None:
        for run in runs:
            marks = made(run)
            if self.tool.attempt(partial(write_marks, run.path, marks)) is not None:
                run.__dict__["marks"] = marks
        self.rearrange()

    def action_stop(self) -> None:
        for run in self.chosen()[:1]:
            self.tool.stop_run(run)

    def action_resume(self) -> None:
        for run in self.chosen():
            self.tool.resume_run(run)

    def action_copy(self) -> None:
        runs = self.chosen()
        if runs:
            what = "its path" if len(runs) == 1 else f"{len(runs)} paths"
            self.tool.copy("\n".join(str(run.path) for run in runs), what)

    def action_refresh(self) -> None:
        self.tool.store.refresh()


# -- cells -------------------------------------------------------------------------------------------------------------


def _id(page: RunsPage, run: RunView, width: int) -> Cell:
    """The name; the date in it gives way to what tells runs apart."""
    date, name = run.name[:11], run.name[11:]
    if len(date) == 11 and date[10] == "_" and date[:4].isdigit() and name:
        if width < DATED:
            return name
        return [(date, "soft"), (name, "text")]
    return run.name


def _status(page: RunsPage, run: RunView, width: int) -> Cell:
    mark, style = STATUS_LOOK[run.status]
    return [(f"{mark} ", style), (run.status, style)]


def _step(page: RunsPage, run: RunView, width: int) -> Cell:
    if run.step is None:
        return "-", "soft"
    if not run.total:
        return short(run.step)
    done: Piece = (short(run.step), "text")
    return [done, (f"/{short(run.total)}", "soft")]


_CELLS: dict[str, Callable[[RunsPage, RunView, int], Cell]] = {
    "marks": RunsPage._marks,
    "id": _id,
    "status": _status,
    "model": lambda page, run, width: run.model or ("-", "soft"),
    "data": lambda page, run, width: run.data or ("-", "soft"),
    "step": _step,
    "curve": RunsPage._glanced,
    "loss": RunsPage._last,
    "best": lambda page, run, width: units.number(run.best["value"]) if run.best else ("-", "soft"),
    "age": lambda page, run, width: (units.age(None if run.started is None else time.time() - run.started), "soft"),
    "tags": lambda page, run, width: (" ".join(run.marks.tags), "live"),
}
