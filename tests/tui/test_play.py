"""Playing with models: every stage and key of it, a model that misbehaves, and torch never in this process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import imp_family as imp
import numpy as np
import pytest
from driving import text_of, until

from gentool.tui.player.draw import DrawStage
from gentool.tui.player.latent import LatentStage
from gentool.tui.player.player import Player
from gentool.tui.screens.play import PlayerPage, PlayPage, Source, shipped_sources
from gentool.tui.widgets.fields import Choice, FieldRow
from gentool.tui.widgets.grid import Grid
from gentool.tui.widgets.slider import Slider

PLUGIN = Path(imp.__file__)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imp")
    (folder / "plain.safetensors").write_bytes(imp.checkpoint())
    (folder / "classes.safetensors").write_bytes(imp.checkpoint(("a", "\x1b[31mb", "[b]c")))
    return folder


@pytest.fixture(autouse=True)
def the_imp(monkeypatch: pytest.MonkeyPatch) -> None:
    """The misbehaving family, known here and (by its file) in the worker."""
    from gentool.registry import use_plugin_files

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    use_plugin_files([PLUGIN])


async def playing(app: Any, pilot: Any, *fields: tuple[str, Any]) -> Player:
    app.push_screen(PlayerPage(Source("x", "model", "which", "", fields)))
    await until(pilot, lambda: app.screen.query(Player))
    player = app.screen.query_one(Player)
    await until(pilot, lambda: player.mode or app.screen.query_one("#trouble").display, 60)
    return player


async def quiet(pilot: Any, player: Player) -> None:
    """Wait until the model was asked for something and has answered."""
    await pilot.pause(0.05)
    await until(pilot, lambda: not player.busy, 60)
    await pilot.pause()


def row(stage: Any, name: str) -> FieldRow:
    return next(one for one in stage.query(FieldRow) if one.setting.key == name)


def test_what_can_be_played_with(drive: Any, tmp_path: Path) -> None:
    assert {source.model for source in shipped_sources()} >= {"gan", "vae", "pixelcnn", "vqvae", "charlm", "seq2seq"}

    async def play(app: Any, pilot: Any) -> None:
        await pilot.press("3")
        assert isinstance(app.screen, PlayPage)
        for words in ("vae", "pixelcnn", "mnist", "tinyshakespeare"):
            assert words in text_of(app)
        await pilot.press("j", "j", "r")
        await pilot.pause()
        lines = text_of(app).splitlines()
        assert "⏎ Play" in lines[-1]
        about = app.screen.query_one(Grid).row.about
        assert about in " ".join(line.strip() for line in lines[-4:-1])  # whole, where the column has no room
        assert not any("…" in line for line in lines)
        await pilot.press("enter")
        assert isinstance(app.screen, PlayerPage)
        assert not app.worker.alive or app.worker.pid
        await pilot.press("escape")
        assert isinstance(app.screen, PlayPage)

    drive(tmp_path, play, size=(80, 50))


def test_leaving_while_the_model_is_at_work(drive: Any, tmp_path: Path) -> None:
    """What is said once the page's widgets are gone is said to nobody, and ends nothing."""
    late: list[bool] = []

    async def play(app: Any, pilot: Any) -> None:
        app.push_screen(PlayerPage(Source("x", "model", "which", "", (("source", "nowhere"),))))
        await until(pilot, lambda: app.screen.query(Player))
        player = app.screen.query_one(Player)

        async def work() -> None:
            while len(player.children):
                await asyncio.sleep(0)
            late.append(player.is_attached)
            player.say("Drawing…")
            player.query_one("#state")

        player.attempt(work(), "draw")
        await pilot.press("escape")

    drive(tmp_path, play)
    assert late


def test_drawing_and_the_latent_space(drive: Any, tmp_path: Path, files: Path) -> None:
    """One worker for both, since starting torch takes seconds."""

    async def play(app: Any, pilot: Any) -> None:
        player = await playing(app, pilot, ("source", str(files / "classes.safetensors")))
        await quiet(pilot, player)
        await drawing(app, pilot, player)
        await from_pictures(app, pilot, player)
        await latent(app, pilot, player)
        await misbehaving(app, pilot, player)

    drive(tmp_path, play, size=(120, 40))


async def drawing(app: Any, pilot: Any, player: Player) -> None:
    stage = player.query_one(DrawStage)
    look = stage.query_one("#look")
    assert len(look.album) == 16
    first = look.album.pixels
    assert app.focused is look
    await pilot.press("r")
    await quiet(pilot, player)
    assert row(stage, "seed").value == 1
    assert not np.array_equal(look.album.pixels, first)

    await pilot.press("s")  # to the settings: n is the first
    assert app.focused is row(stage, "n").editor
    await pilot.press("up", "enter")
    await quiet(pilot, player)
    assert len(look.album) == 17
    await pilot.press("end", "x")
    assert row(stage, "n").problem
    assert "whole number" in text_of(app)
    await pilot.press("enter")
    assert len(look.album) == 17  # nothing is drawn with a wrong field
    await pilot.press("backspace", "tab", "tab")
    choice = app.focused
    assert isinstance(choice, Choice)
    await pilot.press("right", "right")
    assert row(stage, "class").value == 1
    assert r"\x1b[31mb" in text_of(app)
    await pilot.press("escape", "d")
    await quiet(pilot, player)
    assert look.album.pixels[:, 0, 0, 0].min() >= 0

    row(stage, "steps").set(200)
    row(stage, "pause").set(0.02)
    await pilot.press("d")
    await until(pilot, lambda: player.busy and player._share)
    early = look.album.pixels.astype(int).copy()
    await until(pilot, lambda: np.abs(look.album.pixels.astype(int) - early).sum() > 0)  # painted as it goes
    await pilot.press("escape")
    await until(pilot, lambda: not player.busy)
    assert "Stopped." in text_of(app)
    row(stage, "pause").set(0.0)
    await pilot.press("shift+tab", "tab")
    assert app.focused is look
    await pilot.press("s", "escape")
    assert app.focused is look


async def from_pictures(app: Any, pilot: Any, player: Player) -> None:
    """Another sampler of the same model starts from pictures: it asks for one before it asks the model."""
    stage = player.query_one(DrawStage)
    path, look = stage.query_one("#path"), stage.query_one("#look")
    assert not path.display
    before = look.album
    chosen = row(stage, "sampler")
    chosen.editor.focus()
    await pilot.press("right")
    await until(pilot, lambda: path.display)
    assert not row(stage, "n").display
    assert row(stage, "seed").display
    await pilot.press("escape", "d")
    assert "Which picture? Type its path." in text_of(app)
    assert app.focused is path
    assert not player.busy
    assert look.album is before
    await pilot.press(*"no.png", "enter")
    await quiet(pilot, player)
    assert "no.png" in text_of(app).splitlines()[1]  # that there is none, said by the model's process
    chosen.editor.focus()
    await pilot.press("left", "escape")
    await until(pilot, lambda: not path.display and row(stage, "n").display)
    look.focus()


async def latent(app: Any, pilot: Any, player: Player) -> None:
    await pilot.press("m")
    await until(pilot, lambda: player.mode == "latent")
    stage = player.query_one(LatentStage)
    await until(pilot, lambda: len(stage.query(Slider)) == 3, 30)
    many, one = stage.query_one("#many"), stage.query_one("#one")
    assert len(many.album) == 12
    assert np.array_equal(one.album.pixels[0], many.album.pixels[0])
    many.focus()
    await pilot.press("right")
    assert np.array_equal(one.album.pixels[0], many.album.pixels[1])
    slider = stage.query_one("#z2", Slider)
    assert slider.value == pytest.approx(float(stage.z[1, 2]))

    slider.focus()
    for _ in range(12):  # many moves at once: the picture ends where the slider does
        await pilot.press("right")
    await until(pilot, lambda: stage.seconds)
    await quiet(pilot, player)
    expected = round((np.tanh(slider.value) + 1) * 127.5)
    assert abs(int(one.album.pixels[0, -1, 0, 0]) - expected) <= 1
    assert len(stage.seconds) <= 13
    await pilot.press("0")
    await quiet(pilot, player)
    assert slider.value == pytest.approx(float(stage.z[1, 2]), abs=0.051)
    await pilot.press("z")
    await quiet(pilot, player)
    assert np.abs(one.album.pixels[0, 2:].astype(int) - 128).max() <= 1

    many.focus()
    await pilot.press("i")
    assert "Mark two pictures first" in text_of(app)
    await pilot.press("home", "a", "right", "right", "b")
    ends = many.album.pixels[[0, 2]]
    assert many.marks == {0: "A", 2: "B"}
    await pilot.press("i")
    await until(pilot, lambda: len(many.album) == 16)
    assert np.abs(many.album.pixels[[0, -1], 2:].astype(int) - ends[:, 2:]).max() <= 1  # the class is A's
    await until(pilot, lambda: many.chosen > 1)  # it walks by itself
    await pilot.press("space")
    here = many.chosen
    await pilot.pause(0.3)
    assert many.chosen == here
    await pilot.press("space", "r")
    await until(pilot, lambda: len(many.album) == 12)
    await pilot.press("e")
    assert "turns no picture" in text_of(app)


async def misbehaving(app: Any, pilot: Any, player: Player) -> None:
    await pilot.press("M")
    await until(pilot, lambda: player.mode == "draw")
    stage = player.query_one(DrawStage)
    for deed, words in (("memory", "not enough memory"), ("raise", r"ZeroDivisionError: [bold]\x1b[31mno"),
                        ("refuse", "It does not want to."), ("kill", "was killed")):  # fmt: skip
        row(stage, "deed").set(deed)
        await pilot.press("d")
        await until(pilot, lambda w=words: w in text_of(app), 20)
        assert "\x1b" not in text_of(app)
    assert not app.worker.alive
    row(stage, "deed").set("paint")
    await pilot.press("d")  # starts a new one
    await until(pilot, lambda: app.worker.alive and not player.busy and "seed" in text_of(app), 60)
    await pilot.press("ctrl+k")
    await until(pilot, lambda: not app.worker.alive)
    assert "was ended" in text_of(app)


@pytest.mark.slow
def test_a_model_that_cannot_be_opened(drive: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"\x1b[2J")

    async def play(app: Any, pilot: Any) -> None:
        await playing(app, pilot, ("source", str(tmp_path / "broken.safetensors")))
        assert "not a safetensors file" in text_of(app)
        assert "ctrl+o tries again" in text_of(app)
        await pilot.press("m", "d", "ctrl+k", "escape")
        assert len(app.screen_stack) == 1

    drive(tmp_path, play)


@pytest.mark.slow
def test_words_stream_and_attention_is_seen(drive: Any, tmp_path: Path) -> None:
    async def play(app: Any, pilot: Any) -> None:
        player = await playing(app, pilot, ("source", "charlm"), ("pretrained", True))
        stage = player.query_one(DrawStage)
        await quiet(pilot, player)
        row(stage, "length").set(40)
        await pilot.press("i", *"To be", "enter")
        await quiet(pilot, player)
        assert stage.text.startswith("To be")
        assert len(stage.text) == 45
        assert "To be" in text_of(app)
        await pilot.press("escape", "c")
        assert "Copied" in str([n.message for n in app._notifications])
        await pilot.press("escape")

        player = await playing(app, pilot, ("source", "seq2seq"), ("pretrained", True))
        await quiet(pilot, player)
        await pilot.press("i", *"nine", "enter")
        await quiet(pilot, player)
        assert "neun" in text_of(app)
        await pilot.press("escape", "m")
        await until(pilot, lambda: player.mode == "look")
        look = player.stages["look"]
        while look.view.name != "attention":
            await pilot.press("n")
        await until(pilot, lambda: [r for r in look.query(FieldRow) if r.setting.key == "prompt"])
        row(look, "prompt").set("nine")
        await pilot.press("d")
        await until(pilot, lambda: look.query_one("#maps").display, 30)
        assert "neun" in text_of(app)
        assert "nine" in text_of(app)

    drive(tmp_path, play, size=(100, 30))


def test_torch_is_not_imported_by_any_screen_of_it(tmp_path: Path) -> None:
    import subprocess

    script = """
import asyncio, sys
from pathlib import Path
from gentool.tui.app import GentoolApp

async def main():
    app = GentoolApp(Path(sys.argv[1]))
    async with app.run_test(size=(80, 24)) as pilot:
        from gentool.tui.places import TABS
        for place in TABS:
            app.action_tab(place.name)
            await pilot.pause()
        from gentool.tui.screens.play import PlayerPage, shipped_sources
        app.push_screen(PlayerPage(shipped_sources()[0]))
        await pilot.pause(0.2)
    print([name for name in ("torch", "plotext", "sklearn") if name in sys.modules])

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]
