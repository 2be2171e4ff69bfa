"""The application: themes, tabs, the command palette, the help, and what every screen may ask of it."""

from __future__ import annotations

import gc
import os
import select
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.screen import Screen

from gentool.errors import GentoolError
from gentool.runs.reader import RunView
from gentool.show.text import safe_text
from gentool.tui.launching import Launches
from gentool.tui.page import Page, binding
from gentool.tui.places import TABS, Place, tab
from gentool.tui.state import load_state, save_state
from gentool.tui.store import RunStore
from gentool.tui.theme import THEMES, default_theme, own_variables
from gentool.tui.worker.client import Worker

HANGUP = 1.0  # seconds between two looks whether the terminal is still there
MOVES = ("move", "page", "edge", "app.focus_next", "app.focus_previous", "screen.copy_text")  # of no use in a palette


class GentoolApp(App[None]):
    """`gentool tui`."""

    TITLE = "gentool"
    ENABLE_COMMAND_PALETTE = True
    CSS = """
    Screen { background: $background; color: $foreground; }
    #top { background: $surface; }
    #keys { background: $surface; }
    Toast { background: $panel; color: $foreground; }
    .empty { width: 1fr; height: 1fr; content-align: center middle; color: $soft; text-align: center; }
    Input { border: none; height: 1; padding: 0 1; background: $surface; }
    Input:focus { border: none; }
    FieldRow > Entry { background: $panel; }
    FieldRow > Entry:focus { background: $cursor; }
    FieldRow > Entry.wrong { color: $bad; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("question_mark,f1", "help", "This help", key_display="?"),
        binding("ctrl+p,colon", "command_palette", "Command palette", key_display=":"),
        binding("ctrl+t", "next_theme", "Next theme"),
        binding("q", "leave", "Back, at last quit"),
        binding("ctrl+q", "quit", "Quit", priority=True),
        *(binding(str(number), f"tab('{place.name}')", place.title) for number, place in enumerate(TABS, 1)),
    ]
    COMMAND_PALETTE_DISPLAY = ":"

    def __init__(self, root: Path, store: RunStore | None = None, theme: str | None = None) -> None:
        # Without colours the terminal's own ground is kept: Textual would paint greys otherwise.
        self._opened = self._settled = False
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.root = root
        self.store = store or RunStore(root)
        self.state = load_state()
        self.images = "auto"  # "sixel" or "kitty": how `Pictures` are shown whole
        self.worker = Worker()  # a process only once a model is asked for something
        self.launches = Launches(root, lambda words, bad: self.say(words, bad=bad))
        for made in THEMES:
            self.register_theme(made)
        chosen = theme or self.state.get("theme") or default_theme()
        self.theme = chosen if chosen in self.available_themes and not os.environ.get("NO_COLOR") else default_theme()
        for place in TABS:
            self.add_mode(place.name, partial(_made, place))

    def get_css_variables(self) -> dict[str, str]:
        made = super().get_css_variables()
        return made | own_variables(self.current_theme, made)

    def on_mount(self) -> None:
        if not self.store.ready.is_set() and not self.store.started:
            self.store.start()
        self.store.ready.wait(0.5)  # the newest runs are read in a few hundredths: the first screen shows them
        self.switch_mode("runs")
        if not self.is_headless and not self.is_web:
            self.set_interval(HANGUP, self._look_for_the_terminal)
        self.store.listen(self._runs_changed)
        self.set_interval(1.0, self._look_after)
        self._opened = True

    def _look_for_the_terminal(self) -> None:
        """Leave when the terminal has gone without a signal (an ssh that broke off, a pane that was closed)."""
        if hung_up():
            # What is still to be written may wait for ever on a terminal that is not there: an end is set to that.
            leave = threading.Timer(HANGUP, os._exit, (129,))
            leave.daemon = True
            leave.start()
            self.exit(return_code=129)

    async def on_unmount(self) -> None:
        self.store.stop()
        await self.worker.stop()

    # -- what changed on disk ---------------------------------------------------------------------------------------

    def _runs_changed(self, names: Collection[str], more: bool) -> None:
        """In the store's thread."""
        if self.is_running:
            self.call_later(self._pass_on, set(names), more)

    def _pass_on(self, names: set[str], more: bool) -> None:
        if self.store.whole and not self._settled and not self.is_headless:
            # Thousands of runs, and this screen, are here to stay: Python's collector, which goes over everything again
            # and again, kept some keys waiting for 50 ms for them alone.
            self._settled = True
            gc.freeze()
        for screen in self.screen_stack:
            if isinstance(screen, Page):
                screen.runs_changed(names, more=more)

    def _look_after(self) -> None:
        """See how the commands go that were started from here."""
        if self.launches.busy:
            self.store.refresh()
            if self.launches.poll(self.store.views()):
                for screen in self.screen_stack:
                    if isinstance(screen, Page):
                        screen.launches_changed()

    def stop_run(self, run: RunView) -> None:
        """Stop a run, when asked twice."""
        self.attempt(lambda: self.launches.stop(run))

    def resume_run(self, run: RunView) -> None:
        """Go on with a run, detached."""
        self.attempt(lambda: self.launches.resume(run))

    # -- going about ------------------------------------------------------------------------------------------------

    def action_tab(self, name: str) -> None:
        """Open a tab by its place's name; what was over it is closed."""
        if self.current_mode != name:
            try:
                self.switch_mode(name)
            except Exception as error:  # a broken screen of an extension harms no other
                self.say(f"{tab(name).title} cannot be opened: {error}", bad=True)
                return
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def action_leave(self) -> None:
        """Back to what lies under this page; from a tab, quit."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit()

    def action_press(self, key: str) -> None:
        self.simulate_key(key)

    def open_run(self, run: RunView, pane: str = "overview") -> None:
        """Show one run, at the pane of that name."""
        from gentool.tui.screens.run import RunPage

        self.push_screen(RunPage(run, pane))

    def show_runs(self, query: str) -> None:
        """The table of runs with that filter."""
        from gentool.tui.screens.runs import RunsPage

        self.action_tab("runs")
        if isinstance(self.screen, RunsPage):
            self.screen.filter_by(query)

    def open_compare(self, runs: list[RunView]) -> None:
        """Show two to four runs beside each other."""
        from gentool.tui.screens.compare import ComparePage

        self.push_screen(ComparePage(runs))

    def action_help(self) -> None:
        from gentool.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    # -- what screens ask of it -------------------------------------------------------------------------------------

    def say(self, text: str, *, bad: bool = False) -> None:
        """A sentence in the corner for some seconds."""
        self.notify(safe_text(text), severity="error" if bad else "information", markup=False, timeout=6 if bad else 3)

    def copy(self, text: str, what: str) -> None:
        """Put text on the terminal's clipboard (OSC 52: over ssh too, and in tmux with `set-clipboard on`)."""
        self.copy_to_clipboard(safe_text(text, keep_newlines=True))
        self.say(f"Copied {what}.")

    def attempt(self, work: Callable[[], Any]) -> Any:
        """Do something that a person may cause to fail; the reason is said, and None given."""
        try:
            return work()
        except GentoolError as error:
            self.say(str(error), bad=True)
        except OSError as error:
            self.say(f"The system refused: {error.strerror or error}.", bad=True)
        return None

    # -- themes, commands -------------------------------------------------------------------------------------------

    def action_next_theme(self) -> None:
        names = [made.name for made in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        self.say(f"Theme {self.theme}.")

    def watch_theme(self, theme: str) -> None:
        if self._opened:
            save_state(theme=theme)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for place in TABS:
            yield SystemCommand(f"Go to {place.title}", place.about, partial(self.action_tab, place.name))
        seen = set()
        for namespace, found, enabled, _ in screen.active_bindings.values():
            moves = found.action.partition("(")[0] in MOVES
            if enabled and found.description and found.action not in seen and not moves and namespace is not self:
                seen.add(found.action)
                key = self.get_key_display(found)
                yield SystemCommand(found.description, f"key {key}", partial(self.action_press, found.key))
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Keys and help", "Every key that works here", self.action_help)
        yield SystemCommand("Screenshot", "Save this screen as an SVG file", self.deliver_screenshot)
        yield SystemCommand("Quit", "Leave gentool", self.action_quit)


def hung_up() -> bool:
    """Whether nobody is at the other end of standard input any more."""
    try:
        poll = select.poll()
        poll.register(sys.__stdin__.fileno(), 0)  # type: ignore[union-attr]
        return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return True


def _made(place: Place) -> Screen[Any]:
    screen: Screen[Any] = place.load()()
    return screen
