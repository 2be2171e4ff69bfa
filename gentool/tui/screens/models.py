"""The registry: what can be trained, what ships, and the plugins it all comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from gentool.registry import Plugin, registry
from gentool.runs.shipped import card
from gentool.show import units
from gentool.show.text import safe_text
from gentool.specs import ModelSpec
from gentool.tui.page import Page, binding
from gentool.tui.widgets.facts import facts_content, heading
from gentool.tui.widgets.grid import Cell, Column, Grid

WITH_SUMMARIES, CARD = 130, 60  # cells: the table where summaries are whole, and the least that is left for a card then
_LOOK = {"loaded": ("✓", "good"), "broken": ("✗", "bad"), "disabled": ("‖", "soft")}


@dataclass(frozen=True)
class Entry:
    """One line: a model with its plugin, a plugin that has trouble, or a heading."""

    name: str
    spec: ModelSpec | None = None
    plugin: Plugin | None = None


class Card(VerticalScroll):
    """What is said of the entry under the cursor; its lines are broken by how wide it came out."""

    def on_resize(self) -> None:
        if isinstance(self.screen, ModelsPage):
            self.screen.tell_again()


class ModelsPage(Page):
    """Models on the left, everything about one on the right."""

    TAB = "models"
    AUTO_FOCUS = "#models"
    CSS = """
    ModelsPage #models { width: 36; padding: 0 0 0 1; }
    ModelsPage #about { width: 1fr; padding: 0 2; scrollbar-size-vertical: 1; }
    ModelsPage #about Static { width: 1fr; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("y", "copy", "Copy its train command", show=True),
        binding("r", "runs", "Its runs", show=True),
        binding("t", "train", "Train it", show=True),
        binding("p", "play", "Play with what ships", show=True),
        binding("J,ctrl+down", "scroll(3)", "Scroll what is said of it"),
        binding("K,ctrl+up", "scroll(-3)", "Scroll back"),
    ]

    def body(self) -> Iterable[Widget]:
        columns = (
            Column("name", "MODEL", 16, grow=1, most=18, sorts=False),
            Column("ships", "SHIPS", 5, right=True, sorts=False),
            Column("runs", "RUNS", 4, right=True, sorts=False),
            Column("about", "", 60, grow=6, priority=1, sorts=False),
        )
        with Horizontal():
            yield Grid[Entry](columns, self._cell, lambda entry: entry.name, id="models")
            with Card(id="about", can_focus=False):
                yield Static("", id="card", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self._counts: dict[str, int] = {}
        self._count()
        self.grid.set_rows(entries())

    @property
    def grid(self) -> Grid[Entry]:
        return self.query_one("#models", Grid)

    def runs_changed(self, names: Any, *, more: bool) -> None:
        super().runs_changed(names, more=more)
        if more:
            self._count()
            self.grid.refresh()

    def _count(self) -> None:
        self._counts = {}
        for view in self.tool.store.views():
            self._counts[view.model] = self._counts.get(view.model, 0) + 1

    def _cell(self, entry: Entry, key: str, width: int) -> Cell:
        if entry.spec is None:
            plugin = entry.plugin
            if plugin is None:
                return (entry.name, "strong") if key == "name" else ""
            mark, style = _LOOK.get(plugin.state, ("?", "bad"))
            if key == "name":
                return [(f"{mark} ", style), (plugin.name, "text" if plugin.state == "loaded" else style)]
            if key == "about":
                said = "; ".join(plugin.problems) or f"{plugin.origin} {plugin.version}".strip()
                return said, style if plugin.problems else "soft"
            return ""
        if key == "name":
            return entry.name
        if key == "ships":
            return str(len(entry.spec.checkpoints) or ""), "good"
        if key == "runs":
            return str(self._counts.get(entry.name) or ""), "live"
        return entry.spec.summary, "soft"

    @on(Grid.Moved, "#models")
    def _moved(self, event: Grid.Moved) -> None:
        entry: Entry | None = event.row
        if entry is not None:
            self._tell(entry)
            self.query_one("#about", VerticalScroll).scroll_home(animate=False)

    def _tell(self, entry: Entry) -> None:
        wide = self.query_one("#about", VerticalScroll).size.width - 1  # the scroll bar
        self.query_one("#card", Static).update(about(entry, max(wide, 30)))

    def on_resize(self) -> None:
        super().on_resize()
        # The summaries stand beside the names whole, or not at all: the card says them anyway.
        self.grid.styles.width = WITH_SUMMARIES if self.size.width >= WITH_SUMMARIES + CARD else None

    def tell_again(self) -> None:
        """Break the lines of the card anew."""
        if self.grid.row is not None:
            self._tell(self.grid.row)

    @on(Grid.Chosen, "#models")
    def _chosen(self) -> None:
        self.action_runs()

    def action_train(self) -> None:
        """To the settings of a run of it."""
        from gentool.tui.screens.launch import LaunchPage

        entry: Entry | None = self.grid.row
        if entry is not None and entry.spec is not None:
            name = entry.spec.name
            self.tool.action_tab("launch")
            page = self.app.screen
            if isinstance(page, LaunchPage):
                page.call_after_refresh(page.choose_model, name)

    def action_play(self) -> None:
        """Open the first checkpoint that ships for it."""
        from gentool.tui.screens.play import PlayerPage, shipped_sources

        entry: Entry | None = self.grid.row
        name = entry.spec.name if entry is not None and entry.spec is not None else ""
        ships = [source for source in shipped_sources() if source.model == name]
        if ships:
            self.app.push_screen(PlayerPage(ships[0]))
        elif name:
            self.tool.say(f"Nothing ships for {name}; t trains one.")

    def action_copy(self) -> None:
        entry = self.grid.row
        if entry is not None and entry.spec is not None:
            self.tool.copy(f"gentool train {entry.name}", f"gentool train {entry.name}")

    def action_runs(self) -> None:
        """The runs of the model, by the filter of the table."""
        entry = self.grid.row
        if entry is not None and entry.spec is not None:
            self.tool.show_runs(f"model={entry.name}")

    def action_scroll(self, by: int) -> None:
        self.query_one("#about", VerticalScroll).scroll_relative(y=by, animate=False)


def entries() -> list[Entry]:
    """Every model by name, then the plugins: those with trouble first."""
    reg = registry()
    found = [Entry(spec.name, spec, reg.owner("model", spec.name)) for spec in reg.all("model")]
    plugins = sorted(reg.plugins, key=lambda plugin: (plugin.state == "loaded", plugin.name))
    return [
        *found,
        Entry(" "),
        Entry("Plugins"),
        *(Entry(f"plugin {plugin.name}", None, plugin) for plugin in plugins),
    ]


def about(entry: Entry, wide: int) -> Content:
    """Everything about a model, or about a plugin, in so many cells."""
    if entry.spec is not None:
        return Content("\n").join(_model(entry.spec, entry.plugin, wide))
    if entry.plugin is None:
        return Content("")
    plugin = entry.plugin
    facts = [("plugin", plugin.name), ("state", plugin.state), ("origin", plugin.origin), ("version", plugin.version),
             ("module", plugin.module), ("imported in", f"{plugin.seconds * 1e3:.0f} ms")]  # fmt: skip
    lines = [Content(""), facts_content([fact for fact in facts if fact[1]])]
    if plugin.problems:
        lines += [Content(""), heading("What is wrong with it")]
        lines += [Content.styled(safe_text(problem), "$bad") for problem in plugin.problems]
    return Content("\n").join(lines)


def _model(spec: ModelSpec, plugin: Plugin | None, wide: int) -> list[Content]:
    reg = registry()

    def names(kind: Any, *, view: bool = False) -> str:
        return ", ".join(sorted(one.name for one in reg.fitting(kind, spec) if getattr(one, "view", False) == view))

    facts = [
        ("paper", spec.paper), ("gives", spec.output.value), ("data", spec.dataset), ("loss", spec.loss),
        ("losses", names("loss")), ("samplers", names("sampler")), ("evaluators", names("evaluator")),
        ("looks", ", ".join(filter(None, [names("sampler", view=True), names("evaluator", view=True)]))),
        ("also called", ", ".join(spec.aliases)),
        ("plugin", f"{plugin.name} {plugin.version} ({plugin.origin})" if plugin else ""),
    ]  # fmt: skip
    lines = [Content(""), Content.assemble((safe_text(spec.name), "bold"), "  ", safe_text(spec.summary)), Content("")]
    lines += [_hung(name, value, 12, wide) for name, value in facts if value]
    lines += [Content(""), heading("Checkpoints that ship")]
    for name in spec.checkpoints:
        lines += _card(name, card(spec, name))
    if not spec.checkpoints:
        lines.append(
            Content.assemble(("none; train one: ", "$soft"), (f"gentool train {safe_text(spec.name)}", "$primary"))
        )
    lines += [Content(""), heading("Presets")]
    for name, values in spec.presets.items():
        said = " ".join(f"{key}={value}" for key, value in values.items()) or "the defaults"
        lines.append(_hung(name, said, max(map(len, spec.presets)) + 2, wide))
    if not spec.presets:
        lines.append(Content.styled("none: the defaults", "$soft"))
    return lines


def _card(name: str, found: dict[str, Any]) -> list[Content]:
    if not found:
        return [Content.assemble(safe_text(name), ("  no card", "$soft"))]
    parts = [str(found.get("data", ""))]
    if isinstance(found.get("parameters"), int):
        parts.append(f"{units.number(found['parameters'])} parameters")
    if isinstance(found.get("steps"), int):
        parts.append(f"{units.number(found['steps'])} steps")
    if isinstance(found.get("seconds"), int | float):
        parts.append(units.duration(float(found["seconds"])))
    lines = [Content.assemble((safe_text(name), "bold"), (f"  {safe_text(' · '.join(filter(None, parts)))}", "$soft"))]
    scores = found.get("scores")
    if isinstance(scores, dict):
        wide = min(12, max((len(str(value)) for value in scores.values()), default=0))
        for key, value in scores.items():
            lines.append(Content.assemble("  ", safe_text(value).ljust(wide), ("  " + safe_text(key), "$soft")))
    if found.get("command"):
        lines.append(Content.assemble("  ", (safe_text(found["command"]), "$primary")))
    return lines


def _hung(name: str, value: str, left: int, wide: int) -> Content:
    """A name in `left` cells and a text of several lines hung beside it, `wide` cells in all."""
    name = safe_text(name)
    left = max(left, len(name) + 1)
    lines = textwrap.wrap(safe_text(value), max(wide - left, 16), break_on_hyphens=False) or [""]
    return Content.assemble((name.ljust(left), "$soft"), ("\n" + " " * left).join(lines))
