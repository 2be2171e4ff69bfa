"""Runs beside each other, and the registry."""

from __future__ import annotations

import pytest
from driving import text_of, until
from runs_on_disk import make

from gentool.registry import Plugin, registry
from gentool.tui.follow import clip_metric
from gentool.tui.screens import models as models_screen
from gentool.tui.screens.compare import ComparePage, difference_rows
from gentool.tui.screens.models import ModelsPage
from gentool.tui.screens.runs import RunsPage


@pytest.fixture
def home(tmp_path):
    for i, (lr, extra) in enumerate([("0.001", ""), ("0.01", "[loss]\nbeta = 4\n")]):
        rows = [{"step": s, "t": s / 10, "model/loss": (i + 1) / s, "lr/model": 0.1} for s in range(1, 30)]
        config = f'[model]\nname = "vae"\n[optim.model]\nlr = {lr}\n{extra}'
        path = make(tmp_path, f"2026-11-0{i + 1}_vae_000{i}", rows, config, created=float(i), parameters=100 + i)
        (path / "samples").mkdir()
        for step in (10, 20 + i):
            (path / "samples" / f"{step:06d}.txt").write_text(f"text {i} at {step}")
    return tmp_path


def test_long_names_leave_room_for_what_stands_beside_them(drive, home):
    name = "2026-11-03_a-name-that-is-longer-than-a-column_0003"
    path = make(home, name, [{"step": 1, "t": 1.0, "a/b": 12345.678}], model="vae", created=9.0)
    (path / "samples").mkdir()
    (path / "samples" / "000020.txt").write_text("text")

    async def play(app, pilot):
        app.open_compare(sorted(app.store.views(), key=lambda view: -view.started)[:2])
        await until(pilot, lambda: app.screen.metric)
        await pilot.press("2")
        lines = [line for line in text_of(app).splitlines() if "━━" in line]
        assert [len(line[:34].split()) for line in lines] == [4, 4], lines  # mark, letter, name, figure
        await pilot.press("3")
        await until(pilot, lambda: "step 20" in text_of(app) and "step 21" in text_of(app))

    drive(home, play, size=(80, 24))


@pytest.mark.parametrize(("name", "width", "shown"), [
    ("discriminator/loss", 18, "discriminator/loss"), ("discriminator/loss", 11, "discr…/loss"),
    ("generator/loss", 11, "gener…/loss"), ("lr/discriminator", 11, "lr/discrim…"), ("a\x1b[2Jlonger", 8, r"a\x1b[2…"),
])  # fmt: skip
def test_names_of_metrics(name, width, shown):
    assert clip_metric(name, width) == shown


def test_compare(drive, home):
    async def play(app, pilot):
        app.open_compare(sorted(app.store.views(), key=lambda view: view.name))
        await pilot.pause()
        page = app.screen
        assert isinstance(page, ComparePage)
        await until(pilot, lambda: "optim.model.lr" in text_of(app))
        shown = text_of(app)
        for text in ("A  vae_0000", "B  vae_0001", "0.001", "0.01", "loss.beta", "Config, where it differs", "101"):
            assert text in shown
        assert "model.name" not in shown
        await pilot.press("2")
        assert (page.metric, len(page.plot.lines)) == ("model/loss", 2)
        assert "━━ A vae_0000" in text_of(app)
        await pilot.press("j")
        await pilot.pause()
        assert page.metric == "lr/model"
        await pilot.press("k", "L", "plus", "x", "comma")
        await pilot.pause()
        assert (page.plot.log_y, page.plot.smooth, page.x) == (True, 1, "t")
        assert "at 0.0 min" in text_of(app)
        await pilot.press("minus", "full_stop")
        assert page.plot.at is None
        await pilot.press("tab")
        await until(pilot, lambda: "text 0 at 20" in text_of(app) and "text 1 at 21" in text_of(app))
        await pilot.press("comma", "comma")
        await until(pilot, lambda: "text 0 at 10" in text_of(app) and "text 1 at 10" in text_of(app))
        await pilot.press("full_stop", "v", "shift+tab")
        assert page.current == "curves"
        await pilot.press("escape")
        assert isinstance(app.screen, RunsPage)

    drive(home, play, size=(120, 40))


def test_keys_that_one_run_lacks_come_last(home):
    from gentool.runs.index import LogIndex
    from gentool.runs.reader import list_runs
    from gentool.tui.follow import Followed

    runs = list_runs(home)[::-1]
    rows = difference_rows(runs, [Followed(LogIndex(run.path)) for run in runs])
    assert [row.name for row in rows if row.kind == "config"] == ["optim.model.lr", "loss.beta"]
    assert next(row.values for row in rows if row.name == "loss.beta") == ("-", "4")


def test_models(drive, home, monkeypatch):
    real = models_screen.entries

    def with_a_broken_one():
        broken = Plugin("torn", "dist [bold]x", "1.0", "broken", ["ImportError: \x1b[31mno[/x] such thing"])
        return [*real(), models_screen.Entry("plugin torn", None, broken)]

    monkeypatch.setattr(models_screen, "entries", with_a_broken_one)

    async def play(app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, ModelsPage) and app.screen.grid.rows)
        names = registry().names("model")
        assert [entry.name for entry in app.screen.grid.rows][: len(names)] == names
        app.screen.grid.go_to("vae")
        await pilot.pause()
        shown = text_of(app)
        for text in ("Kingma", "Checkpoints that ship", "iwae", "gentool train vae --preset mnist"):
            assert text in shown
        await pilot.press("J", "J", "K", "y")
        assert app.clipboard == "gentool train vae"
        await pilot.press("G")
        await pilot.pause()
        assert r"\x1b[31mno[/x] such thing" in text_of(app)
        app.screen.grid.go_to("vae")
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, RunsPage) and len(app.screen.grid.rows) == 2)
        assert "model=vae" in text_of(app)
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, ModelsPage))
        await pilot.resize_terminal(60, 16)
        await pilot.pause()
        assert "vae" in text_of(app)
        app.screen.grid.go_to("ae")
        for width in (80, 120, 200):
            await pilot.resize_terminal(width, 40)
            await until(pilot, lambda: " doi:10.1126/science.1127647" in text_of(app))  # hung, in one piece
            assert "…" not in "".join(text_of(app).splitlines()[1:])
            assert ("whose walks are the samples" in text_of(app)) == (width == 200)

    drive(home, play, size=(140, 50))
