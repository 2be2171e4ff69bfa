"""The curves of a run."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from gentool.tui.page import Pane


class MetricsPane(Pane):
    """Curves."""

    def compose(self) -> ComposeResult:
        yield Static("", id="plot", markup=False)
