"""What a run said: the end of log.txt, followed while it grows."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from gentool.runs.metrics import open_regular
from gentool.show.text import safe_text
from gentool.tui.page import Pane
from gentool.tui.store import Stamp, stamp_of
from gentool.tui.widgets.scroll import Scroll

TAIL = 64_000  # bytes


class LogPane(Pane):
    """The end of the log."""

    DEFAULT_CSS = """
    LogPane Scroll { padding: 1 2; }
    LogPane Static { width: 1fr; height: auto; }
    """

    def compose(self) -> ComposeResult:
        with Scroll():
            yield Static("", id="log", markup=False)

    def on_mount(self) -> None:
        self._seen: Stamp = (0, 0, 0)
        super().on_mount()

    def show_run(self) -> None:
        self.tick()

    def tick(self) -> None:
        stamp = stamp_of(self.run_view.path / "log.txt")
        if stamp == self._seen:
            return
        self._seen = stamp
        scroll = self.query_one(Scroll)
        at_end = scroll.scroll_y >= scroll.max_scroll_y - 1
        self.query_one("#log", Static).update(_content(tail_lines(self.run_view.path / "log.txt")))
        if at_end:
            self.call_after_refresh(scroll.scroll_end, animate=False)


def tail_lines(path: Path, most: int = TAIL) -> list[str]:
    """The last lines of a text file of any length, made safe."""
    file = open_regular(path)
    if file is None:
        return []
    with file:
        try:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            data = file.read(most)
        except OSError:
            return []
    lines = data.decode("utf-8", "replace").split("\n")
    if size > most:
        lines = lines[1:]
    return [safe_text(line)[:2000] for line in lines if line.strip()]


def _content(lines: list[str]) -> Content:
    if not lines:
        return Content.styled("Nothing was said yet: log.txt is empty or missing.", "$soft")
    return Content("\n").join(
        Content.assemble((line[:19], "$soft"), line[19:]) if line[:4].isdigit() else Content(line) for line in lines
    )
