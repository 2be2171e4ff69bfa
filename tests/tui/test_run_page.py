"""One run: its overview, metrics and log, and every key of them."""

from __future__ import annotations

import json
import shutil

import pytest
from driving import text_of, until
from runs_on_disk import make

from gentool.runs.marks import Marks, write_marks
from gentool.tui.screens.metrics import MetricsPane
from gentool.tui.screens.run import RunPage
from gentool.tui.screens.runs import RunsPage

CONFIG = """
[model]
name = "vae"  # model default
hidden = 512
[train]
steps = 10  # --steps
[optim.model]
lr = 0.001  # preset mnist
"""


def rows(first, count=60):
    return [
        {"step": i, "t": i * 6.0, "model/loss": first / i, "model/kl": 1.0 + i, "lr/model": 0.1}
        | ({"validation/loss": first / i + 0.5} if i % 10 == 0 else {})
        for i in range(1, count)
    ]


@pytest.fixture
def home(tmp_path):
    argv = ["train", "vae", "--name", "a b"]
    path = make(tmp_path, "2026-11-01_vae_0001", rows(2.0), CONFIG, [10], created=1.0, status="interrupted", argv=argv)
    (path / "log.txt").write_text("2026-11-01 10:00:00 started: 5 parameters\n2026-11-01 10:00:09 interrupted\n")
    other = make(tmp_path, "2026-10-01_vae_0002", rows(30.0), CONFIG, created=0.5)
    write_marks(other, Marks((), True))
    return tmp_path


async def opened(app, pilot, pane="overview"):
    app.open_run(app.store.view("2026-11-01_vae_0001"), pane)
    await pilot.pause()
    await until(pilot, lambda: isinstance(app.screen, RunPage) and app.screen.open_pane.is_mounted)
    return app.screen


def test_overview(drive, home):
    async def play(app, pilot):
        page = await opened(app, pilot)
        await until(pilot, lambda: "Commands" in text_of(app))
        shown = text_of(app)
        for text in (
            "‖ interrupted",
            "gentool train vae --name 'a b'",
            "gentool resume",
            "train.steps",
            "--steps",
            "preset mnist",
        ):
            assert text in shown
        assert "model.hidden" not in shown
        export = next(line for line in shown.splitlines() if "gentool runs export" in line)
        assert len(export.rstrip()) > 105  # over the empty column beside it, to the panel's end
        await pilot.press("d")
        await until(pilot, lambda: "model.hidden" in text_of(app))
        grid = page.query_one("#items")
        assert grid.go_to("command resume")
        await pilot.press("enter")
        assert app.clipboard == f"gentool resume {home}/2026-11-01_vae_0001"
        assert grid.go_to("config train.steps")
        await pilot.press("enter")
        assert app.clipboard == "--set train.steps=10"
        await pilot.press("y")
        assert app.clipboard == str(home / "2026-11-01_vae_0001")
        await pilot.press("p")
        assert page.run_view.marks.pinned
        await pilot.press("p")
        assert not page.run_view.marks.pinned
        await pilot.resize_terminal(180, 40)
        await until(pilot, lambda: any("⠀" < c <= "⣿" for c in text_of(app)))  # the loss beside it
        await pilot.press("escape")
        assert isinstance(app.screen, RunsPage)

    drive(home, play, size=(110, 40))


def test_tabs(drive, home):
    async def play(app, pilot):
        page = await opened(app, pilot)
        from gentool.tui.places import PANES

        names = [place.name for place in PANES]
        for number, name in enumerate(names, 1):
            await pilot.press(str(number))
            assert page.current == name
        await pilot.press("right_square_bracket")
        assert page.current == names[0]
        await pilot.press("left_square_bracket")
        assert page.current == names[-1]
        await pilot.click("#top", offset=(text_of(app).split("\n")[0].index("Metrics") + 1, 0))
        await pilot.pause()
        assert page.current == "metrics"

    drive(home, play, size=(120, 40))


def test_metrics(drive, home):
    async def play(app, pilot):
        page = await opened(app, pilot, "metrics")
        pane = page.open_pane
        assert isinstance(pane, MetricsPane)
        await until(pilot, lambda: len(pane.plot.lines) == 4)  # two losses, and those of the pinned run
        shown = text_of(app)
        for text in ("validation/loss", "model/kl", "lr/model", "★ vae_0002"):
            assert text in shown
        await pilot.press("P")
        await until(pilot, lambda: len(pane.plot.lines) == 2)
        assert pane.plot.log_y is False
        await pilot.press("L")
        assert pane.plot.log_y
        assert "log scale" in text_of(app)
        await pilot.press("plus", "plus", "minus")
        assert (pane.smooth, pane.plot.smooth) == (1, 1)
        pane.grid.go_to("\0model/kl")
        await pilot.press("space")
        assert len(pane.plot.lines) == 3
        await pilot.press("enter")
        assert len(pane.plot.lines) == 2
        await pilot.press("o")
        assert [line.curve.name for line in pane.plot.lines] == ["model/kl"]
        await pilot.press("left")
        await pilot.pause()
        assert "AT 59" in text_of(app)
        assert pane._value(pane.grid.row) == 60.0
        await pilot.press(*["left"] * 30)
        assert pane._value(pane.grid.row) < 60.0
        await pilot.press("right", "n")
        await pilot.pause()
        assert "LAST" in text_of(app)
        await pilot.press("x")
        assert pane.plot.lines[0].curve.x[-1] == pytest.approx(5.9)  # minutes
        await pilot.press("Y")
        assert app.clipboard.startswith("step,model/kl\n1,2\n")
        await pilot.hover("#plot", offset=(30, 5))
        await pilot.pause()
        assert pane.plot.at is not None

    drive(home, play, size=(120, 30))


def test_metrics_go_on(drive, home):
    log = home / "2026-11-01_vae_0001" / "metrics.jsonl"

    async def play(app, pilot):
        page = await opened(app, pilot, "metrics")
        pane = page.open_pane
        await until(pilot, lambda: pane.followed.metrics.rows)
        with log.open("a") as file:
            file.write(json.dumps({"step": 77, "model/loss": 55.5}) + '\n{"step": 78, "model/lo')
        await until(pilot, lambda: pane.followed.metrics.last()["step"] == 77)
        await until(pilot, lambda: "55.5" in text_of(app))
        log.write_text(json.dumps({"step": 1, "model/loss": 7.25}) + "\n")  # cut, as a resumed run is
        await until(pilot, lambda: "7.25" in text_of(app))
        log.unlink()
        await until(pilot, lambda: "No metrics yet" in text_of(app))

    drive(home, play)


def test_log(drive, home):
    path = home / "2026-11-01_vae_0001"

    async def play(app, pilot):
        page = await opened(app, pilot, "log")
        await until(pilot, lambda: "started: 5 parameters" in text_of(app))
        with (path / "log.txt").open("a") as file:
            file.writelines(f"2026-11-01 11:00:{i % 60:02d} line {i}\n" for i in range(3000))
        await until(pilot, lambda: "line 2999" in text_of(app))
        await pilot.press("g")
        await pilot.pause()
        assert "line 2999" not in text_of(app)
        (path / "log.txt").unlink()
        await until(pilot, lambda: "Nothing was said" in text_of(app))
        assert page.current == "log"

    drive(home, play)


def test_a_run_removed_while_it_is_open(drive, home):
    async def play(app, pilot):
        page = await opened(app, pilot)
        for name in ("metrics", "samples", "log"):
            page.action_pane(name)
            await pilot.pause()
        shutil.rmtree(home / "2026-11-01_vae_0001")
        app.store.refresh()
        await until(pilot, lambda: page.run_view.status == "damaged")
        for number in "1234":
            await pilot.press(number)
            await pilot.pause(0.1)
        await until(pilot, lambda: "?" in text_of(app).split("\n")[0])
        await pilot.press("p", "escape")
        await until(pilot, lambda: len(app.screen.grid.rows) == 1)

    drive(home, play)
