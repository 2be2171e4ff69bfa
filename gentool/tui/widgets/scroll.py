"""Text that is longer than the screen, gone through by vim's keys too."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll

from gentool.tui.page import binding


class Scroll(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A column that scrolls."""

    DEFAULT_CSS = "Scroll { scrollbar-size-vertical: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("down,j", "scroll_down", "Down"),
        binding("up,k", "scroll_up", "Up"),
        binding("pagedown,ctrl+d", "page_down", "Page down"),
        binding("pageup,ctrl+u", "page_up", "Page up"),
        binding("home,g", "scroll_home", "To the top"),
        binding("end,G", "scroll_end", "To the bottom"),
    ]
