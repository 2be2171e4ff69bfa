"""Two to four runs beside each other."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from gentool.runs.reader import RunView
from gentool.tui.page import Page, binding


class ComparePage(Page):
    """Where their configs differ, their curves, their samples."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("escape,h,backspace,q", "app.leave", "Back", show=True, key_display="esc")
    ]

    def __init__(self, runs: list[RunView]) -> None:
        super().__init__()
        self.runs = runs
