"""One question with one line for the answer."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from gentool.show.text import safe_text
from gentool.tui.page import binding


class AskScreen(ModalScreen[str | None]):
    """Gives what was typed, or None where the question was left."""

    CSS = """
    AskScreen { align: center middle; background: $background 60%; }
    AskScreen > Vertical { width: 60; max-width: 94%; height: auto; background: $surface; padding: 1 2; }
    AskScreen:ansi > Vertical { border: solid ansi_default; }
    AskScreen Input { background: $panel; margin: 1 0 1 0; }
    AskScreen .hint { color: $soft; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [binding("escape", "dismiss(None)", "Leave it")]

    def __init__(self, question: str, given: str = "", hint: str = "") -> None:
        super().__init__()
        self.question, self.given, self.hint = safe_text(question), given, safe_text(hint)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self.question, markup=False)
            yield Input(self.given, id="answer", compact=True, select_on_focus=False)
            yield Static(
                f"enter keeps, esc leaves{'; ' + self.hint if self.hint else ''}", classes="hint", markup=False
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
