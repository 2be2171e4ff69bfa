"""What the application can show. A new screen is a file under `screens/` and a line here; it is imported when it is opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """A tab: its name in code, its title at the top of the screen, and the class that shows it."""

    name: str
    title: str
    target: str  # "package.module:Class"
    about: str  # for the command palette

    def load(self) -> Any:
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)


# A `gentool.tui.page.Page` each, without arguments; reached by its number.
TABS = (
    Place("runs", "Runs", "gentool.tui.screens.runs:RunsPage", "Every run of this folder"),
    Place("models", "Models", "gentool.tui.screens.models:ModelsPage", "What can be trained, and what ships"),
    Place("play", "Play", "gentool.tui.screens.play:PlayPage", "Draw from a model, move in its latent space"),
    Place("launch", "Launch", "gentool.tui.screens.launch:LaunchPage", "Train: every setting, and the command for it"),
)

# A `gentool.tui.page.Pane` each, made for one run; reached by its number inside the run.
PANES = (
    Place("overview", "Overview", "gentool.tui.screens.overview:OverviewPane", "What it is and what can be done next"),
    Place("metrics", "Metrics", "gentool.tui.screens.metrics:MetricsPane", "Its curves"),
    Place("samples", "Samples", "gentool.tui.screens.samples:SamplesPane", "What it drew, step by step"),
    Place("play", "Play", "gentool.tui.screens.play:PlayPane", "Draw from it, move in its latent space"),
    Place("log", "Log", "gentool.tui.screens.log:LogPane", "What it said"),
)


def tab(name: str) -> Place:
    return next(place for place in TABS if place.name == name)


def pane(name: str) -> Place:
    return next(place for place in PANES if place.name == name)
