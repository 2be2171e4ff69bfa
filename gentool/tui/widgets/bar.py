"""One line of text whose parts can be clicked: the top of the screen and the keys at its foot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual.events import Click
from textual.strip import Strip
from textual.widget import Widget

from gentool.show.text import cell_width, clip, safe_text


@dataclass(frozen=True)
class Part:
    """A word of a bar: its style (a component class of the bar, without "bar--") and what a click does: an action of the
    widget around the bar that has it, or one with a namespace (``app.help``)."""

    text: str
    style: str = "text"
    action: str = ""


class Bar(Widget):
    """Parts from the left, parts from the right. The left ones give way where there is no room."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "bar--text",
        "bar--soft",
        "bar--strong",
        "bar--here",
        "bar--key",
        "bar--live",
        "bar--bad",
    }
    DEFAULT_CSS = """
    Bar { height: 1; width: 1fr; padding: 0 1; }
    Bar > .bar--text { color: $foreground; }
    Bar > .bar--soft { color: $soft; }
    Bar > .bar--strong { color: $foreground; text-style: bold; }
    Bar > .bar--here { color: $primary; text-style: bold; }
    Bar > .bar--key { color: $primary; }
    Bar > .bar--live { color: $live; }
    Bar > .bar--bad { color: $bad; }
    Bar:nocolor > .bar--here { text-style: bold underline; }
    """
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.left: tuple[Part, ...] = ()
        self.right: tuple[Part, ...] = ()
        self._spots: list[tuple[int, int, str]] = []

    def show(self, left: Sequence[Part], right: Sequence[Part] = ()) -> None:
        """Draw these parts, if they are others than before."""
        if (tuple(left), tuple(right)) != (self.left, self.right):
            self.left, self.right = tuple(left), tuple(right)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        segments: list[Segment] = []
        self._spots = []
        ends = sum(cell_width(safe_text(part.text)) for part in self.right)
        room = max(width - ends - (2 if self.right else 0), 0)
        right = self.right if room >= 20 else ()
        if not right:
            ends, room = 0, width
        at = 0
        for part in self.left:
            at = self._put(segments, part, at, room)
        segments.append(Segment(" " * max(0, width - ends - at), self.rich_style))
        at = max(at, width - ends)
        for part in right:
            at = self._put(segments, part, at, width)
        return Strip(segments, width)

    def _put(self, segments: list[Segment], part: Part, at: int, limit: int) -> int:
        text = clip(safe_text(part.text), max(0, limit - at))
        size = cell_width(text)
        if size:
            segments.append(Segment(text, self.get_component_rich_style(f"bar--{part.style}")))
            if part.action:
                self._spots.append((at, at + size, part.action))
        return at + size

    async def on_click(self, event: Click) -> None:
        at = event.get_content_offset(self)
        if at is None:
            return
        for start, end, action in self._spots:
            if start <= at.x < end:
                event.stop()
                name = action.partition("(")[0]
                owner = next((one for one in self.ancestors if hasattr(one, f"action_{name}")), self)
                await self.app.run_action(action, owner)
                return
