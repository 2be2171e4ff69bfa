"""The frame: help from the bindings, the palette, themes, leaving, and what is remembered."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from driving import text_of, until
from runs_on_disk import make

from gentool.tui.places import PANES, TABS
from gentool.tui.screens.help import HelpScreen, key_groups
from gentool.tui.screens.runs import RunsPage
from gentool.tui.state import load_state, state_file
from gentool.tui.theme import THEMES, default_theme


@pytest.fixture
def home(tmp_path):
    for i in range(3):
        rows = [{"step": s, "t": s / 10, "model/loss": 1 / s} for s in range(1, 30)]
        make(tmp_path, f"2026-11-0{i + 1}_vae_000{i}", rows, created=float(i))
    return tmp_path


def test_help_is_made_from_the_bindings(drive, home):
    async def play(app, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        said = dict(app.screen.groups)
        assert set(said) == {"Table", "Runs", "Everywhere"}
        every = {about for rows in said.values() for _, about in rows}
        for node in (RunsPage, type(app)):
            for found in node.BINDINGS:
                assert not found.description or found.description in every
        assert "Filter" in text_of(app)
        await pilot.press("j", "k", "escape")
        assert isinstance(app.screen, RunsPage)
        await pilot.press("f1")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("q")
        assert list(key_groups(app.screen))

    drive(home, play, size=(100, 50))


def test_the_palette_does_what_keys_do(drive, home):
    async def play(app, pilot):
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert {"Go to Models", "Filter", "Pin", "Theme", "Quit"} <= set(titles)
        await pilot.press("colon")
        await until(pilot, lambda: "Search for commands" in text_of(app))
        await pilot.press(*"go to models")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "models")

    drive(home, play)


def test_every_tab_and_pane_opens(drive, home):
    async def play(app, pilot):
        for number, place in enumerate(TABS, 1):
            await pilot.press(str(number))
            await pilot.pause()
            assert app.current_mode == place.name
            assert place.title in text_of(app)
        app.action_tab("runs")
        await pilot.pause()
        for place in PANES:
            app.open_run(app.screen.grid.row, place.name)
            await pilot.pause(0.1)
            assert place.title in text_of(app)
            await pilot.press("h") if place.name != "samples" else await pilot.press("q")
            await pilot.pause()
            while len(app.screen_stack) > 1:
                app.pop_screen()

    drive(home, play)


def test_themes(drive, home):
    async def play(app, pilot):
        await pilot.press("j", "m")
        for theme in [*(made.name for made in THEMES), "nord", "textual-light", "ansi-light"]:
            app.theme = theme
            await pilot.pause()
            assert "vae_000" in text_of(app)
            await until(pilot, lambda: any("⠀" < c <= "⣿" for c in text_of(app)))

    drive(home, play)


def test_the_theme_is_remembered(drive, home):
    async def play(app, pilot):
        await pilot.press("ctrl+t")
        assert app.theme == "gentool-light"

    drive(home, play)
    assert load_state() == {"theme": "gentool-light"}

    async def again(app, pilot):
        assert app.theme == "gentool-light"

    drive(home, again)
    state_file().write_text("{torn")
    assert load_state() == {}


def test_without_colours(drive, home, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def play(app, pilot):
        await pilot.pause()
        segments = [segment for strip in app.screen._compositor.render_strips(app.size) for segment in strip]
        styles = [segment.style for segment in segments if segment.style]
        colors = {style.color.name for style in styles if style.color} | {
            style.bgcolor.name for style in styles if style.bgcolor
        }
        assert colors <= {"default"}
        assert any(style.reverse for style in styles)  # where the cursor is

    drive(home, play)


@pytest.mark.parametrize(
    ("env", "theme"),
    [
        ({"TERM": "xterm-256color"}, "gentool-dark"),
        ({"TERM": "linux"}, "gentool-16"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "gentool-dark"),
        ({"TERM": "xterm-256color", "COLORFGBG": "0;15"}, "gentool-light"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "gentool-16"),
        ({}, "gentool-16"),
    ],
)
def test_the_theme_follows_the_environment(env, theme):
    assert default_theme(env) == theme


def test_leaving(drive, home):
    async def play(app, pilot):
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("q")
        assert app.is_running
        await pilot.press("q")
        await pilot.pause()

    app = drive(home, play)
    assert app.return_code == 0


def test_a_broken_screen_harms_no_other(drive, home, monkeypatch):
    from gentool.tui.places import Place

    load = Place.load
    monkeypatch.setattr(Place, "load", lambda self: 1 / 0 if self.name == "models" else load(self))

    async def play(app, pilot):
        before = app.screen
        app.action_tab("models")
        await pilot.pause()
        assert app.screen is before
        await until(pilot, lambda: "Models cannot be opened" in text_of(app))

    drive(home, play)


def test_what_stays_is_left_to_no_collector_once_every_run_is_read(drive, home, monkeypatch):
    import gentool.tui.app as module

    frozen = []
    monkeypatch.setattr(module, "gc", type("Gc", (), {"freeze": lambda: frozen.append(1)}))

    async def play(app, pilot):
        await until(pilot, lambda: app.store.whole)
        app._pass_on(set(), False)
        assert not frozen  # not in a test's process, which goes on to other things
        monkeypatch.setattr(type(app), "is_headless", False)
        for whole in (False, True, True):
            app.store.whole = whole
            app._pass_on(set(), False)
            assert len(frozen) == whole

    drive(home, play)


LIGHT = """
import asyncio, json, sys
from pathlib import Path
from gentool.cli import VERBS
import gentool.cli.tui
from gentool.tui.store import RunStore
from gentool.tui.app import GentoolApp
seen = {}
async def main():
    app = GentoolApp(Path(sys.argv[1]))
    async with app.run_test() as pilot:
        await pilot.pause(0.3)
        seen["text"] = "\\n".join(strip.text for strip in app.screen._compositor.render_strips(app.size))
        seen["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
asyncio.run(main())
print(json.dumps(seen))
"""


def test_the_first_screen_imports_nothing_heavy(home):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(home)], capture_output=True, text=True, check=True, timeout=60
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert "vae_0002" in seen["text"]
    assert not {"torch", "numpy", "PIL", "plotext", "sklearn", "scipy", "pydantic"} & set(seen["modules"])


def test_the_command_line(cli, tmp_path):
    assert "needs a terminal" in cli("tui").err
    (tmp_path / "file").write_text("")
    assert cli("tui", "file").code == 2
    assert "not a folder" in cli("tui", "file").err
    make(tmp_path, "a_run")
    assert "name the folder it lies in" in cli("tui", "a_run").err
    assert "Browse runs" in cli("tui", "--help").out
