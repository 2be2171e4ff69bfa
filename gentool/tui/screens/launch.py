"""Launch: a training run from its settings, every one of them with its help, its bounds and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from gentool.errors import UsageError
from gentool.registry import registry
from gentool.runs.control import command_line
from gentool.show.text import safe_text
from gentool.tui.page import Page, binding
from gentool.tui.recipe import Item, Recipe
from gentool.tui.widgets.fields import spell
from gentool.tui.widgets.grid import Cell, Column, Grid


class Settings(Grid[Item]):
    """The settings; arrow keys turn those that are one of some words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("enter", "choose", "Change", show=True),
        binding("right,l", "screen.turn(1)", "Next value"),
        binding("left,h", "screen.turn(-1)", "Value before"),
        binding("backspace,delete", "screen.reset", "As it was"),
    ]

    def action_move(self, by: int) -> None:
        """The next line that is a setting; headings are passed over."""
        at = self.cursor + by
        while 0 <= at < len(self.rows) and self.rows[at].setting is None:
            at += by
        if 0 <= at < len(self.rows):
            self.cursor = at


class LaunchPage(Page):
    """The settings, an editor for the one under the cursor, and the command that they make."""

    TAB = "launch"
    AUTO_FOCUS = "#settings"
    CSS = """
    LaunchPage #settings { margin: 0 0 0 1; }
    LaunchPage #foot { height: auto; padding: 0 2; background: $surface; }
    LaunchPage #find { background: $panel; margin: 0 1; display: none; }
    LaunchPage #edit { background: $cursor; display: none; }
    LaunchPage #about { height: auto; max-height: 5; color: $soft; }
    LaunchPage #about.wrong { color: $bad; }
    LaunchPage #command { height: auto; max-height: 5; color: $live; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("ctrl+s,S", "start", "Start", show=True, key_display="S"),
        binding("y", "copy", "Copy the command", show=True),
        binding("slash", "find", "Find a setting", show=True, key_display="/"),
        binding("c", "changed", "Only what is changed", show=True),
        binding("o", "open", "Open the run that was started", show=True),
        binding("escape", "close", "Leave the field"),
    ]

    def body(self) -> Iterable[Widget]:
        columns = (
            Column("key", "SETTING", 18, sorts=False),
            Column("value", "VALUE", 18, grow=1, most=30, sorts=False),
            Column("source", "FROM", 8, grow=1, most=18, priority=1, sorts=False),
            # Cut to a few words it says nothing: where it has no room the line below says it of one setting at a time.
            Column("about", "", 44, grow=8, priority=2, sorts=False),
        )
        yield Input(placeholder="part of a setting's name or help", id="find", compact=True)
        yield Settings(columns, self._cell, lambda item: item.key, id="settings")
        with Vertical(id="foot"):
            yield Input(id="edit", compact=True)
            yield Static("", id="about", markup=False)
            yield Static("", id="command", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.only_changed = False
        self.editing: Item | None = None
        names = registry().names("model")
        self.recipe: Recipe | None = None
        for name in sorted(names, key=lambda name: name != "vae"):
            try:
                self.recipe = Recipe(name)
                break
            except UsageError:
                continue
        self._fill()

    @property
    def grid(self) -> Settings:
        return self.query_one(Settings)

    def choose_model(self, name: str) -> None:
        """Begin anew with a model."""
        if self.recipe is not None:
            self.recipe.change("model", name)
            self._fill()

    # -- what is shown ----------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        if self.recipe is None:
            self.query_one("#about", Static).update("No model is installed; see the Models tab.")
            return
        words = self.query_one("#find", Input).value.lower().split()
        kept: list[Item] = []
        for item in self.recipe.items():
            if item.setting is None:
                kept.append(item)
            elif self.only_changed and not (item.mine or item.problem or item.source.startswith("preset")):
                continue
            elif all(word in f"{item.key} {item.setting.help}".lower() for word in words):
                kept.append(item)
        shown = [one for one, after in zip(kept, [*kept[1:], Item("")]) if one.setting or after.setting]
        self.grid.set_rows(shown)
        if self.grid.row is not None and self.grid.row.setting is None:
            self.grid.cursor = min(self.grid.cursor + 1, len(shown) - 1)
        self._tell()

    def _cell(self, item: Item, key: str, width: int) -> Cell:
        if item.setting is None:
            return (item.key, "strong") if key == "key" else ""
        if key == "key":
            head = "" if item.key in ("data.name", "loss.name", "sampler.name") else item.key.rpartition(".")[0]
            name = item.key.removesuffix(".name") if not head else item.key.rpartition(".")[2]
            return f"  {name}", "bad" if item.problem else "mark" if item.mine else "text"
        if key == "value":
            words = spell(item.value) if item.value != "" else "·"
            style = "bad" if item.problem else "mark" if item.mine else "text"
            if item.setting.choices:
                return [("‹ ", "soft"), (words, style), (" ›", "soft")]
            return f"  {words}", style
        if key == "source":
            if item.problem:
                return "wrong", "bad"  # in words too: the reason may have no room, and not every terminal has red
            return ("" if item.source in ("default", "model default") else item.source), "soft"
        return (item.problem, "bad") if item.problem else (item.setting.help, "soft")

    def _tell(self, words: str = "", *, bad: bool = False) -> None:
        """The two lines below: what the setting under the cursor is, and the command."""
        about, item = self.query_one("#about", Static), self.grid.row
        if not words and item is not None and item.setting is not None:
            words = item.problem or item.setting.help
            if not item.problem and item.setting.allowed:
                words += f"  ({item.setting.allowed})"
            bad = bool(item.problem)
        about.set_class(bad, "wrong")
        about.update(Content(safe_text(words)))
        if self.recipe is not None:
            line = safe_text(command_line(self.recipe.arguments(str(self.tool.root))))
            self.query_one("#command", Static).update(Content(f"$ {line}"))

    @on(Grid.Moved, "#settings")
    def _moved(self, event: Grid.Moved) -> None:
        event.stop()
        self._tell()

    # -- changing ---------------------------------------------------------------------------------------------------

    def _change(self, key: str, value: Any) -> None:
        assert self.recipe is not None
        self.recipe.change(key, value)
        self._fill()
        self.grid.go_to(key)
        self._tell()

    def action_turn(self, by: int) -> None:
        """The next of the words that a setting is one of."""
        item = self.grid.row
        if item is None or item.setting is None or not item.setting.choices:
            return
        choices = item.setting.choices
        at = choices.index(item.value) if item.value in choices else -1 if by > 0 else 0
        self._change(item.key, choices[(at + by) % len(choices)])

    @on(Grid.Chosen, "#settings")
    def _chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        item: Item = event.row
        if item.setting is None:
            return
        if item.setting.kind == "choice":
            self.action_turn(1)
            return
        self.editing = item
        edit = self.query_one("#edit", Input)
        edit.display = True
        with edit.prevent(Input.Changed):
            edit.value = spell(item.value)
        edit.cursor_position = len(edit.value)
        edit.focus()
        self._tell()

    @on(Input.Changed, "#edit")
    def _typing(self, event: Input.Changed) -> None:
        event.stop()
        if self.editing is not None and self.editing.setting is not None:
            try:
                self.editing.setting.parse(event.value)
                self._tell()
            except UsageError:
                self._tell(f"It has to be {self.editing.setting.allowed}.", bad=True)

    @on(Input.Submitted, "#edit")
    def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        item = self.editing
        self.action_close()
        if item is None or item.setting is None or self.recipe is None:
            return
        try:
            self._change(item.key, item.setting.parse(event.value))
        except UsageError:
            self.recipe.typed[item.key] = (event.value, f"It has to be {item.setting.allowed}.")
            self._fill()
            self.grid.go_to(item.key)

    def action_reset(self) -> None:
        if self.recipe is not None and self.grid.row is not None:
            key = self.grid.row.key
            self.recipe.reset(key)
            self._fill()
            self.grid.go_to(key)

    def action_close(self) -> None:
        """Back to the settings."""
        find = self.query_one("#find", Input)
        if self.app.focused is find and find.value:
            find.value = ""
        find.display = bool(find.value)
        self.query_one("#edit", Input).display = False
        self.editing = None
        self.grid.focus()
        self._tell()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("start", "copy", "find", "changed", "open"):
            return not isinstance(self.app.focused, Input)
        return True

    def action_find(self) -> None:
        find = self.query_one("#find", Input)
        find.display = True
        find.focus()

    @on(Input.Changed, "#find")
    def _found(self, event: Input.Changed) -> None:
        event.stop()
        self._fill()

    @on(Input.Submitted, "#find")
    def _found_enough(self, event: Input.Submitted) -> None:
        event.stop()
        self.grid.focus()

    def action_changed(self) -> None:
        self.only_changed = not self.only_changed
        self._fill()

    # -- starting ---------------------------------------------------------------------------------------------------

    def action_copy(self) -> None:
        if self.recipe is not None:
            self.tool.copy(command_line(self.recipe.arguments(str(self.tool.root))), "the command")

    def action_start(self) -> None:
        """Start the command, unless a setting is wrong."""
        recipe = self.recipe
        if recipe is None:
            return
        if recipe.typed:
            key = next(iter(recipe.typed))
            self.grid.go_to(key)
            self._tell(f"{key}: {recipe.typed[key][1]}", bad=True)
            return
        arguments = recipe.arguments(str(self.tool.root))
        if self.tool.attempt(lambda: self.tool.launches.train(arguments)) is not None:
            self._tell("Starting… It goes on when you leave gentool; o opens it once it has begun.")

    def launches_changed(self) -> None:
        last = self.tool.launches.all[-1] if self.tool.launches.all else None
        if last is None or not self.is_mounted:
            return
        if last.run is not None and last.code is None:
            self._tell(f"{last.run.name} has begun: o opens it. x stops it there, R resumes it.")
        elif last.code not in (None, 0, 130):
            self._tell(last.last_words(2) or f"It ended with code {last.code}.", bad=True)

    def action_open(self) -> None:
        begun = [one.run for one in self.tool.launches.all if one.run is not None]
        view = self.tool.store.view(begun[-1].name) if begun else None
        if view is None:
            self._tell("Nothing was started from here yet: S starts it.", bad=True)
        else:
            self.tool.open_run(view, "metrics")
