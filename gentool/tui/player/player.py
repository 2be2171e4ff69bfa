"""The frame around a model that is played with: opens it in the worker, says what goes on, and has a stage for each thing
that the model can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.css.query import NoMatches
from textual.widget import Widget
from textual.widgets import Input, Static

from gentool.registry import plugin_files, registry
from gentool.show.text import safe_text
from gentool.specs import ModelSpec
from gentool.tui.page import binding
from gentool.tui.widgets.bar import Bar, Part
from gentool.tui.worker.client import Worker, WorkerError
from gentool.tui.worker.wire import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gentool.tui.app import GentoolApp

LINE = 16  # cells of the line that shows how far it is


class Stage(Widget):
    """One thing to be done with the model. `player` does the talking to the worker."""

    NAME: ClassVar[str] = ""
    DEFAULT_CSS = """
    Stage { layout: horizontal; width: 1fr; height: 1fr; }
    Stage .main { width: 1fr; height: 1fr; padding: 0 1; }
    Stage .side { width: 38; height: 1fr; padding: 1 1 0 1; background: $surface; scrollbar-size-vertical: 1; }
    Stage .side FieldRow > .label { width: 17; }
    Stage .hint { height: auto; color: $soft; padding: 1 0 0 0; }
    Stage .hint.wrong { color: $bad; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("tab", "hop(1)", "Next field"),
        binding("shift+tab", "hop(-1)", "Field before"),
        binding("s", "settings", "Settings", show=True),
    ]
    can_focus = False

    def __init__(self, player: Player) -> None:
        super().__init__()
        self.player = player

    def action_hop(self, by: int) -> None:
        """The keyboard to the next thing of this stage that takes it."""
        stops = [one for one in self.query("*") if one.focusable and one.display]
        if stops:
            at = stops.index(self.app.focused) if self.app.focused in stops else -1
            stops[(at + by) % len(stops)].focus()

    def action_settings(self) -> None:
        """The keyboard to the first of the settings."""
        side = next((one for one in self.query(".side *") if one.focusable), None)
        if side is not None:
            side.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # Letters are typed into a field, so its keys are not offered.
        return action == "hop" or not isinstance(self.app.focused, Input)

    def focus_first(self) -> None:
        """Give the keyboard to what wants it first."""

    @classmethod
    def fits(cls, spec: ModelSpec, about: Mapping[str, Any]) -> bool:
        """Whether the model can do this."""
        return True


class Player(Widget):
    """A model that is played with. `source` is what the worker is asked to open."""

    DEFAULT_CSS = """
    Player { layout: vertical; width: 1fr; height: 1fr; }
    Player #stage { width: 1fr; height: 1fr; }
    Player #trouble { width: 1fr; height: 1fr; padding: 2 4; color: $soft; }
    Player #trouble.bad { color: $bad; }
    Player.narrow Stage .side { width: 30; }
    Player.narrow Stage .side FieldRow > .label { width: 14; }
    Player.narrow LatentStage .main { layout: vertical; }
    Player.narrow LatentStage #one { height: 3fr; }
    Player.narrow LatentStage #many { height: 2fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("m", "mode(1)", "Mode", show=True),
        binding("M", "mode(-1)", "Mode before"),
        binding("escape", "calm", "Stop, leave a field"),
        binding("ctrl+k", "kill", "End the model's process"),
        binding("ctrl+o", "open", "Open the model again"),
    ]
    can_focus = False

    def __init__(self, source: dict[str, Any]) -> None:
        super().__init__()
        self.source = {**source, "plugins": [str(file) for file in plugin_files()]}
        self.about: dict[str, Any] = {}
        self.spec: ModelSpec | None = None
        self.stages: dict[str, Stage] = {}
        self.mode = ""
        self.busy = False
        self._words: tuple[str, str] = ("", "soft")
        self._share: float | None = None

    def compose(self) -> ComposeResult:
        yield Bar(id="state")
        yield Container(id="stage")
        yield Static("", id="trouble", markup=False)

    def on_mount(self) -> None:
        self.query_one("#trouble").display = False
        self.call_after_refresh(self.action_open)

    def on_resize(self) -> None:
        self.set_class(self.size.width < 100, "narrow")

    @property
    def worker(self) -> Worker:
        return cast("GentoolApp", self.app).worker

    # -- the worker -------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        """Open the model (again); what is open of it stays on the screen."""
        self.attempt(self._open(), "open")

    async def _open(self) -> None:
        self.say("Starting a process for the model…" if not self.worker.alive else "Opening the model…")
        try:
            about = await self.worker.ask("open", **self.source)
        except WorkerError as error:
            self.trouble(str(error))
            return
        if about is None or not self.is_attached:
            return
        self.about = about.fields
        self.spec = registry().find("model", about["model"])
        self.trouble("")
        self.say("Ready.")
        if not self.stages:
            await self._build()

    async def stream(
        self, kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: Any
    ) -> AsyncIterator[Message]:
        """The answers to a request; the model is opened first if the worker has died or opened another since."""
        if not self.worker.alive or self.worker.opened != self.source:
            self.say("Opening the model…")
            await self.worker.ask("open", **self.source)
        reply = self.worker.request(kind, arrays, **fields)
        self.busy = True
        try:
            async for message in reply:
                yield message
        finally:
            self.busy = False
            reply.cancel()

    def attempt(self, work: Any, group: str) -> None:
        """Run a coroutine that talks to the worker; the one of its group before is cancelled, a failure is said."""
        self.run_worker(self._attempt(work), group=group, exclusive=True)

    async def _attempt(self, work: Any) -> None:
        try:
            await work
        except WorkerError as error:
            self.say(str(error), bad=True)
        except NoMatches:  # where the page is left its widgets go first, what is at work here last
            if self.is_running:
                raise

    def action_kill(self) -> None:
        """End the process, whatever it is doing."""
        self.workers.cancel_node(self)
        self.run_worker(self._kill(), group="kill", exclusive=True)

    async def _kill(self) -> None:
        await self.worker.stop()
        self.say("The model's process was ended; the next thing you ask for starts a new one.")

    # -- what goes on -----------------------------------------------------------------------------------------------

    def say(self, words: str, *, bad: bool = False, share: float | None = None) -> None:
        """Say in the line above the stage what goes on; share: how much of it is done."""
        self._words, self._share = (safe_text(words), "bad" if bad else "soft"), share
        self._draw_state()

    def trouble(self, words: str) -> None:
        """Say in place of a stage why there is none; "" for nothing."""
        shown = self.query_one("#trouble", Static)
        instead = bool(words) and not self.stages
        shown.display, self.query_one("#stage").display = instead, not instead
        shown.set_class(instead, "bad")
        if instead:
            shown.update(f"{safe_text(words)}\n\nctrl+o tries again.")
            self.say("No model is open.", bad=True)
        elif words:
            self.say(words, bad=True)

    def _draw_state(self) -> None:
        if not self.is_running:
            return
        left: list[Part] = []
        for name in self.stages if len(self.stages) > 1 else ():
            left += [Part(name, "here" if name == self.mode else "soft", f"show({name!r})"), Part("  ")]
        right: list[Part] = []
        if self._share is not None:
            full = round(LINE * min(max(self._share, 0.0), 1.0))
            right += [Part("━" * full, "live"), Part("─" * (LINE - full), "soft"), Part("  ")]
        words, style = self._words
        right.append(Part(words, style))
        bar = self.query_one("#state", Bar)
        if style == "bad" and len(words) > 30:  # a sentence needs the line
            bar.show(right)
        else:
            bar.show(left, right)

    # -- stages -----------------------------------------------------------------------------------------------------

    async def _build(self) -> None:
        from gentool.tui.player.draw import DrawStage
        from gentool.tui.player.latent import LatentStage
        from gentool.tui.player.look import LookStage

        assert self.spec is not None
        for kind in (DrawStage, LatentStage, LookStage):
            if kind.fits(self.spec, self.about):
                self.stages[kind.NAME] = kind(self)
        if not self.stages:
            self.trouble(f"'{self.spec.name}' draws nothing and has no view: score it with gentool eval.")
            return
        await self.action_show(next(iter(self.stages)))

    async def action_show(self, name: str) -> None:
        """Go to a stage."""
        stage = self.stages[name]
        self.mode = name
        if not stage.is_attached:
            await self.query_one("#stage", Container).mount(stage)
        for other in self.stages.values():
            other.display = other is stage
        self._draw_state()
        self.call_after_refresh(stage.focus_first)

    async def action_mode(self, by: int) -> None:
        names = list(self.stages)
        if len(names) > 1:
            await self.action_show(names[(names.index(self.mode) + by) % len(names)])

    def focus_first(self) -> None:
        if self.mode:
            self.stages[self.mode].focus_first()

    def action_calm(self) -> None:
        """Stop what is being drawn; else leave the field that is typed in."""
        if self.busy:
            self.workers.cancel_node(self)
            self.say("Stopped.")
        else:
            self.focus_first()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "calm":  # else escape goes on to the screen, which leaves
            here = self.app.focused
            inside = here is not None and any(one.has_class("side") for one in here.ancestors)
            return self.busy or inside or isinstance(here, Input)
        if action == "mode":
            return len(self.stages) > 1 and not isinstance(self.app.focused, Input)
        return True
