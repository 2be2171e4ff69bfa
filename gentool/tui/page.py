"""The frame of every screen: a line at the top that says where one is, the screen's own body, the keys at the foot."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from gentool.runs.reader import RunView
from gentool.show.text import cell_width
from gentool.tui.places import TABS
from gentool.tui.widgets.bar import Bar, Part

if TYPE_CHECKING:
    from gentool.tui.app import GentoolApp


def binding(keys: str, action: str, about: str, *, show: bool = False, **more: Any) -> Binding:
    """A key binding, said in the foot only with `show` (the help shows all)."""
    return Binding(keys, action, about, show=show, **more)


class KeyBar(Bar):
    """The keys that work here, made from the bindings in force (those with `show`)."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self.call_after_refresh(self._changed)

    def on_resize(self) -> None:
        self._changed()

    def _changed(self, _: object = None) -> None:
        if not self.is_attached or self.app.screen is not self.screen:
            return
        parts: list[Part] = []
        seen: set[str] = set()
        room = self.size.width - 8  # for the help at the right end
        bindings = self.screen.active_bindings
        for _, binding, enabled, _ in bindings.values():
            if not binding.show or not enabled or binding.action in seen or not binding.description:
                continue
            seen.add(binding.action)
            action = f"app.press('{binding.key}')"
            key = self.app.get_key_display(binding)
            apart = "   " if parts else ""
            room -= cell_width(f"{apart}{key} {binding.description}")
            if room < 0:
                break
            parts += [Part(apart), Part(f"{key} ", "key", action), Part(binding.description, "soft", action)]
        key = "?" if "question_mark" in bindings else "f1"  # a text field takes the ? as text
        self.show(parts, [Part(f"{key} ", "key", "app.help"), Part("help", "soft", "app.help")])


class Page(Screen[None], inherit_bindings=False):
    """A place of the application.

    A subclass sets `TAB` (its name in `gentool.tui.places.TABS`, or "" for a page over another), gives its `body`, and may
    follow `runs_changed`. `self.tool` is the application: `tool.store` has the runs, `tool.say` says a sentence.
    """

    TAB: ClassVar[str] = ""
    AUTO_FOCUS: ClassVar[str | None] = None
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("tab", "app.focus_next", "Next part of the screen"),
        binding("shift+tab", "app.focus_previous", "Part before"),
        binding("ctrl+c,super+c", "screen.copy_text", "Copy the selected text"),
    ]

    def compose(self) -> ComposeResult:
        yield Bar(id="top")
        yield from self.body()
        yield KeyBar(id="keys")

    def body(self) -> Iterable[Widget]:
        """The widgets between the two lines."""
        return ()

    @property
    def tool(self) -> GentoolApp:
        return cast("GentoolApp", self.app)

    def on_mount(self) -> None:
        self.draw_top()

    def on_screen_resume(self) -> None:
        self.draw_top()

    def draw_top(self) -> None:
        """Draw the line at the top anew."""
        if self.is_mounted:
            self.query_one("#top", Bar).show(self.where(), self.status())

    def where(self) -> list[Part]:
        """The left of the top line: the tabs, the one that is open marked."""
        tabs = numbered([(place.name, place.title) for place in TABS], self.TAB, "app.tab", gap="   ")
        return [Part("gentool", "strong", "app.tab('runs')"), Part("   "), *tabs]

    def status(self) -> list[Part]:
        """The right of the top line: the folder and how many runs are in it."""
        store = self.tool.store
        live, count = store.live_count, store.count
        parts = [Part(f"{live} running", "live"), Part("  ")] if live else []
        where = f" in {short_path(store.root, 30)}" if self.app.size.width >= 110 else ""  # the tabs come first
        return [*parts, Part(f"{count:,} run{'s' * (count != 1)}{where}", "soft")]

    def on_resize(self) -> None:
        self.draw_top()

    def runs_changed(self, names: Collection[str], *, more: bool) -> None:
        """Runs of these names came, changed or went; `more`: some came or went. Called in the application's thread."""
        self.draw_top()

    def launches_changed(self) -> None:
        """A command that was started from here has made its run, or ended."""


class Pane(Widget):
    """One tab of a run. `run` is the view of it, replaced whenever the run goes on.

    A subclass gives `compose`, and `show_run`, which is called when the pane opens and whenever run.json changed; `tick`
    is called every half second while the pane is seen. BINDINGS of a pane work while it is open.
    """

    DEFAULT_CSS = "Pane { width: 1fr; height: 1fr; }"
    can_focus = False

    def __init__(self, run: RunView) -> None:
        super().__init__()
        self.run_view = run

    @property
    def tool(self) -> GentoolApp:
        return cast("GentoolApp", self.app)

    def on_mount(self) -> None:
        self.show_run()

    def take(self, run: RunView) -> None:
        """The run has changed on disk."""
        self.run_view = run
        self.show_run()

    def show_run(self) -> None:
        """Show `run_view`."""

    def tick(self) -> None:
        """Twice a second while the pane is seen."""

    def focus_first(self) -> None:
        """Give the keyboard to what wants it first in this pane."""
        for widget in self.query("*"):
            if widget.focusable:
                widget.focus()
                return


def numbered(places: Iterable[tuple[str, str]], here: str, action: str, gap: str = "  ") -> list[Part]:
    """Tabs of a bar from (name, title), each under its number, the one that is open marked; a click is ``action('name')``."""
    parts: list[Part] = []
    for number, (name, title) in enumerate(places, 1):
        call = f"{action}('{name}')"
        parts += [Part(f"{number} ", "soft", call), Part(title, "here" if name == here else "text", call), Part(gap)]
    return parts


def short_path(path: Path, most: int = 200) -> str:
    """A path as one would say it, under the home folder with a ~, and the end of it where it has more characters than that."""
    text, home = str(path), os.path.expanduser("~")
    text = "~" + text[len(home) :] if home != "/" and text.startswith(home + os.sep) else text
    return text if len(text) <= most else "…" + text[-(most - 1) :]
