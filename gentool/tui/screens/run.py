"""One run: its panes under a line of tabs. A pane is made when it is first opened."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import Static

from gentool.runs.reader import RunView, read_run
from gentool.tui.page import Page, Pane, binding, numbered
from gentool.tui.places import PANES
from gentool.tui.widgets.bar import Part
from gentool.tui.wording import STATUS_LOOK, short_name


class RunPage(Page):
    """A run, open at one of its panes."""

    CSS = """
    RunPage #pane { width: 1fr; height: 1fr; }
    RunPage .broken { padding: 1 2; color: $bad; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(binding(str(number), f"pane('{place.name}')", place.title) for number, place in enumerate(PANES, 1)),
        binding("tab,right_square_bracket", "next(1)", "Next tab", key_display="tab", show=True),
        binding("shift+tab,left_square_bracket", "next(-1)", "Tab before"),
        binding("escape,h,backspace,q", "back", "Back", show=True, key_display="esc"),
        binding("y", "copy", "Copy its path"),
        binding("x", "stop", "Stop it (twice): it saves first"),
        binding("R", "resume", "Resume it"),
        binding("p", "pin", "Pin: overlaid in every plot"),
    ]

    def __init__(self, run: RunView, pane: str = "overview") -> None:
        super().__init__()
        self.run_view = run
        self.current = pane
        self._panes: dict[str, Widget] = {}

    def body(self) -> Iterable[Widget]:
        yield Container(id="pane")

    def on_mount(self) -> None:
        super().on_mount()
        self.action_pane(self.current)
        self.set_interval(0.5, self._tick)

    def where(self) -> list[Part]:
        mark, look = STATUS_LOOK[self.run_view.status]
        style = {"live": "live", "bad": "bad"}.get(look, "soft")
        wide = self.app.size.width >= 110
        name = self.run_view.name if wide else short_name(self.run_view)[:24]
        parts = [Part("‹ ", "key", "screen.back"), Part(name, "strong", "screen.back"), Part(" ")]
        parts += [Part(f"{mark} {self.run_view.status if wide else ''}", style), Part("  " if wide else " ")]
        return parts + numbered([(place.name, place.title) for place in PANES], self.current, "screen.pane")

    def status(self) -> list[Part]:
        run = self.run_view
        if run.step is None or self.app.size.width < 100:
            return []
        total = f"/{run.total:,}" if run.total else ""
        return [Part(f"step {run.step:,}{total}", "soft")]

    # -- panes ------------------------------------------------------------------------------------------------------

    @property
    def open_pane(self) -> Pane | None:
        found = self._panes.get(self.current)
        return found if isinstance(found, Pane) else None

    def action_pane(self, name: str) -> None:
        """Open a pane. One that cannot be made says why in its place."""
        place = next((place for place in PANES if place.name == name), PANES[0])
        self.current = place.name
        shown = self._panes.get(place.name)
        if shown is None:
            try:
                shown = place.load()(self.run_view)
            except Exception as error:
                shown = Static(f"{place.title} cannot be shown: {error}", classes="broken", markup=False)
            self._panes[place.name] = shown
            self.query_one("#pane", Container).mount(shown)
        for other in self._panes.values():
            other.display = other is shown
        if isinstance(shown, Pane):
            if shown.is_mounted and shown.run_view is not self.run_view:
                shown.take(self.run_view)
            self.call_after_refresh(shown.focus_first)
        self.draw_top()

    def action_next(self, by: int) -> None:
        names = [place.name for place in PANES]
        self.action_pane(names[(names.index(self.current) + by) % len(names)])

    def action_back(self) -> None:
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_copy(self) -> None:
        self.tool.copy(str(self.run_view.path), "its path")

    def action_stop(self) -> None:
        self.tool.stop_run(self.run_view)

    def action_resume(self) -> None:
        self.tool.resume_run(self.run_view)

    def action_pin(self) -> None:
        from gentool.runs.marks import Marks, write_marks

        run = self.run_view
        marks = Marks(run.marks.tags, not run.marks.pinned)
        if self.tool.attempt(lambda: write_marks(run.path, marks)) is not None:
            for view in {id(v): v for v in (run, self.tool.store.view(run.name)) if v is not None}.values():
                view.__dict__["marks"] = marks
            self.tool.say("Pinned: overlaid in every plot of metrics." if marks.pinned else "No longer pinned.")

    # -- going on ---------------------------------------------------------------------------------------------------

    def runs_changed(self, names: Collection[str], *, more: bool) -> None:
        name = self.run_view.name
        if name not in names:
            return
        view: Any = self.tool.store.view(name)
        if view is None:
            view = read_run(self.run_view.path)  # removed while it was open: what is left of it, damaged
        if view is not self.run_view:
            self.run_view = view
            pane = self.open_pane
            if pane is not None and pane.is_mounted:
                pane.take(view)
        self.draw_top()

    def _tick(self) -> None:
        pane = self.open_pane
        if pane is not None and pane.is_mounted and self.app.screen is self:
            pane.tick()
