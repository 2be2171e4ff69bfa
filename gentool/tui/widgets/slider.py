"""A slider: a number between two others, or one of some places, moved by keys or the mouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.binding import BindingType
from textual.events import Click, MouseDown, MouseMove, MouseScrollDown, MouseScrollUp, MouseUp
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from gentool.show.text import cell_width, clip, pad, safe_text
from gentool.tui.page import binding


class Slider(Widget, can_focus=True):
    """``label ──────●──── value``. `step` is what one key press moves; `marks` are values that are ticked on the track."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "slider--label", "slider--track", "slider--past", "slider--knob", "slider--value", "slider--focus",
    }  # fmt: skip
    DEFAULT_CSS = """
    Slider { height: 1; width: 1fr; }
    Slider > .slider--label { color: $soft; }
    Slider > .slider--track { color: $line; }
    Slider > .slider--past { color: $primary; }
    Slider > .slider--knob { color: $primary; text-style: bold; }
    Slider > .slider--value { color: $foreground; }
    Slider > .slider--focus { color: $primary; text-style: bold; }
    Slider:nocolor > .slider--focus { text-style: bold underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("left,h,minus", "step(-1)", "Less"),
        binding("right,l,plus", "step(1)", "More"),
        binding("shift+left,H,pagedown", "step(-5)", "Much less"),
        binding("shift+right,L,pageup", "step(5)", "Much more"),
        binding("home", "edge(-1)", "Least"),
        binding("end", "edge(1)", "Most"),
        binding("0", "reset", "As it was"),
    ]
    ALLOW_SELECT = False
    value: reactive[float] = reactive(0.0)

    class Moved(Message):
        """A person moved it (what the program sets is not said)."""

        def __init__(self, slider: Slider) -> None:
            super().__init__()
            self.slider = slider

        @property
        def control(self) -> Slider:
            return self.slider

    def __init__(
        self,
        low: float,
        high: float,
        value: float,
        *,
        step: float = 1.0,
        label: str = "",
        label_width: int = 0,
        value_width: int = 6,
        words: Callable[[float], str] = "{:.2f}".format,
        start: float | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.low, self.high, self.by = low, high, step
        self.label, self.label_width, self.value_width = safe_text(label), label_width, value_width
        self.words = words
        self.start = start  # from where the track is drawn as passed; None: from its left end
        self.initial = value
        self.marks: Sequence[float] = ()
        self._held = False
        self.set_reactive(Slider.value, value)

    def set(self, value: float) -> None:
        """Put it somewhere without saying so."""
        self.value = min(max(value, self.low), self.high)

    def span(self, low: float, high: float, marks: Sequence[float] = ()) -> None:
        """Other bounds and ticks."""
        if (low, high, tuple(marks)) != (self.low, self.high, tuple(self.marks)):
            self.low, self.high, self.marks = low, high, tuple(marks)
            self.refresh()

    def move(self, value: float) -> None:
        """Move it as a person would."""
        steps = round((value - self.low) / self.by) if self.by else 0
        snapped = min(max(self.low + steps * self.by, self.low), self.high)
        if snapped != self.value:
            self.value = snapped
            self.post_message(self.Moved(self))

    # -- drawing ----------------------------------------------------------------------------------------------------

    def _track(self) -> tuple[int, int]:
        """(first cell of the track, its cells)."""
        left = (max(self.label_width, cell_width(self.label)) + 1) if self.label or self.label_width else 0
        left = min(left, max(0, self.size.width // 3))
        return left, max(1, self.size.width - left - self.value_width - 1)

    def _cell(self, value: float, width: int) -> int:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return round(min(max(share, 0.0), 1.0) * (width - 1))

    def render_line(self, y: int) -> Strip:
        left, width = self._track()
        style = self.get_component_rich_style
        focus = self.has_focus
        at = self._cell(self.value, width)
        origin = self._cell(self.start, width) if self.start is not None else 0
        first, last = min(at, origin), max(at, origin)
        ticks = {self._cell(mark, width) for mark in self.marks} if len(self.marks) <= width // 2 else set()
        segments = []
        if left:
            words = pad(clip(self.label, left - 1), left - 1)
            segments.append(Segment(words + " ", style("slider--focus" if focus else "slider--label")))
        for name, start, end in (("track", 0, first), ("past", first, last), ("track", last, width)):
            line = "".join("┼" if x in ticks else "━" if focus else "─" for x in range(start, end))
            segments.append(Segment(line, style(f"slider--{name}")))
        track = Strip(segments, left + width)
        knob = Strip([Segment("●", style("slider--knob"))], 1)
        strip = Strip.join([track.crop(0, left + at), knob, track.crop(left + at + 1, left + width)])
        value = clip(safe_text(self.words(self.value)), self.value_width)
        strip = Strip.join(
            [strip, Strip([Segment(" " + pad(value, self.value_width, "right"), style("slider--value"))])]
        )
        return strip.adjust_cell_length(self.size.width, self.rich_style)

    # -- keys and the mouse -----------------------------------------------------------------------------------------

    def action_step(self, by: int) -> None:
        self.move(self.value + by * self.by)

    def action_edge(self, which: int) -> None:
        self.move(self.low if which < 0 else self.high)

    def action_reset(self) -> None:
        self.move(self.initial)

    def _to(self, x: int) -> None:
        left, width = self._track()
        share = min(max((x - left) / max(1, width - 1), 0.0), 1.0)
        self.move(self.low + share * (self.high - self.low))

    def on_mouse_down(self, event: MouseDown) -> None:
        event.stop()
        self._held = True
        self.capture_mouse()
        self._to(event.x)

    def on_mouse_move(self, event: MouseMove) -> None:
        if self._held:
            self._to(event.x)

    def on_mouse_up(self, event: MouseUp) -> None:
        self._held = False
        self.release_mouse()

    def on_click(self, event: Click) -> None:
        event.stop()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        self.action_step(-1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        self.action_step(1)
