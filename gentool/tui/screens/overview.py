"""What a run is: its facts, the commands that repeat it or go on with it, and its config with where each value came from."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from gentool.runs.describe import facts, next_commands
from gentool.show.text import safe_text
from gentool.tui.page import Pane
from gentool.tui.widgets.facts import facts_content, heading


class OverviewPane(Pane):
    """Facts, commands, config."""

    DEFAULT_CSS = """
    OverviewPane VerticalScroll { padding: 1 2; scrollbar-size-vertical: 1; }
    OverviewPane Static { width: 1fr; height: auto; }
    """

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("", id="facts", markup=False)

    def show_run(self) -> None:
        run = self.run_view
        parts = [facts_content(facts(run)), Content(""), heading("Commands")]
        parts += [Content(f"  {safe_text(line)}") for line in next_commands(run)]
        self.query_one("#facts", Static).update(Content("\n").join(parts))
