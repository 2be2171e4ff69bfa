"""The help: every key that works on the screen under it, made from the bindings in force."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from gentool.show.text import cell_width
from gentool.tui.page import binding
from gentool.tui.widgets.grid import Grid


class HelpScreen(ModalScreen[None]):
    """Keys by where they come from: the focused widget first, the application last."""

    CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen > VerticalScroll {
        width: 64; max-width: 94%; height: auto; max-height: 90%; background: $surface; padding: 1 3;
        scrollbar-size-vertical: 1;
    }
    HelpScreen:ansi > VerticalScroll { border: solid ansi_default; }
    HelpScreen Static { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("escape,q,question_mark,enter,f1", "dismiss", "Close"),
        binding("j", "scroll(1)", "Down"),
        binding("k", "scroll(-1)", "Up"),
    ]

    def __init__(self, under: Screen[Any]) -> None:
        super().__init__()
        self.groups = list(key_groups(under))

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(self._content())

    def _content(self) -> Content:
        wide = max((cell_width(keys) for _, rows in self.groups for keys, _ in rows), default=0)
        lines: list[Content] = []
        for title, rows in self.groups:
            lines.append(Content.styled(title, "bold"))
            for keys, about in rows:
                lines.append(Content.assemble((keys.rjust(wide), "$primary"), "  ", about))
            lines.append(Content(""))
        lines.append(Content.styled("Mouse: click, double click to open, wheel; click a heading to sort.", "$soft"))
        return Content("\n").join(lines)

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def key_groups(screen: Screen[Any]) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """(where from, [(keys, what they do)]) for the bindings in force on a screen."""
    groups: dict[str, dict[str, tuple[list[str], str]]] = {}
    for node, found, _, _ in screen.active_bindings.values():
        if not found.description:
            continue
        where = _title(node)
        keys, _ = groups.setdefault(where, {}).setdefault(found.action, ([], found.description))
        shown = screen.app.get_key_display(found)
        if shown not in keys:
            keys.append(shown)
    for title, actions in groups.items():
        yield title, [(" ".join(keys), about) for keys, about in actions.values()]


def _title(node: Any) -> str:
    name = type(node).__name__
    if isinstance(node, Grid):
        return "Table"
    named = {"GentoolApp": "Everywhere", "Input": "Text field", "Scroll": "Text"}
    return named.get(name) or name.removesuffix("Page").removesuffix("Pane").removesuffix("Screen") or name
