"""Draw samples: pictures painted as the sampler goes, text as it is written, boxes on pictures; with every option it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Input, Static

from gentool.registry import registry
from gentool.show.text import safe_text
from gentool.specs import ModelSpec, Output, SamplerSpec, config_fields
from gentool.tui.page import binding
from gentool.tui.player.player import Stage
from gentool.tui.widgets.album import Album, Box
from gentool.tui.widgets.fields import Choice, FieldRow, Setting, setting
from gentool.tui.widgets.pictures import Pictures
from gentool.tui.widgets.slider import Slider
from gentool.tui.worker.wire import Message

MOST = 64  # pictures that are drawn at once


def whole_number(key: str, default: int, low: int, high: int, help: str) -> Setting:
    """A setting that is of the player, not of a sampler."""
    from gentool.errors import UsageError

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"{key} is a whole number from {low} to {high}.")
        return value

    allowed = f"a whole number from {low} to {high}"
    return Setting(key, "int", default, help, allowed, (), low, high, check)


class DrawStage(Stage):
    """Samples of the model."""

    NAME = "draw"
    DEFAULT_CSS = """
    DrawStage #words { height: 1fr; scrollbar-size-vertical: 1; padding: 0 1; }
    DrawStage #words Static { width: 1fr; height: auto; }
    DrawStage #prompt { height: 1; margin: 1 0 0 0; background: $panel; padding: 0 1; border: none; }
    DrawStage #prompt:focus { background: $cursor; }
    DrawStage #path { height: 1; margin: 1 0 0 0; background: $panel; padding: 0 1; border: none; }
    DrawStage #sure { margin: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("d", "draw", "Draw", show=True),
        binding("ctrl+j", "draw", "Draw", show=True),
        binding("r", "another", "Another seed", show=True),
        binding("i", "ask", "Type a prompt or a path"),
        binding("c", "copy", "Copy the text"),
        binding("plus,equals_sign", "sure(0.05)", "Surer boxes only", key_display="+"),
        binding("minus", "sure(-0.05)", "Less sure boxes, too", key_display="-"),
    ]

    @classmethod
    def fits(cls, spec: ModelSpec, about: Mapping[str, Any]) -> bool:
        return bool(samplers_of(spec))

    def compose(self) -> ComposeResult:
        player = self.player
        assert player.spec is not None
        self.samplers = samplers_of(player.spec)
        named = player.about.get("sampler")
        self.sampler = next((one for one in self.samplers if one.name == named), self.samplers[0])
        self.text = ""
        words = player.spec.output == Output.TEXT
        with Vertical(classes="main"):
            yield Pictures("", id="look")
            with VerticalScroll(id="words", can_focus=True):
                yield Static("", id="text")
            yield Slider(0, 1, 0.3, step=0.05, label="score at least", label_width=14, id="sure", words="{:.2f}".format)
            if words:
                yield Input(id="prompt", placeholder=_prompt_words(player.spec, player.about), compact=True)
            elif any(one.pictures for one in self.samplers):
                yield Input(id="path", placeholder="the path of a picture; enter looks at it", compact=True)
        with VerticalScroll(classes="side", can_focus=False):
            yield FieldRow(whole_number("n", 1 if words else 16, 1, MOST, "how many are drawn"), note=False, id="n")
            yield FieldRow(whole_number("seed", 0, 0, 2**31, "the same seed draws the same"), note=False, id="seed")
            if player.about.get("conditional"):
                classes = [safe_text(name) for name in player.about["classes"]]
                about = "the class that is drawn; all: each in turn"
                choices = (None, *range(len(classes)))
                yield FieldRow(Setting("class", "choice", None, about, "a class", choices), note=False, id="class")
            if len(self.samplers) > 1:
                names = tuple(one.name for one in self.samplers)
                which = Setting("sampler", "choice", self.sampler.name, self.sampler.summary, "", names)
                yield FieldRow(which, note=False, id="sampler")
            yield Vertical(id="options")
            yield Static("", classes="hint", markup=False)

    @property
    def starts_from_pictures(self) -> bool:
        return bool(self.sampler.pictures)

    @property
    def needs_pictures(self) -> bool:
        return self.sampler.pictures == "must"

    @property
    def random(self) -> bool:
        return self.sampler.output != Output.BOXES

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "another" or self.random

    @property
    def words(self) -> bool:
        assert self.player.spec is not None
        return self.player.spec.output == Output.TEXT

    async def on_mount(self) -> None:
        self.query_one("#look").display = not self.words
        self.query_one("#words").display = self.words
        self.query_one("#options").styles.height = "auto"
        self.query_one("#sure").display = False
        if self.player.about.get("conditional"):
            names = [safe_text(name) for name in self.player.about["classes"]]
            row = self.query_one("#class", FieldRow)
            self.call_after_refresh(lambda: row.query_one(Choice).offer(row.setting.choices, None, ["all", *names]))
        await self._options()
        if self.needs_pictures:
            self.query_one("#look", Pictures).say("Which picture? Press i and type its path.")
        elif self.words:
            self._show_text([""])
            self.action_draw()
        else:
            self.action_draw()

    async def _options(self) -> None:
        """A row for each option of the sampler."""
        given = self.player.about.get("samplers", {}).get(self.sampler.name, {})
        rows = []
        for name in config_fields(self.sampler.config):
            if name == "prompt" and self.words:
                continue
            made = setting(self.sampler.config, name)
            rows.append(FieldRow(made, _plain(given.get(name, made.default)), note=False, classes="option"))
        for field in self.query("#path"):
            field.display = self.starts_from_pictures
        self.query_one("#n").display = not self.needs_pictures  # as many as there are pictures
        self.query_one("#seed").display = self.random
        self.refresh_bindings()
        box = self.query_one("#options", Vertical)
        await box.remove_children()
        await box.mount_all(rows)

    def focus_first(self) -> None:
        self.query_one("#words" if self.words else "#look").focus()

    # -- settings ---------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any] | None:
        """What is to be drawn, or None where a field is wrong."""
        options: dict[str, Any] = {}
        for row in self.query(FieldRow):
            if row.problem:
                row.editor.focus()
                self.player.say(f"{row.label}: {row.problem}", bad=True)
                return None
            if row.has_class("option"):
                options[row.setting.key] = row.value
        if self.words:
            options["prompt"] = self.query_one("#prompt", Input).value.replace("\\n", "\n")
        fields = {
            "n": self.query_one("#n", FieldRow).value,
            "seed": self.query_one("#seed", FieldRow).value,
            "sampler": self.sampler.name,
            "options": options,
        }
        if self.player.about.get("conditional"):
            fields["class"] = self.query_one("#class", FieldRow).value
        if self.starts_from_pictures and (path := self.query_one("#path", Input).value.strip()):
            fields["images"] = [path]
        elif self.needs_pictures:
            self.player.say("Which picture? Type its path.")
            self.action_ask()
            return None
        return fields

    def on_field_row_changed(self, event: FieldRow.Changed) -> None:
        event.stop()
        if event.row.id == "sampler":
            self.sampler = next(one for one in self.samplers if one.name == event.row.value)
            self.run_worker(self._options(), group="options", exclusive=True)
        self._hint(event.row)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        for row in event.widget.ancestors:
            if isinstance(row, FieldRow):
                self._hint(row)
                return
        self._hint(None)

    def _hint(self, row: FieldRow | None) -> None:
        """Below the fields: what the one in hand means, or what is wrong with it."""
        hint = self.query_one(".side .hint", Static)
        about = ""
        if row is not None:
            about = row.problem or self.sampler.summary if row.id == "sampler" else row.problem or row.setting.help
            if not row.problem and row.setting.kind in ("int", "float"):
                about += "\n↑ ↓ change it, enter draws"
        hint.set_class(row is not None and bool(row.problem), "wrong")
        hint.update(safe_text(about, keep_newlines=True))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_draw()
        if event.input.id == "path":
            self.query_one("#look").focus()

    # -- drawing ----------------------------------------------------------------------------------------------------

    def action_draw(self) -> None:
        if (fields := self.settings()) is not None:
            self.player.attempt(self._draw(fields), "draw")

    def action_another(self) -> None:
        row = self.query_one("#seed", FieldRow)
        row.set(int(row.value) + 1 if isinstance(row.value, int) else 0)
        self.action_draw()

    def action_ask(self) -> None:
        for field in self.query("#prompt, #path"):
            field.focus()

    def action_copy(self) -> None:
        from typing import cast

        if self.text:
            cast("Any", self.app).copy(self.text, "the text")

    def action_sure(self, by: float) -> None:
        slider = self.query_one("#sure", Slider)
        slider.move(slider.value + by)

    def on_slider_moved(self, event: Slider.Moved) -> None:
        event.stop()
        self.query_one("#look", Pictures).threshold = event.slider.value

    async def _draw(self, fields: dict[str, Any]) -> None:
        self.player.say("Drawing…", share=0.0)
        done, seconds, first = 0, 0.0, True
        album: Album | None = None
        texts: list[str] = []
        async for message in self.player.stream("sample", **fields):
            if message.kind == "partial":
                share = message["done"] / max(1, message["total"])
                self.player.say(f"{message['done']} of {message['total']}", share=share)
                if message["text"]:
                    self._show_text([*texts, *message["text"]], growing=True)
                elif "images" in message.arrays and done == 0:
                    self.query_one("#look", Pictures).show(Album(message.arrays["images"]), keep=not first)
                    first = False
                continue
            seconds = message["seconds"]
            if message["text"] is not None:
                texts += message["text"]
                self._show_text(texts)
            if "images" in message.arrays:
                album = joined(album, self._album(message))
                done = len(album)
                self.query_one("#look", Pictures).show(album, keep=not first)
                first = False
        drawn = len(texts) if texts else done
        found = (
            f", seed {fields['seed']}"
            if album is None or not album.boxes
            else f", {len(album.boxes[0])} boxes on the first"
        )
        self.player.say(f"{drawn} in {seconds:.2f} s{found}")

    def _album(self, message: Message) -> Album:
        """What was drawn, as it is shown."""
        classes = message.get("classes") or self.player.about.get("classes", [])
        boxes: list[Sequence[Box]] = [boxes_of(found, classes) for found in message.get("detections") or ()]
        slider = self.query_one("#sure", Slider)
        if boxes and not slider.display:
            slider.set(float(message.get("least") or slider.value))
        slider.display = bool(boxes)
        self.query_one("#look", Pictures).threshold = slider.value if boxes else 0.0
        captions = [safe_text(word) for word in message.get("captions") or ()]
        sizes = [(int(h), int(w)) for h, w in message.get("sizes") or ()]
        return Album(message.arrays["images"], message.get("columns"), captions, boxes, sizes)

    def _show_text(self, texts: Sequence[str], *, growing: bool = False) -> None:
        """Texts one after the other; a growing one ends with a mark."""
        self.text = "\n\n".join(texts)
        shown = [safe_text(text, keep_newlines=True).expandtabs(4) for text in texts]
        if growing and shown:
            shown[-1] += "▌"
        scroll = self.query_one("#words", VerticalScroll)
        at_end = scroll.scroll_y >= scroll.max_scroll_y - 1
        prompt = safe_text(self.query_one("#prompt", Input).value.replace("\\n", "\n"), keep_newlines=True)
        parts: list[Content] = []
        for number, text in enumerate(shown):
            if number:
                parts.append(Content.styled("\n─────\n", "$soft"))
            if prompt and text.startswith(prompt):
                parts += [Content.styled(prompt, "$primary"), Content(text[len(prompt) :])]
            else:
                parts.append(Content(text))
        self.query_one("#text", Static).update(Content("").join(parts))
        if at_end and growing:
            self.call_after_refresh(scroll.scroll_end, animate=False)


def samplers_of(spec: ModelSpec) -> list[SamplerSpec]:
    """The samplers of a model that draw (those that look at it are views), its default first."""
    found = [one for one in registry().fitting("sampler", spec) if not one.view]
    return sorted(found, key=lambda one: (one.name != spec.sampler, one.name))


def boxes_of(found: Mapping[str, Any], classes: Sequence[str]) -> list[Box]:
    """Detections as the worker sends them."""
    rows = zip(found["boxes"], found["scores"], found["labels"], strict=True)
    return [
        Box((x1, y1, x2, y2), label, score, classes[label] if 0 <= label < len(classes) else "")
        for (x1, y1, x2, y2), score, label in rows
    ]


def joined(album: Album | None, more: Album) -> Album:
    """Two chunks of samples as one; another shape of picture begins anew."""
    import numpy as np

    if album is None or album.pixels.shape[1:] != more.pixels.shape[1:]:
        return more
    return Album(
        np.concatenate([album.pixels, more.pixels]),
        more.columns,
        [*album.captions, *more.captions],
        [*album.boxes, *more.boxes],
        [*album.sizes, *more.sizes],
    )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _prompt_words(spec: ModelSpec, about: Mapping[str, Any]) -> str:
    """What stands in an empty prompt."""
    if "translate" in spec.offers:
        examples = about.get("examples") or []
        return (
            f"a sentence to translate, such as: {safe_text(examples[0])[:60]}"
            if examples
            else "a sentence to translate"
        )
    return "a text to go on with; enter draws"
