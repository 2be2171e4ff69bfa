"""The run under the cursor, beside the table of runs where there is room: its facts and its losses."""

from __future__ import annotations

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Static

from gentool.runs.describe import facts, wants_log
from gentool.runs.index import LogIndex
from gentool.runs.reader import RunView
from gentool.tui.follow import Followed
from gentool.tui.widgets.facts import facts_content
from gentool.tui.widgets.plot import Line, Plot

SETTLED = 0.15  # seconds the cursor rests on a run before it is read
_LEFT_OUT = ("samples", "size", "git", "versions", "command", "folder", "device")  # the overview has them


class Preview(Vertical):
    """Facts and losses of one run, read in a thread when the cursor rests."""

    DEFAULT_CSS = """
    Preview { width: 38%; padding: 1 2 0 3; }
    Preview Static { width: 1fr; height: auto; max-height: 16; margin: 0 0 1 0; }
    Preview Plot { max-height: 26; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._run: RunView | None = None
        self._followed: Followed | None = None
        self._timer: Timer | None = None
        self.display = False

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)
        yield Plot()

    def show(self, run: RunView | None) -> None:
        """Show a run soon; the same again is only brought up to date."""
        if run is None or not self.display:
            return
        if self._run is None or self._run.path != run.path:
            self._followed = Followed(LogIndex(run.path))
        self._run = run
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(SETTLED, self._begin)

    def _begin(self) -> None:
        if self._run is not None and self._followed is not None:
            self._read(self._run, self._followed)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self, run: RunView, followed: Followed) -> None:
        said = [fact for fact in facts(run) if fact[0] not in _LEFT_OUT]
        followed.update()
        self.app.call_from_thread(self._took, run, followed, said)

    def _took(self, run: RunView, followed: Followed, said: list[tuple[str, object]]) -> None:
        if not self.is_mounted or run is not self._run:
            return
        self.query_one(Static).update(facts_content(said))
        names = [name for name in followed.metrics.names() if name.endswith("/loss")][:4]
        curves = [followed.curve(name, "step") for name in names]
        lines = [Line(curve, i) for i, curve in enumerate(curves)]
        plot = self.query_one(Plot)
        plot.nothing = "No losses yet."
        plot.show_lines(lines, legend=True, log_y=wants_log(curves))
