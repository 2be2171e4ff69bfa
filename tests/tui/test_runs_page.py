"""The table of runs: what it shows, and every key of it."""

from __future__ import annotations

import pytest
from driving import text_of
from runs_on_disk import make

from gentool.tui.screens.runs import RunsPage


@pytest.fixture
def home(tmp_path):
    def rows(first):
        return [{"step": i, "t": i / 10, "model/loss": first / i} for i in range(1, 40)]

    make(tmp_path, "2026-11-01_vae_0001", rows(2.0), model="vae", created=1.0)
    make(tmp_path, "2026-11-02_gan_0002", rows(8.0), model="gan", created=2.0, status="failed")
    make(tmp_path, "2026-11-03_gan_0003", rows(4.0), model="gan", created=3.0, status="interrupted")
    return tmp_path


def test_what_it_shows(drive, home):
    async def play(app, pilot):
        assert isinstance(app.screen, RunsPage)
        assert [run.name[-1] for run in app.screen.grid.rows] == ["3", "2", "1"]
        shown = text_of(app)
        for text in ("gan_0003", "‖ interrupted", "✗ failed", "✓ done", "3 runs in"):
            assert text in shown

    drive(home, play)
