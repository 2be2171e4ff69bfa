"""Settings as rows to be edited: a label, an editor that fits the type, and its help, or what is wrong, beside it."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Click, Key
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from gentool.config import check, describe, parse_set
from gentool.errors import UsageError
from gentool.show.text import cell_width, clip, safe_text
from gentool.tui.page import binding

Checker = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a config. `choices` are the values it is one of, if it is; `low` and `high` bound a number."""

    key: str
    kind: str  # "choice", "int", "float", "text" or "value" (anything TOML can say)
    default: Any
    help: str
    allowed: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    check: Checker = dataclasses.field(default=lambda value: value, compare=False)

    def parse(self, text: str) -> Any:
        """The value that was typed, or `UsageError` in one sentence."""
        if self.kind == "text":
            return self.check(text)
        return self.check(parse_set([f"v={text}"])["v"])


def spell(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(spell(one) for one in value) + "]"
    return f"{value:g}" if isinstance(value, float) and abs(value) >= 1e-4 else str(value)


def setting(config: type, name: str, key: str | None = None, *, default: Any = dataclasses.MISSING) -> Setting:
    """The setting of a field of a config dataclass; `key` is what it is called in messages."""
    item = next(f for f in dataclasses.fields(config) if f.name == name)
    hint = typing.get_type_hints(config)[name]
    limits = item.metadata.get("limits", {})
    choices: tuple[Any, ...] = ()
    if typing.get_origin(hint) is typing.Literal:
        kind, choices = "choice", typing.get_args(hint)
    elif hint is bool:
        kind, choices = "choice", (False, True)
    else:
        kind = {int: "int", float: "float", str: "text"}.get(_plain(hint), "value")
    known = key or name
    return Setting(
        known,
        kind,
        item.default if default is dataclasses.MISSING else default,
        str(item.metadata.get("help", "")),
        describe(config, name),
        choices,
        limits.get("ge", limits.get("gt")),
        limits.get("le", limits.get("lt")),
        lambda value: check(config, name, known, list(value) if isinstance(value, tuple) else value, "this field"),
    )


def _plain(hint: Any) -> Any:
    """int, float or str where a hint is that or None."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [one for one in typing.get_args(hint) if one is not type(None)]
        return object if len(rest) > 1 else rest[0]
    return hint


class Choice(Widget, can_focus=True):
    """``‹ value ›``: one of some values, the next by an arrow key or a click."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choice--text", "choice--arrow", "choice--focus"}
    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; }
    Choice > .choice--text { color: $foreground; }
    Choice > .choice--arrow { color: $soft; }
    Choice > .choice--focus { color: $primary; text-style: bold; }
    Choice:nocolor > .choice--focus { text-style: bold underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("right,l,enter,space", "turn(1)", "Next value"),
        binding("left,h", "turn(-1)", "Value before"),
    ]
    ALLOW_SELECT = False
    at: reactive[int] = reactive(0)

    class Changed(Message):
        """A person chose another value."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Choice:
            return self.choice

    def __init__(
        self, values: Sequence[Any], value: Any, words: Sequence[str] | None = None, *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.values = tuple(values)
        self.words = tuple(safe_text(word) for word in (words or map(spell, values)))
        self.set_reactive(Choice.at, self.values.index(value) if value in self.values else 0)

    @property
    def value(self) -> Any:
        return self.values[self.at]

    @value.setter
    def value(self, value: Any) -> None:
        if value in self.values:
            self.at = self.values.index(value)

    def offer(self, values: Sequence[Any], value: Any, words: Sequence[str] | None = None) -> None:
        """Other values to choose from."""
        self.values = tuple(values)
        self.words = tuple(safe_text(word) for word in (words or map(spell, values)))
        self.at = self.values.index(value) if value in self.values else 0
        self.refresh()

    def action_turn(self, by: int) -> None:
        if len(self.values) > 1:
            self.at = (self.at + by) % len(self.values)
            self.post_message(self.Changed(self))

    def on_click(self, event: Click) -> None:
        event.stop()
        self.focus()
        self.action_turn(-1 if event.x == 0 else 1)

    def render_line(self, y: int) -> Strip:
        style = self.get_component_rich_style
        arrows = style("choice--focus" if self.has_focus else "choice--arrow")
        word = clip(self.words[self.at] if self.words else "", max(1, self.size.width - 4))
        pieces = [Segment("‹ ", arrows), Segment(word, style("choice--focus" if self.has_focus else "choice--text"))]
        return Strip([*pieces, Segment(" ›", arrows)]).adjust_cell_length(self.size.width, self.rich_style)


class Entry(Input):
    """A typed value; up and down move a number."""

    DEFAULT_CSS = """
    Entry { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
    Entry:focus { border: none; background: $cursor; }
    Entry.wrong { color: $bad; }
    """

    def __init__(self, setting: Setting, value: Any, *, id: str | None = None) -> None:
        super().__init__(spell(value), id=id, compact=True, select_on_focus=False)
        self.setting = setting

    def on_key(self, event: Key) -> None:
        if event.key in ("up", "down") and self.setting.kind in ("int", "float"):
            event.stop()
            event.prevent_default()
            self._nudge(1 if event.key == "up" else -1)

    def _nudge(self, by: int) -> None:
        try:
            value = self.setting.parse(self.value)
        except UsageError:
            return
        moved = value + by if self.setting.kind == "int" else round(value + by * _stride(abs(value)), 10)
        try:
            self.setting.check(moved)
        except UsageError:
            return
        self.value = spell(moved)
        self.cursor_position = len(self.value)


def _stride(size: float) -> float:
    """A step that is small beside a number: 0.05 about 1, 0.0001 about 0.001."""
    stride = 0.05
    while 0 < size < 10 * stride and stride > 1e-9:
        stride /= 10
    return stride


class FieldRow(Horizontal):
    """A setting with its editor. `note` shows its help beside it (or only what is wrong)."""

    DEFAULT_CSS = """
    FieldRow { height: 1; width: 1fr; }
    FieldRow > .label { width: 14; color: $soft; }
    FieldRow:focus-within > .label { color: $primary; }
    FieldRow > Entry, FieldRow > Choice { width: 1fr; min-width: 8; }
    FieldRow > .note { width: 2fr; padding: 0 0 0 2; color: $soft; }
    FieldRow.changed > .label { color: $foreground; text-style: bold; }
    FieldRow > .note.wrong { color: $bad; }
    """

    class Changed(Message):
        """The value is another, or no longer one."""

        def __init__(self, row: FieldRow) -> None:
            super().__init__()
            self.row = row

        @property
        def control(self) -> FieldRow:
            return self.row

    def __init__(
        self,
        setting: Setting,
        value: Any = dataclasses.MISSING,
        *,
        label: str = "",
        note: bool = True,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.setting = setting
        self.value = setting.default if value is dataclasses.MISSING else value
        self.label = safe_text(label or setting.key)
        self.with_note = note
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield Static(Content(self.label), classes="label")
        if self.setting.kind == "choice":
            yield Choice(self.setting.choices, self.value)
        else:
            yield Entry(self.setting, self.value)
        if self.with_note:
            yield Static(Content(self._about()), classes="note")

    def _about(self) -> str:
        return clip(safe_text(self.setting.help or self.setting.allowed), 160)

    @property
    def editor(self) -> Choice | Entry:
        if self.setting.kind == "choice":
            return self.query_one(Choice)
        return self.query_one(Entry)

    def set(self, value: Any) -> None:
        """Another value, without a word."""
        self.value, self.problem = value, ""
        editor = self.editor
        if isinstance(editor, Choice):
            editor.value = value
        else:
            with editor.prevent(Input.Changed):
                editor.value = spell(value)
        self._say()

    def _say(self) -> None:
        wrong = bool(self.problem)
        if isinstance(self.editor, Entry):
            self.editor.set_class(wrong, "wrong")
        if self.with_note:
            note = self.query_one(".note", Static)
            note.set_class(wrong, "wrong")
            note.update(Content(safe_text(self.problem) if wrong else self._about()))

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self.value = event.choice.value
        self.post_message(self.Changed(self))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        try:
            self.value = self.setting.parse(event.value)
            self.problem = ""
        except UsageError:
            self.problem = f"It has to be {self.setting.allowed}."
        self._say()
        self.post_message(self.Changed(self))


def label_width(words: Sequence[str], most: int) -> int:
    """Cells for a column of labels."""
    return min(max(map(cell_width, words), default=0) + 2, most)
