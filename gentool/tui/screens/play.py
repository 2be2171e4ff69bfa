"""Play: a model, alive. Choose one that ships or one of a run; the rest is the `Player`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Static

from gentool.runs.reader import RunView
from gentool.show.text import safe_text
from gentool.tui.page import Page, Pane, binding
from gentool.tui.player.player import Player
from gentool.tui.widgets.bar import Part
from gentool.tui.widgets.grid import Cell, Column, Grid


@dataclass(frozen=True)
class Source:
    """A model that can be played with: what the worker is to open, and words for the list."""

    key: str
    model: str
    which: str
    about: str
    fields: tuple[tuple[str, Any], ...]


def shipped_sources() -> list[Source]:
    """The checkpoints that ship with the plugins. Imports the registry."""
    from gentool.registry import registry

    found = []
    for spec in registry().all("model"):
        for name in spec.checkpoints:
            fields = (("source", spec.name), ("pretrained", True), ("shipped", name))
            found.append(Source(f"{spec.name}/{name}", spec.name, name, spec.summary, fields))
    return found


def run_source(run: RunView) -> Source:
    """The newest checkpoint of a run."""
    fields = (("source", str(run.path.resolve())),)
    step = f"step {run.step:,}" if run.step is not None else ""
    return Source(str(run.path), run.model, run.name, f"{run.data}  {step}".strip(), fields)


class Sources(Grid[Source]):
    """The table of them."""

    BINDINGS: ClassVar[list[BindingType]] = [binding("enter,l", "choose", "Play", show=True)]


class PlayPage(Page):
    """The models that can be played with."""

    TAB = "play"
    CSS = """
    PlayPage Grid { margin: 1 1 0 1; }
    PlayPage #hint { height: auto; padding: 1 2 0 2; color: $soft; }
    PlayPage #about { height: auto; padding: 0 2; background: $surface; color: $soft; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [binding("r", "again", "Look for models again")]

    def body(self) -> Iterable[Widget]:
        yield Static("A model that ships, or the newest checkpoint of a run: enter starts it.", id="hint", markup=False)
        columns = [
            Column("model", "MODEL", 12),
            Column("which", "CHECKPOINT OR RUN", 24, grow=1, most=44),
            Column("about", "ABOUT", 48, grow=8, most=100, priority=1),
        ]
        yield Sources(columns, _cell, lambda source: source.key, id="sources")
        yield Static("", id="about", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.action_again()
        self.query_one(Grid).focus()

    def action_again(self) -> None:
        runs = sorted(self.tool.store.views(), key=lambda view: view.started or 0.0, reverse=True)
        own = [run_source(run) for run in runs[:200] if any(saved.whole for saved in run.checkpoints)]
        self.query_one(Grid).set_rows(shipped_sources() + own)

    def runs_changed(self, names: Collection[str], *, more: bool) -> None:
        super().runs_changed(names, more=more)
        if more and self.is_mounted and self.app.screen is self:
            self.action_again()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.is_mounted:
            self.action_again()

    def on_grid_moved(self, event: Grid.Moved) -> None:
        """Say below what the table may have had to cut."""
        event.stop()
        source: Source | None = event.row
        self.query_one("#about", Static).update(safe_text(source.about) if source is not None else "")

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        event.stop()
        self.app.push_screen(PlayerPage(event.row))


def _cell(source: Source, key: str, width: int) -> Cell:
    text = {"model": source.model, "which": source.which, "about": source.about}[key]
    return (text, {"model": "strong", "which": "text", "about": "soft"}[key])


class PlayerPage(Page):
    """One model that ships."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("escape,q", "app.leave", "Back", show=True, key_display="esc"),
    ]

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def body(self) -> Iterable[Widget]:
        yield Player(dict(self.source.fields))

    def where(self) -> list[Part]:
        return [
            Part("‹ ", "key", "app.leave"),
            Part("Play", "soft", "app.leave"),
            Part("  "),
            Part(self.source.model, "strong"),
            Part("  "),
            Part(self.source.which, "text"),
        ]

    def status(self) -> list[Part]:
        return []


class PlayPane(Pane):
    """The newest checkpoint of a run."""

    def compose(self) -> ComposeResult:
        if any(saved.whole for saved in self.run_view.checkpoints):
            yield Player(dict(run_source(self.run_view).fields))
        else:
            yield Static(
                "This run has no checkpoint yet, so there is nothing to play with.", classes="empty", markup=False
            )

    def focus_first(self) -> None:
        for player in self.query(Player):
            player.focus_first()
