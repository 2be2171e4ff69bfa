"""Runs on disk for the application, and a way to drive it without a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1]):  # driving, runs_on_disk
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Nothing of the person who runs the tests is read or written, and the terminal is one of many colours."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home / name))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    for name in ("NO_COLOR", "COLORFGBG", "TMUX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def drive() -> Callable[..., Any]:
    """``drive(root, play, size=(80, 24))`` runs the application and ``await play(app, pilot)`` in it."""

    def call(root: Path, play: Callable[..., Awaitable[None]], size: tuple[int, int] = (80, 24), **options: Any) -> Any:
        from driving import until

        from gentool.tui.app import GentoolApp

        app = GentoolApp(root, **options)

        async def run() -> None:
            async with app.run_test(size=size, notifications=True) as pilot:
                await until(pilot, lambda: app.store.whole)
                await pilot.pause()
                await play(app, pilot)

        asyncio.run(run())
        return app

    return call
