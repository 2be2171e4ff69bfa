"""Launch: a training run from its settings, every one of them with its help, its bounds and what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from gentool.config import Layer, Resolved, parse_set, resolve, schema
from gentool.errors import UsageError
from gentool.registry import plugin_files, registry
from gentool.runs.control import command_line
from gentool.runs.folder import check_name
from gentool.show.text import safe_text
from gentool.specs import ModelSpec
from gentool.tui.page import Page, binding
from gentool.tui.widgets.fields import Setting, setting, spell
from gentool.tui.widgets.grid import Cell, Column, Grid

YOURS = "yours"
FLAGS = {"data.name": "--data", "loss.name": "--loss", "train.steps": "--steps", "train.minutes": "--minutes",
         "train.batch_size": "--batch-size", "train.seed": "--seed", "train.device": "--device"}  # fmt: skip
NONE = "none"


@dataclasses.dataclass(frozen=True)
class Item:
    """One line: a heading (no setting), or a setting with its value, where that came from, and what is wrong with it."""

    key: str
    setting: Setting | None = None
    value: Any = None
    source: str = ""
    problem: str = ""

    @property
    def mine(self) -> bool:
        return self.source == YOURS


class Recipe:
    """What is to be trained: a model, a preset, and what the person changed of them."""

    def __init__(self, model: str) -> None:
        self.model, self.preset, self.name = model, NONE, ""
        self.mine: dict[str, Any] = {}
        self.typed: dict[str, tuple[str, str]] = {}  # what was typed and is no value, with the reason
        self.problem = ""  # why the whole cannot be
        self.resolved: Resolved = self._resolve()

    @property
    def spec(self) -> ModelSpec:
        return registry().find("model", self.model)

    def _resolve(self) -> Resolved:
        return resolve(self.model, [Layer(YOURS, self.mine)], None if self.preset == NONE else self.preset)

    def change(self, key: str, value: Any) -> None:
        """Change one thing; what cannot be is kept as a problem, and the settings stay as they were."""
        before = (self.model, self.preset, self.name, dict(self.mine))
        self.typed.pop(key, None)
        if key == "model":
            self.model, self.preset = value, NONE
            self.mine = {k: v for k, v in self.mine.items() if k.startswith(("train.", "checkpoint.", "preview."))}
            self.typed = {}
        elif key == "preset":
            self.preset = value
        elif key == "name":
            self.name = value
        else:
            self.mine[key] = value
        if key in ("loss.name", "sampler.name", "data.name", "model", "preset"):
            self._drop_foreign()
        try:
            self.resolved = self._resolve()
            self.problem = ""
        except UsageError as error:
            self.model, self.preset, self.name, self.mine = before
            self.typed[key] = (spell(value), str(error))

    def _drop_foreign(self) -> None:
        """Leave out what was changed of a part that is no longer there."""
        while True:
            try:
                self._resolve()
                return
            except UsageError as error:
                foreign = [k for k in self.mine if f"'{k}'" in str(error) and "not a setting" in str(error)]
                if not foreign:
                    return
                for key in foreign:
                    del self.mine[key]

    def reset(self, key: str) -> None:
        """Put a setting back to what it is without the person."""
        self.typed.pop(key, None)
        if key == "name":
            self.name = ""
        elif key == "preset":
            self.change("preset", NONE)
        elif key in self.mine:
            del self.mine[key]
            self.resolved = self._resolve()

    def items(self) -> list[Item]:
        """Every setting under its heading."""
        spec, found = self.spec, [Item("Run")]
        reg = registry()
        models = tuple(reg.names("model"))
        found.append(Item("model", Setting("model", "choice", self.model, spec.summary, "", models), self.model))
        presets = (NONE, *spec.presets)
        about = "settings that go together, such as those that a shipped checkpoint was trained with"
        preset = Setting("preset", "choice", NONE, about, "", presets)
        found.append(Item("preset", preset, self.preset, YOURS if self.preset != NONE else "default"))
        about = "a name for the run's folder; empty: the model's"
        name = Setting("name", "text", "", about, "letters, digits or -_.+", check=_named)
        found.append(self._typed(Item("name", name, self.name, YOURS if self.name else "default")))
        keys = schema(spec, self.resolved.loss_spec, self.resolved.sampler_spec, str(self.resolved.get("data.name")))
        group = "Run"
        for key, entry in self.resolved.values.items():
            if key == "model.name":
                continue
            head = key.rpartition(".")[0]
            if key not in ("data.name", "loss.name", "sampler.name") and head != group:
                group = head
                found.append(Item(group))
            if key in ("loss.name", "sampler.name"):
                kind = key.partition(".")[0]
                fitting = {one.name: one for one in reg.fitting(kind, spec) if not getattr(one, "view", False)}
                chosen = fitting.get(entry.value)
                made = Setting(key, "choice", entry.value, chosen.summary if chosen else "", "", tuple(fitting))
            elif key == "data.name":
                made = self._data()
            else:
                config, item = keys[key]
                made = setting(config, item, key)
            found.append(self._typed(Item(key, made, entry.value, entry.source)))
        order = {"data.name": 1, "loss.name": 2, "sampler.name": 3}
        parts = sorted((one for one in found if one.key in order), key=lambda one: order[one.key])
        rest = [one for one in found if one.key not in order]
        return [*rest[:4], *parts, *rest[4:]]

    def _typed(self, item: Item) -> Item:
        """The item with what was typed instead of a value."""
        if item.key not in self.typed:
            return item
        text, why = self.typed[item.key]
        return dataclasses.replace(item, value=text, source=YOURS, problem=why)

    def _data(self) -> Setting:
        spec = self.spec
        fitting = [d for d in registry().all("dataset") if set(spec.inputs) <= set(d.fields)]
        names = tuple(one.name for one in fitting if not one.prefix)
        own = ", ".join(f"{one.name}:PATH" for one in fitting if one.prefix)
        about = next((one.summary for one in fitting if one.name == self.resolved.get("data.name")), "")
        return Setting("data.name", "text", spec.dataset, f"{about} (or {own})" if own else about, "a data set", names)

    def arguments(self, root: str) -> list[str]:
        """The words of the command line after ``gentool``."""
        words = ["train", self.model]
        if self.preset != NONE:
            words += ["--preset", self.preset]
        for key, value in self.mine.items():
            if key in FLAGS:
                words += [FLAGS[key], spell(value)]
        for key, value in self.mine.items():
            if key not in FLAGS:
                words += ["--set", f"{key}={_toml(value)}"]
        if self.name:
            words += ["--name", self.name]
        if root != "runs":
            words += ["--runs", root]
        for file in plugin_files():
            words += ["--plugin", str(file)]
        return words


def _named(value: Any) -> str:
    return check_name(str(value)) if value else ""


def _toml(value: Any) -> str:
    """A value that `--set` reads as itself."""
    text = spell(value)
    plain = list(value) if isinstance(value, tuple) else value
    return text if parse_set([f"v={text}"])["v"] == plain else json.dumps(plain, ensure_ascii=False)


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
    LaunchPage #about { height: auto; max-height: 3; color: $soft; }
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
            Column("source", "FROM", 8, grow=1, most=18, priority=2, sorts=False),
            Column("about", "", 20, grow=8, priority=1, sorts=False),
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
