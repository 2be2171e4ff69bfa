"""The table of runs: what it shows, and every key of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time

import pytest
from driving import text_of, until
from runs_on_disk import make

from gentool.runs.files import process_start
from gentool.runs.marks import read_marks
from gentool.tui.screens.compare import ComparePage
from gentool.tui.screens.run import RunPage
from gentool.tui.screens.runs import RunsPage
from gentool.tui.wording import short, short_name


def rows(first, count=40):
    return [{"step": i, "t": i / 10, "model/loss": first / i, "lr/model": 0.1} for i in range(1, count)]


@pytest.fixture
def home(tmp_path):
    make(tmp_path, "2026-11-01_vae_0001", rows(2.0), model="vae", created=1.0)
    make(tmp_path, "2026-11-02_gan_0002", rows(80.0), model="gan", created=2.0, status="failed", step=5)
    best = {"step": 2, "name": "validation/loss", "value": 0.25}
    make(tmp_path, "2026-11-03_gan_0003", rows(4.0), model="gan", created=3.0, status="interrupted", step=7, best=best)
    return tmp_path


def ends(app):
    return "".join(run.name[-1] for run in app.screen.grid.rows)


def test_what_it_shows(drive, home):
    async def play(app, pilot):
        assert isinstance(app.screen, RunsPage)
        await until(pilot, lambda: "█" in text_of(app))  # the sparklines come after the first screen
        shown = text_of(app)
        assert ends(app) == "321"
        for text in ("gan_0003", "‖ interrupted", "✗ failed", "✓ done", "3 runs", "0.25", "7/10"):
            assert text in shown
        await pilot.resize_terminal(320, 30)
        await pilot.pause()
        wide = text_of(app)
        for text in ("2026-11-03_gan_0003", "MODEL", "DATA", "TAGS", "digits"):
            assert text in wide
        await pilot.resize_terminal(120, 30)
        await pilot.pause()
        assert "TAGS" not in text_of(app)  # nobody has one: the names have its room
        await pilot.press("t", *"good", "enter")
        await until(pilot, lambda: "TAGS" in text_of(app))
        assert "good" in text_of(app)

    drive(home, play)


def test_filter_as_you_type(drive, home):
    async def play(app, pilot):
        await pilot.press("slash", *"model:gan")
        await pilot.pause()
        assert ends(app) == "32"
        assert "2 of 3" in text_of(app)
        foot = text_of(app).splitlines()[-1]
        assert "Filter" not in foot
        assert "f1 help" in foot
        await pilot.press("space", *"loss<0.5")
        await until(pilot, lambda: ends(app) == "3")  # every log is read, in a thread
        await pilot.press("enter")
        assert app.focused is app.screen.grid
        await pilot.press("escape")
        await until(pilot, lambda: ends(app) == "321")
        await pilot.press("slash", *"step<")  # not a term yet: left out, and said
        await pilot.pause()
        assert ends(app) == "321"
        assert "takes KEY=VALUE" in text_of(app)
        await pilot.press("escape", "slash", *"nothing-like-it")
        await pilot.pause()
        assert "No run passes this filter" in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert ends(app) == "321"

    drive(home, play)


def test_sort_by_key_and_by_heading(drive, home):
    async def play(app, pilot):
        orders = {}
        for _ in range(7):
            await pilot.press("s")
            await until(pilot, lambda: app.screen.grid.sorted_by.removeprefix("-") == app.screen.sort)
            orders[app.screen.sort] = ends(app)
        assert orders == {
            "id": "123", "status": "123", "model": "321", "step": "132", "loss": "132", "best": "321", "age": "321",
        }  # fmt: skip
        await pilot.press("S")
        await pilot.pause()
        assert ends(app) == "123"
        await pilot.click("#runs", offset=(6, 0))
        await pilot.pause()
        assert (app.screen.sort, ends(app)) == ("id", "123")
        await pilot.click("#runs", offset=(6, 0))
        await pilot.pause()
        assert ends(app) == "321"

    drive(home, play)


def test_moving_marking_pinning_tagging(drive, home):
    async def play(app, pilot):
        grid = app.screen.grid
        for keys, at in (
            ("j", 1),
            ("down", 2),
            ("k", 1),
            ("G", 2),
            ("g", 0),
            ("ctrl+d", 2),
            ("pageup", 0),
            ("end", 2),
            ("home", 0),
        ):
            await pilot.press(keys)
            assert grid.cursor == at, keys
        await pilot.press("space", "space")
        assert list(app.screen.marked) == ["2026-11-03_gan_0003", "2026-11-02_gan_0002"]
        assert "2 selected" in text_of(app)
        await pilot.press("t", *"good base", "enter")
        await pilot.pause()
        assert read_marks(home / "2026-11-02_gan_0002").tags == ("good", "base")
        await pilot.press("t", *["backspace"] * 5, "enter")  # takes the last word away from both
        await pilot.pause()
        assert read_marks(home / "2026-11-03_gan_0003").tags == ("good",)
        await pilot.press("t", *" a/b", "enter")
        await pilot.pause()
        assert read_marks(home / "2026-11-03_gan_0003").tags == ("good",)  # refused in a sentence
        await pilot.press("escape")
        assert not app.screen.marked
        await pilot.press("G", "p")
        await pilot.pause()
        assert ends(app) == "132"  # pinned ones are on top
        assert read_marks(home / "2026-11-01_vae_0001").pinned
        assert "★" in text_of(app)
        await pilot.press("p")
        await pilot.pause()
        assert not (home / "2026-11-01_vae_0001" / "marks.json").exists()
        await pilot.press("ctrl+a")
        assert len(app.screen.marked) == 3
        await pilot.press("y")
        assert app.clipboard.count("\n") == 2
        await pilot.press("ctrl+a", "y")
        assert app.clipboard.startswith(str(home))
        await pilot.press("r")

    drive(home, play)


def test_opening(drive, home):
    async def play(app, pilot):
        await pilot.press("c")
        assert isinstance(app.screen, RunsPage)  # one run is nothing to compare
        await pilot.press("space", "space", "c")
        await pilot.pause()
        assert isinstance(app.screen, ComparePage)
        await pilot.press("escape", "escape", "l")
        await pilot.pause()
        assert isinstance(app.screen, RunPage)
        await pilot.press("h", "m")
        await pilot.pause()
        assert app.screen.current == "metrics"
        await pilot.press("q")
        await pilot.click("#runs", offset=(8, 2))
        assert app.screen.grid.cursor == 1
        await pilot.click("#runs", offset=(8, 2), times=2)
        await pilot.pause()
        assert isinstance(app.screen, RunPage)

    drive(home, play)


def test_it_follows_the_folder(drive, home):
    async def play(app, pilot):
        alive = {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": process_start(os.getpid())}
        path = make(home, "2026-11-04_vae_0004", rows(3.0), model="vae", created=4.0, status="running", **alive)
        app.store.refresh()
        await until(pilot, lambda: ends(app) == "4321")
        assert "1 running" in text_of(app)
        await until(pilot, lambda: app.store.glance(path.name) is not None)
        with (path / "metrics.jsonl").open("a") as log:
            log.write(json.dumps({"step": 41, "model/loss": 123.0}) + "\n")
        app.store.refresh()
        await until(pilot, lambda: app.store.glance(path.name).last["model/loss"] == 123.0)
        facts = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(facts | {"pid": 2**22 - 3, "step": 41}))  # nobody has that number
        app.store.refresh()
        await until(pilot, lambda: "† crashed" in text_of(app))
        assert "41/10" in text_of(app)
        shutil.rmtree(path)
        app.store.refresh()
        await until(pilot, lambda: ends(app) == "321")

    drive(home, play)


def test_empty_and_missing_folders(drive, tmp_path):
    async def play(app, pilot):
        assert "No run in" in text_of(app)
        assert "gentool train vae" in text_of(app)
        await pilot.press("j", "k", "enter", "space", "p", "t", "y", "c", "m")
        make(tmp_path / "later", "2026-11-04_vae_0004", rows(3.0), created=time.time())
        app.store.refresh()
        await until(pilot, lambda: "vae_0004" in text_of(app))

    drive(tmp_path / "later", play)


def test_any_size(drive, home):
    async def play(app, pilot):
        for size in ((20, 5), (60, 16), (80, 24), (81, 24), (200, 60), (300, 8)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            lines = text_of(app).split("\n")
            assert len(lines) == size[1]
            assert all(len(line) <= size[0] for line in lines)
            await pilot.press("j")

    drive(home, play)


def test_counts_and_names():
    assert [short(n) for n in (0, 9999, 10_000, 12_345, 999_999, 1_500_000)] == [
        "0",
        "9999",
        "10k",
        "12.3k",
        "1000k",
        "1.5M",
    ]

    class View:
        name = "2026-11-03_gan_0003"

    assert short_name(View()) == "gan_0003"
