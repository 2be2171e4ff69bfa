"""Launching: settings and what is wrong with them, the command they make, and runs that are started, stopped and resumed."""

from __future__ import annotations

import os
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from driving import text_of, until
from runs_on_disk import make
from textual.widgets import Input

from gentool.config import Layer, parse_set, resolve
from gentool.errors import UsageError
from gentool.runs import control
from gentool.runs.reader import list_runs, read_run
from gentool.tui.recipe import Recipe
from gentool.tui.screens.launch import LaunchPage


def values(recipe: Recipe) -> dict[str, Any]:
    """What the command line that a recipe makes resolves to."""
    words = recipe.arguments("runs")
    assert words[0] == "train"
    sets, flags = [], {}
    rest = iter(words[2:])
    for word in rest:
        if word == "--set":
            sets.append(next(rest))
        else:
            flags[word] = next(rest)
    keys = {"--data": "data.name", "--loss": "loss.name", "--steps": "train.steps", "--batch-size": "train.batch_size",
            "--minutes": "train.minutes", "--seed": "train.seed", "--device": "train.device"}  # fmt: skip
    given = {keys[flag]: parse_set([f"v={text}"])["v"] for flag, text in flags.items() if flag in keys}
    layers = [Layer("--set", parse_set(sets)), Layer("flags", given)]
    found = resolve(words[1], layers, flags.get("--preset"))
    return {key: entry.value for key, entry in found.values.items()}


@pytest.mark.parametrize("changes", [
    {},
    {"preset": "debug", "train.steps": 7, "model.latent": 3},
    {"loss.name": "beta-vae", "loss.beta": 2.5, "optim.model.lr": 3e-5, "optim.model.betas": (0.5, 0.9)},
    {"data.name": "mnist", "data.dir": "a folder/ü", "model.hidden": (8,), "train.compile": True},
    {"name": "mine", "train.minutes": 0.5, "data.dir": "1e5"},
])  # fmt: skip
def test_the_command_line_says_what_the_settings_say(changes: dict[str, Any]) -> None:
    recipe = Recipe("vae")
    for key, value in changes.items():
        recipe.change(key, value)
        assert not recipe.typed, recipe.typed
    assert values(recipe) == {key: entry.value for key, entry in recipe.resolved.values.items()}
    line = control.command_line(recipe.arguments("runs"))
    assert shlex.split(line) == ["gentool", *recipe.arguments("runs")]
    assert (recipe.arguments("elsewhere")[-2:]) == ["--runs", "elsewhere"]


def test_what_does_not_fit_is_kept_beside_its_reason() -> None:
    recipe = Recipe("vae")
    recipe.change("data.name", "eng-fra")
    assert "needs image" in recipe.typed["data.name"][1]
    assert recipe.resolved.get("data.name") == "digits"
    recipe.change("data.name", "digits")
    assert not recipe.typed
    recipe.change("loss.name", "beta-vae")
    recipe.change("loss.beta", 9.0)
    recipe.change("train.steps", 5)
    recipe.change("model", "gan")  # another model has no beta; how long it trains is kept
    assert (recipe.mine, recipe.typed) == ({"train.steps": 5}, {})
    recipe.reset("train.steps")
    assert recipe.arguments("runs") == ["train", "gan"]
    with pytest.raises(UsageError):
        next(item for item in recipe.items() if item.key == "name").setting.parse("../x")


def test_every_setting_of_every_model_has_a_line() -> None:
    from gentool.registry import registry

    for name in registry().names("model"):
        recipe = Recipe(name)
        lines = {item.key for item in recipe.items() if item.setting is not None}
        assert lines == {*recipe.resolved.values, "model", "preset", "name"} - {"model.name"}
        for item in recipe.items():
            if item.setting is not None and item.setting.kind != "choice" and item.value != "":
                from gentool.tui.widgets.fields import spell

                assert item.setting.parse(spell(item.value)) == item.value


def test_the_page(drive: Any, tmp_path: Path) -> None:
    async def play(app: Any, pilot: Any) -> None:
        app.action_tab("launch")
        await pilot.pause()
        page = app.screen
        assert isinstance(page, LaunchPage)
        grid = page.grid
        await until(pilot, lambda: grid.rows and app.focused is grid)
        assert (page.recipe.model, grid.row.key) == ("vae", "model")
        assert "$ gentool train vae --runs" in text_of(app)
        await pilot.press("j", "right")
        assert page.recipe.preset != "none"
        await pilot.press("left")
        assert page.recipe.preset == "none"
        grid.go_to("model.latent")
        await pilot.press("enter")
        edit = page.query_one("#edit", Input)
        assert app.focused is edit
        await pilot.press("end", "x")
        assert "It has to be a whole number" in text_of(app)
        await pilot.press("enter")
        assert page.recipe.typed
        await pilot.press("S")  # refused while a setting is wrong
        assert not app.launches.all
        assert grid.row.key == "model.latent"
        await pilot.press("enter", "end", "backspace", "enter")
        assert (page.recipe.mine, page.recipe.typed) == ({"model.latent": 16}, {})
        assert "--set model.latent=16" in text_of(app)
        await pilot.press("y")
        assert app.clipboard.startswith("gentool train vae --set model.latent=16 --runs")
        await pilot.press("c")
        assert [item.key for item in grid.rows if item.setting][-1] == "model.latent"
        await pilot.press("c", "slash", *"learning rate")
        await pilot.pause()
        assert [item.key for item in grid.rows if item.setting] == ["optim.model.lr"]
        await pilot.press("enter", "enter", "escape", "slash", "escape")
        assert len([item for item in grid.rows if item.setting]) > 30
        grid.go_to("model.latent")
        await pilot.press("backspace")
        assert page.recipe.mine == {}
        await pilot.press("o")
        assert "Nothing was started from here yet" in text_of(app)
        await pilot.press("g", "k", "k", "left", "right")
        assert page.recipe.model == "vae"

    drive(tmp_path, play, size=(120, 40))


def test_help_stands_beside_the_settings_where_there_is_room_and_below_them_whole(drive: Any, tmp_path: Path) -> None:
    async def play(app: Any, pilot: Any) -> None:
        app.action_tab("launch")
        await pilot.pause()
        page = app.screen
        grid = page.grid
        await until(pilot, lambda: grid.rows and app.focused is grid)
        page.choose_model("sequence")
        grid.go_to("model.task")
        await pilot.pause()
        assert grid.row.key == "model.task"
        shown = text_of(app)
        assert "…" not in shown
        below = " ".join(" ".join(line.split()) for line in shown.splitlines()[grid.size.height :])
        assert f"{grid.row.setting.help} ({grid.row.setting.allowed})" in below
        page.recipe.change("train.steps", -1)
        page._fill()
        grid.go_to("train.steps")
        await pilot.pause()
        assert next(line for line in text_of(app).splitlines() if line.split()[:1] == ["steps"]).split()[-1] == "wrong"
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        assert grid.row.key == "train.steps"
        assert grid.row.problem in text_of(app)

    drive(tmp_path, play, size=(80, 24))


@pytest.mark.slow
def test_a_run_is_started_from_the_page_and_goes_on_by_itself(drive: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    async def play(app: Any, pilot: Any) -> None:
        app.action_tab("launch")
        await pilot.pause()
        page = app.screen
        page.recipe.change("preset", "debug")
        await pilot.press("S")
        (one,) = app.launches.all
        assert (
            os.getsid(one.process.pid) == one.process.pid
        )  # a session of its own: closing a terminal does not reach it
        await until(pilot, lambda: one.code is not None and one.run is not None, 90)
        assert one.code == 0
        assert read_run(one.run).status == "done"
        assert str(one.run) in (one.run / "output.txt").read_text()
        assert not list(tmp_path.glob(".launch-*"))
        await pilot.press("o")
        await pilot.pause()
        assert one.run.name[-8:] in text_of(app)

    drive(tmp_path, play, size=(100, 30))


@pytest.mark.slow
def test_a_command_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    one = control.start(["train", "vae", "--data", "folder:/nowhere/at/\x1b[31mall"], tmp_path)
    deadline = time.monotonic() + 60
    while not one.poll(list_runs(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert one.code == 2
    assert "\x1b" not in one.last_words()
    assert "/nowhere/at/" in one.last_words()
    one.tidy()
    assert list(tmp_path.iterdir()) == []


def test_only_a_living_run_of_this_machine_is_stopped(tmp_path: Path) -> None:
    import socket

    from gentool.runs.files import process_start

    done = make(tmp_path, "2026-11-01_vae_0001", status="done")
    with pytest.raises(UsageError, match="is not running"):
        control.stop(read_run(done))
    away = make(
        tmp_path, "2026-11-01_vae_0002", status="running", host="else\x1bwhere", pid=1234, heartbeat=time.time()
    )
    with pytest.raises(UsageError, match=r"runs on else\\x1bwhere"):
        control.stop(read_run(away))
    mine = {"status": "running", "host": socket.gethostname(), "pid": os.getpid(), "heartbeat": time.time()}
    reused = read_run(make(tmp_path, "2026-11-01_vae_0003", **mine, pid_started=process_start(os.getpid())))
    reused.meta["pid_started"] = 1  # the number belongs to another process by now
    with pytest.raises(UsageError, match="no longer running"):
        control.stop(reused)
    with pytest.raises(UsageError, match="still running"):
        control.resume(reused)
    here = read_run(make(tmp_path, "2026-11-01_vae_0004", **mine, pid_started=process_start(os.getpid())))
    caught = []
    before = signal.signal(signal.SIGINT, lambda *_: caught.append(True))
    try:
        control.stop(here)
        time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [True]


@pytest.mark.slow
def test_stopped_and_resumed_from_the_run_it_ends_as_if_it_had_not(
    drive: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    async def play(app: Any, pilot: Any) -> None:
        words = ["train", "vae", "--steps", "3000", "--runs", str(tmp_path), "--set", "checkpoint.every=1000"]
        one = app.launches.train(words)
        await until(pilot, lambda: one.run is not None and app.store.view(one.run.name) is not None, 60)
        log = one.run / "metrics.jsonl"
        await until(pilot, lambda: log.is_file() and log.stat().st_size > 2000, 60)
        app.open_run(app.store.view(one.run.name), "log")
        await pilot.pause()
        await pilot.press("x")
        assert one.code is None
        await pilot.press("x")
        await until(pilot, lambda: one.code is not None, 60)
        assert one.code == 130
        await until(pilot, lambda: app.store.view(one.run.name).status == "interrupted", 10)
        stopped = read_run(one.run).step
        assert 0 < stopped < 3000
        await pilot.press("R")
        again = app.launches.all[-1]
        await until(pilot, lambda: again.code is not None, 120)
        assert again.code == 0
        assert (read_run(one.run).status, read_run(one.run).step) == ("done", 3000)
        assert f"Resuming {one.run.name} from step {stopped}" in (one.run / "output.txt").read_text()

    drive(tmp_path, play)


def test_from_a_model_to_its_training_and_to_what_ships(drive: Any, tmp_path: Path) -> None:
    from gentool.tui.screens.play import PlayerPage

    async def play(app: Any, pilot: Any) -> None:
        await pilot.press("2")
        await pilot.pause()
        app.screen.grid.go_to("gan")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, LaunchPage) and app.screen.recipe.model == "gan")
        assert "$ gentool train gan" in text_of(app)
        await pilot.press("2")
        app.screen.grid.go_to("ae")
        await pilot.press("p")  # nothing ships for it
        assert not isinstance(app.screen, PlayerPage)
        app.screen.grid.go_to("gan")
        await pilot.press("p")
        assert isinstance(app.screen, PlayerPage)
        assert app.screen.source.model == "gan"

    drive(tmp_path, play)
