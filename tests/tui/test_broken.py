"""Broken and hostile folders: shown as broken, never a crash, nothing acts on the terminal."""

from __future__ import annotations

import json
import math
import os
import re
import shutil

import pytest
from driving import text_of, until
from runs_on_disk import make

from gentool.evaluating import HeatMap
from gentool.tui.places import PANES
from gentool.tui.screens.samples import SamplesPane
from gentool.tui.store import RunStore

EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J[/x][red]\u202egnp\x9b31m"
NAMES = {
    "2026-11-01_no-json_0001": None,
    "2026-11-02_torn-json_0002": b'{"status": "done", "mod',
    "2026-11-03_list-json_0003": b"[1]",
    "2026-11-04_odd-types_0004": json.dumps(
        {"status": "done", "model": 5, "data": ["x"], "step": "many", "total_steps": 1e400, "created": "then", "best": 3,
         "argv": "rm -rf", "versions": [1], "facts": {"a": {"b": 1}}, "seconds": -1e300, "parameters": "x", "pid": {}}
    ).encode(),
    "2026-11-05_far-dates_0005": json.dumps({"status": "running", "created": 1e18, "heartbeat": -1e18}).encode(),
    "2026-11-06_evil_0006": json.dumps(
        {"status": "failed", "reason": EVIL, "model": EVIL, "data": EVIL, "argv": [EVIL], "device": EVIL, "git": EVIL,
         "versions": {EVIL: EVIL}, "facts": {EVIL: EVIL}, "best": {"name": EVIL, "value": 1.0, "step": 1}}
    ).encode(),
}  # fmt: skip


@pytest.fixture
def home(tmp_path):
    for name, content in NAMES.items():
        path = make(tmp_path, name, [{"step": 1, "a/loss": 1.0}])
        (path / "samples").mkdir()
        if content is None:
            (path / "run.json").unlink()
        else:
            (path / "run.json").write_bytes(content)
    evil = tmp_path / "2026-11-06_evil_0006"
    (evil / "log.txt").write_text(f"2026-11-01 10:00:00 {EVIL}\n{EVIL * 100}\n\x00\n")
    (evil / "config.toml").write_text(f'[model]\nname = "vae"\nevil = {json.dumps(EVIL)}  # {"[/x]"}\n')
    with (evil / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"step": 2, EVIL: 3.0, "[red]x[/]": 1.0, "a/loss": 1e308}) + "\n")
        log.write(json.dumps({"step": 3, "a/loss": None, "t": 1e999}) + "\n" + '{"step": 4, "a/lo')
    (evil / "marks.json").write_text(json.dumps({"tags": [EVIL, "good", 3], "pinned": "yes"}))
    png = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000100000001008020000009091683600")
    (evil / "samples" / "000001.png").write_bytes(png)
    (evil / "samples" / "000002.txt").write_text(EVIL)
    (evil / "samples" / "000003.png").mkdir()
    name = tmp_path / "\x1b[31mred[bold]\u202e"
    make(tmp_path, name.name, [{"step": 1, "a/loss": 1.0}])
    bad = make(tmp_path, "2026-11-07_no-config_0007", [])
    (bad / "config.toml").unlink()
    (bad / "metrics.jsonl").write_bytes(b"\x00" * 5000 + b"\n" + b"[" * 100_000 + b"\n")
    os.mkfifo(bad / "log.txt")
    pipe = make(tmp_path, "2026-11-08_pipes_0008", [])
    for file in ("metrics.jsonl", "config.toml"):
        (pipe / file).unlink()
        os.mkfifo(pipe / file)
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "a-file").write_text("x")
    os.symlink("/", tmp_path / "2026-11-09_link_0009")
    return tmp_path


def harmless(app):
    """Nothing that acts on a terminal is in what is drawn."""
    for strip in app.screen._compositor.render_strips(app.size):
        for segment in strip:
            assert not segment.control
            assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\u2066-\u2069]", segment.text), repr(segment.text)


def test_every_pane_of_every_broken_run(drive, home):
    async def play(app, pilot):
        rows = {run.name: run for run in app.screen.grid.rows}
        assert len(rows) == len(NAMES) + 3
        assert rows["2026-11-02_torn-json_0002"].status == "damaged"
        assert rows["2026-11-06_evil_0006"].marks.tags == ("good",)
        harmless(app)
        shown = text_of(app)
        for text in ("? damaged", "✗ failed", "† crashed"):
            assert text in shown
        for key in ("s", "s", "s", "s", "s", "s", "s", "S"):
            await pilot.press(key)
        for run in list(rows.values()):
            for place in PANES:
                app.open_run(run, place.name)
                await pilot.pause(0.05)
                await pilot.press("space", "j")
                harmless(app)
                while len(app.screen_stack) > 1:
                    app.pop_screen()
                await pilot.pause()
        app.open_compare(list(rows.values())[:4])
        for key in "123":
            await pilot.press(key)
            await pilot.pause(0.1)
            harmless(app)
        assert app._exception is None

    drive(home, play, size=(160, 40))


def test_a_name_with_codes_and_markup_everywhere(drive, home):
    async def play(app, pilot):
        name = next(run.name for run in app.screen.grid.rows if "red" in run.name)
        app.screen.grid.go_to(name)
        await pilot.press("t")
        await pilot.pause()
        harmless(app)
        assert r"\x1b[31mred[bold]" in text_of(app)
        await pilot.press("escape", "y")
        await until(pilot, lambda: "Copied" in text_of(app))
        assert "\x1b" not in app.clipboard
        app.say(EVIL, bad=True)
        await pilot.pause(0.2)
        harmless(app)
        await pilot.press("slash", *"[red]")
        await pilot.pause()
        harmless(app)

    drive(home, play, size=(120, 30))


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no users here")
def test_folders_that_may_not_be_read(tmp_path):
    locked = make(tmp_path, "2026-11-01_vae_0001", [{"step": 1, "a/loss": 1.0}])
    make(tmp_path, "2026-11-02_vae_0002")
    locked.chmod(0)
    root = os.geteuid() == 0
    if root:
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
    try:
        store = RunStore(tmp_path)
        store.scan()
        views = {view.name: view for view in store.views()}
        assert views["2026-11-01_vae_0001"].status == "damaged"
        assert "permission denied" in views["2026-11-01_vae_0001"].reason
        assert views["2026-11-02_vae_0002"].status == "done"
        nothing = RunStore(locked)
        nothing.scan()
        assert nothing.problem == "Permission denied"
    finally:
        if root:
            os.seteuid(0)
        locked.chmod(0o755)


KINDS = ["\x1b[31m[bold red]x", "a'); app.quit('", 'b"]\\', "[-]", "\udcff\udcfe", "[@click=app.quit]q", "x" * 200]


def test_heat_maps_that_mean_harm(drive, tmp_path):
    """Kinds by the names of files, words and numbers in them: shown, clicked on, cut in half, removed while they are seen."""
    run = make(tmp_path, "2026-11-01_vae_0001", [{"step": 1, "t": 1.0}], model="vae", created=1.0)
    (run / "samples").mkdir(exist_ok=True)
    for i, kind in enumerate(KINDS):
        values = [[1e308, -1e308, math.nan]] * 3
        maps = [
            HeatMap("n", values, [kind] * 3, ["\x1b[2J", "", "[b]"], kind, (kind, kind), most).to_json()
            for most in (1e-300, None, 0.0)
        ]
        text = json.dumps({"format": "gentool heat maps 1", "maps": maps})
        (run / "samples" / f"000{i}00-{kind}.json").write_text(text)
        (run / "samples" / f"000{i}50-{kind}.json").write_text(text[: len(text) // 2])

    async def play(app, pilot):
        app.open_run(app.store.views()[0], "samples")
        await until(pilot, lambda: app.screen.query(SamplesPane) and app.screen.open_pane.seen is not None)
        pane = app.screen.open_pane
        assert len(pane.gallery) == len(KINDS)
        shown = 0
        for _ in KINDS:
            for key in ("v", "comma", "right", "enter"):
                await pilot.press(key)
                await pilot.pause(0.02)
                harmless(app)
                shown += bool(pane.seen.maps)
        assert shown
        for x in range(20, 100, 8):
            await pilot.click(pane.query_one("#about"), offset=(x, 0))
        await pilot.resize_terminal(20, 6)
        await pilot.resize_terminal(100, 30)
        shutil.rmtree(run / "samples")
        await until(pilot, lambda: "This run drew nothing." in text_of(app))
        assert app.is_running
        assert app._exception is None

    drive(tmp_path, play, size=(100, 30))
