"""Look at a model: what `gentool viz` shows of it, pictures and heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from gentool.evaluating import HeatMap
from gentool.registry import registry
from gentool.show.text import safe_text
from gentool.specs import EvaluatorSpec, ModelSpec, SamplerSpec, config_fields
from gentool.tui.page import binding
from gentool.tui.player.player import Stage
from gentool.tui.widgets.album import Album
from gentool.tui.widgets.fields import FieldRow, Setting, setting
from gentool.tui.widgets.sight import Sight
from gentool.tui.worker.wire import Message

View = SamplerSpec | EvaluatorSpec


def views_of(spec: ModelSpec) -> list[View]:
    """The views that fit a model."""
    kinds = ("sampler", "evaluator")
    return sorted((one for kind in kinds for one in registry().fitting(kind, spec) if one.view), key=lambda v: v.name)


class LookStage(Stage):
    """Views of the model."""

    NAME = "look"
    DEFAULT_CSS = """
    LookStage #options { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("d,ctrl+j", "draw", "Show", show=True, key_display="d"),
        binding("n", "next(1)", "Next view", show=True),
        binding("N", "next(-1)", "View before"),
        binding("i", "ask", "Change its settings"),
    ]

    @classmethod
    def fits(cls, spec: ModelSpec, about: Mapping[str, Any]) -> bool:
        return bool(views_of(spec))

    def compose(self) -> ComposeResult:
        assert self.player.spec is not None
        self.views = views_of(self.player.spec)
        self.view = self.views[0]
        with Vertical(classes="main"):
            yield Sight("Press d to see it.")
        with VerticalScroll(classes="side", can_focus=False):
            names = tuple(one.name for one in self.views)
            yield FieldRow(Setting("view", "choice", self.view.name, "", "", names), note=False, id="view")
            yield Vertical(id="options")
            yield Static("", classes="hint", markup=False)

    async def on_mount(self) -> None:
        await self._options()

    def focus_first(self) -> None:
        self.query_one(Sight).front.focus()

    async def _options(self) -> None:
        made = [setting(self.view.config, name) for name in config_fields(self.view.config)]
        rows = [FieldRow(one, note=False, classes="option") for one in made]
        box = self.query_one("#options", Vertical)
        await box.remove_children()
        await box.mount_all(rows)
        about = [safe_text(self.view.summary)]
        about += [f"{row.setting.key}: {safe_text(row.setting.help)}" for row in rows if row.setting.help]
        self.query_one(".side .hint", Static).update("\n\n".join(about))

    def on_field_row_changed(self, event: FieldRow.Changed) -> None:
        event.stop()
        if event.row.id == "view":
            self._to(str(event.row.value))

    def _to(self, name: str) -> None:
        self.view = next(one for one in self.views if one.name == name)
        self.run_worker(self._options(), group="options", exclusive=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_draw()

    def action_next(self, by: int) -> None:
        names = [one.name for one in self.views]
        name = names[(names.index(self.view.name) + by) % len(names)]
        self.query_one("#view", FieldRow).set(name)
        self._to(name)

    def action_ask(self) -> None:
        rows = list(self.query(FieldRow))
        rows[min(1, len(rows) - 1)].editor.focus()

    def action_draw(self) -> None:
        options: dict[str, Any] = {}
        for row in self.query(".option").results(FieldRow):
            if row.problem:
                self.player.say(f"{row.label}: {row.problem}", bad=True)
                return
            options[row.setting.key] = row.value
        self.player.attempt(self._draw(options), "draw")

    async def _draw(self, options: dict[str, Any]) -> None:
        self.player.say("Looking…")
        name = self.view.name
        if isinstance(self.view, SamplerSpec):
            stream = self.player.stream("sample", sampler=name, options=options, n=16, seed=0)
        else:
            stream = self.player.stream("view", name=name, options=options)
        async for message in stream:
            if message.kind == "partial":
                self.player.say(name, share=message["done"] / max(1, message["total"]))
            elif message.kind == "samples":
                self._show_samples(message)
            else:
                self._show_report(message)

    def _show_samples(self, message: Message) -> None:
        sight = self.query_one(Sight)
        if "images" in message.arrays:
            captions = [safe_text(word) for word in message["captions"] or ()]
            sight.show_pictures(Album(message.arrays["images"], message["columns"], captions), keep=False)
        elif message["text"]:
            sight.show_text("\n\n".join(message["text"]))
        self.player.say(message["title"] or self.view.name)

    def _show_report(self, message: Message) -> None:
        """A picture if the report has one, else its heat maps, else its figures."""
        maps = [HeatMap.from_json(given) for given in message.get("heatmaps") or ()]
        sight, pictures = self.query_one(Sight), message["pictures"]
        if pictures:
            about = pictures[0]
            sight.show_pictures(Album(message.arrays["picture0"], about["columns"]), keep=False)
        elif maps:
            sight.show_maps(maps)
        else:
            rows = [f"{name}  {entry['value']} {entry['unit']}" for name, entry in message["scalars"].items()]
            sight.show_text("\n".join(rows))
        self.player.say(message["protocol"])
