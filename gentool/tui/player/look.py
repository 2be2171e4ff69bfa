"""Look at a model: what `gentool viz` shows of it, pictures and heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from gentool.evaluating import HeatMap
from gentool.registry import registry
from gentool.show.heatmap import heatmap_text
from gentool.show.text import safe_text
from gentool.specs import EvaluatorSpec, ModelSpec, SamplerSpec, config_fields
from gentool.tui.page import binding
from gentool.tui.player.player import Stage
from gentool.tui.widgets.fields import FieldRow, Setting, setting
from gentool.tui.widgets.pictures import Album, Pictures
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
    LookStage #maps { height: 1fr; scrollbar-size-vertical: 1; padding: 0 1; }
    LookStage #maps Static { width: auto; height: auto; }
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
            yield Pictures("Press d to see it.", id="look")
            with VerticalScroll(id="maps", can_focus=True):
                yield Static("", id="text")
        with VerticalScroll(classes="side", can_focus=False):
            names = tuple(one.name for one in self.views)
            yield FieldRow(Setting("view", "choice", self.view.name, "", "", names), note=False, id="view")
            yield Vertical(id="options")
            yield Static("", classes="hint", markup=False)

    async def on_mount(self) -> None:
        self.query_one("#maps").display = False
        await self._options()

    def focus_first(self) -> None:
        self.query_one("#maps" if self.query_one("#maps").display else "#look").focus()

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
        if "images" in message.arrays:
            captions = [safe_text(word) for word in message["captions"] or ()]
            self._pictures(Album(message.arrays["images"], message["columns"], captions))
        elif message["text"]:
            self._words(Text(safe_text("\n\n".join(message["text"]), keep_newlines=True)))
        self.player.say(message["title"] or self.view.name)

    def _show_report(self, message: Message) -> None:
        """A picture if the report has one, else its heat maps, else its figures."""
        maps = [_map(given) for given in message.get("heatmaps") or ()]
        pictures = message["pictures"]
        if pictures:
            about = pictures[0]
            self._pictures(Album(message.arrays["picture0"], about["columns"]))
        elif maps:
            width = max(30, self.query_one(".main").size.width - 4)
            depth = "256" if self.app.console.color_system != "truecolor" else "truecolor"
            if self.app.console.color_system in (None, "standard"):
                depth = ""
            drawn = [heatmap_text(one, width, depth=depth or None) for one in maps]
            self._words(Text.from_ansi("\n".join(drawn)))
        else:
            rows = [f"{name}  {entry['value']} {entry['unit']}" for name, entry in message["scalars"].items()]
            self._words(Text(safe_text("\n".join(rows), keep_newlines=True)))
        self.player.say(message["protocol"])

    def _pictures(self, album: Album) -> None:
        self.query_one("#maps").display, self.query_one("#look").display = False, True
        self.query_one("#look", Pictures).show(album, keep=False)

    def _words(self, text: Text) -> None:
        self.query_one("#maps").display, self.query_one("#look").display = True, False
        self.query_one("#text", Static).update(text)


def _map(given: Mapping[str, Any]) -> HeatMap:
    """A heat map as the worker sends it; what was not finite is unknown."""
    values = [[float("nan") if value is None else float(value) for value in row] for row in given["values"]]
    axes = tuple(str(axis) for axis in given["axes"])
    return HeatMap(
        str(given["name"]),
        values,
        [str(word) for word in given["rows"]],
        [str(word) for word in given["columns"]],
        str(given["title"]),
        (axes[0], axes[1]),
        given["most"],
    )
