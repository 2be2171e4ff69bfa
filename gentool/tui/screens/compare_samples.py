"""What a few runs drew at the same step, side by side, with a slider over the steps of all of them."""

from __future__ import annotations

from typing import ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from gentool.runs.gallery import SAMPLES, Look, Shot, look, shots
from gentool.runs.reader import RunView
from gentool.tui.page import binding
from gentool.tui.widgets.bar import Bar, Part
from gentool.tui.widgets.sight import Sight
from gentool.tui.widgets.slider import Slider
from gentool.tui.wording import short_name


class Beside(Vertical):
    """One run's pictures (or text) at a step, under its letter."""

    DEFAULT_CSS = """
    Beside { width: 1fr; height: 1fr; padding: 0 1; }
    """

    def __init__(self, letter: str, run: RunView) -> None:
        super().__init__()
        self.letter, self.run_view = letter, run
        self.shot: Shot | None = None

    def compose(self) -> ComposeResult:
        yield Bar()
        yield Sight()

    def on_mount(self) -> None:
        self.show(None, None)

    def show(self, shot: Shot | None, found: Look | None) -> None:
        """Show what was found in a shot's file; None: there is none."""
        self.shot = shot
        step = f"step {shot.step:,}" if shot is not None and shot.step is not None else ""
        name = [Part(f"{self.letter} ", "here"), Part(short_name(self.run_view), "strong")]
        self.query_one(Bar).show(name, [Part(step, "soft")] if step else ())
        if shot is None or found is None:
            self.query_one(Sight).show_pictures(None, "It drew nothing of this kind.")
        else:
            self.query_one(Sight).show_look(shot, found)


class SamplesBeside(Widget):
    """The runs beside each other. A run that drew nothing at a step shows the newest before it."""

    DEFAULT_CSS = """
    SamplesBeside { width: 1fr; height: 1fr; layout: vertical; }
    SamplesBeside Horizontal { height: 1fr; }
    SamplesBeside #step { margin: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("v", "kind", "Other pictures", show=True),
        binding("full_stop", "go(1)", "Next step", show=True, key_display="."),
        binding("comma", "go(-1)", "Step before", key_display=","),
    ]

    def __init__(self, runs: list[RunView]) -> None:
        super().__init__()
        self.runs = runs
        self.kind = SAMPLES
        self.galleries: list[dict[str, list[Shot]]] = []
        self.steps: list[int] = []
        self.at = 0

    def compose(self) -> ComposeResult:
        with Horizontal():
            for letter, run in zip("ABCD", self.runs, strict=False):
                yield Beside(letter, run)
        yield Slider(0, 1, 0, id="step", label="step", value_width=11, words=self._words)

    def on_mount(self) -> None:
        self.look_again()
        self.set_interval(2.0, self.look_again)
        self.query_one(Slider).focus()

    def look_again(self) -> None:
        """Look at the folders; stay at the step, or at the end where one was."""
        galleries = [shots(run.path) for run in self.runs]
        if galleries == self.galleries:
            return
        at_end = self.at >= len(self.steps) - 1
        here = self.steps[self.at] if self.steps else None
        self.galleries = galleries
        self._count()
        self.at = len(self.steps) - 1 if at_end or here not in self.steps else self.steps.index(here)
        self._show()

    def _count(self) -> None:
        found = {
            shot.step for gallery in self.galleries for shot in gallery.get(self.kind, []) if shot.step is not None
        }
        self.steps = sorted(found)
        self.at = max(0, min(self.at, len(self.steps) - 1))

    def _show(self) -> None:
        slider = self.query_one(Slider)
        slider.display = len(self.steps) > 1
        slider.span(0, max(len(self.steps) - 1, 1), range(len(self.steps)))
        slider.set(self.at)
        slider.refresh()
        chosen = [self._shot(gallery) for gallery in self.galleries]
        self._read(chosen)

    def _shot(self, gallery: dict[str, list[Shot]]) -> Shot | None:
        """The newest shot at the step or before; the first where there is none before."""
        own = [shot for shot in gallery.get(self.kind, []) if shot.step is not None]
        if not own or not self.steps:
            return None
        before = [shot for shot in own if cast(int, shot.step) <= self.steps[self.at]]
        return before[-1] if before else own[0]

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def _read(self, chosen: list[Shot | None]) -> None:
        found = [look(shot.path) if shot is not None else None for shot in chosen]
        self.app.call_from_thread(self._have, chosen, found)

    def _have(self, chosen: list[Shot | None], found: list[Look | None]) -> None:
        if self.is_mounted:
            for beside, shot, one in zip(self.query(Beside), chosen, found, strict=True):
                beside.show(shot, one)

    def _words(self, value: float) -> str:
        return f"{self.steps[round(value)]:,}" if 0 <= round(value) < len(self.steps) else ""

    @on(Slider.Moved)
    def _moved(self, event: Slider.Moved) -> None:
        event.stop()
        self.at = round(event.slider.value)
        self._show()

    def action_go(self, by: int) -> None:
        self.at = max(0, min(self.at + by, len(self.steps) - 1))
        self._show()

    def action_kind(self) -> None:
        kinds = list(dict.fromkeys(kind for gallery in self.galleries for kind in gallery if kind != "drawn"))
        if kinds:
            self.kind = kinds[(kinds.index(self.kind) + 1) % len(kinds)] if self.kind in kinds else kinds[0]
            self._count()
            self.at = max(len(self.steps) - 1, 0)
            self._show()
