"""Commands that the application has started: looked after until they end, though they would go on without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gentool.registry import plugin_files
from gentool.runs import control
from gentool.runs.control import Launched
from gentool.runs.reader import RunView
from gentool.show.text import safe_text

TWICE = 4.0  # seconds in which a second key press counts as meant


class Launches:
    """What was started from here, newest last. `say` tells the person what came of it."""

    def __init__(self, root: Path, say: Callable[[str, bool], None]) -> None:
        self.root, self._say = root, say
        self.all: list[Launched] = []
        self._asked: tuple[str, float] = ("", 0.0)

    @property
    def busy(self) -> bool:
        """Whether any of them is still to be looked after."""
        return any(one.code is None for one in self.all)

    def train(self, arguments: Sequence[str]) -> Launched:
        """Start a command."""
        made = control.start(arguments, self.root)
        self.all.append(made)
        return made

    def resume(self, run: RunView) -> None:
        """Go on with a run."""
        self.all.append(control.resume(run, plugins=[str(file) for file in plugin_files()]))
        self._say(f"Resuming {run.name}.", False)

    def stop(self, run: RunView) -> None:
        """Stop a run when it is asked for twice: it saves first."""
        asked, when = self._asked
        if asked != run.name or time.monotonic() - when > TWICE:
            self._asked = (run.name, time.monotonic())
            self._say(f"Once more stops {run.name}: it saves, and can be resumed.", False)
            return
        self._asked = ("", 0.0)
        control.stop(run)
        self._say(f"Stopping {run.name}; it saves first.", False)

    def poll(self, runs: Iterable[RunView]) -> bool:
        """Look after all of them; whether anything is new."""
        views = list(runs)
        news = False
        for one in self.all:
            had, ended = one.run, one.code
            if (one.code is not None and one.run is not None) or not one.poll(views):
                continue
            news = True
            if one.run is not None and had is None:
                self._say(f"{one.run.name} has begun.", False)
            if one.code is not None and ended is None:
                self._tell(one)
        return news

    def _tell(self, one: Launched) -> None:
        """Say how a command ended, where that is not what one expects."""
        words = one.last_words(1)
        if one.code not in (0, 130):
            self._say(safe_text(words) or f"It ended with code {one.code}: {one.words[:80]}", True)
        if one.run is None:
            self.tidy(one)

    def tidy(self, one: Launched) -> None:
        """Keep the last words of a command that made no run, and remove their file."""
        one.words_kept = one.last_words(3)
        one.tidy()
