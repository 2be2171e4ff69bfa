"""The real thing in tmux: keys in, the screen captured, while a real training writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


class Tmux:
    """One server of its own, one window of 100 by 30."""

    def __init__(self, command: str, env: dict[str, str]) -> None:
        self.socket = f"gentool-test-{uuid.uuid4().hex[:8]}"
        self.env = {**os.environ, **env}
        for name in ("TMUX", "COLUMNS", "LINES"):  # the window's own count, not those of pytest's workers
            self.env.pop(name, None)
        self("new-session", "-d", "-x", "100", "-y", "30", command)

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self.socket, "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            env=self.env,
            check=True,
        )
        return done.stdout

    def screen(self) -> str:
        return self("capture-pane", "-p")

    def keys(self, *keys: str) -> None:
        for key in keys:
            self("send-keys", key)
            time.sleep(0.1)

    def wait_for(self, *texts: str, seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            shown = self.screen()
            if all(text in shown for text in texts):
                return shown
            time.sleep(0.1)
        raise AssertionError(f"{texts} never came:\n{self.screen()}")

    def end(self) -> None:
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True, env=self.env, check=False)


@pytest.fixture
def env(tmp_path):
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1",
            "GENTOOL_DEBUG": "1"}  # fmt: skip


def test_a_training_is_followed(tmp_path, env):
    runs = tmp_path / "runs"
    words = ["train", "gan", "--steps", "100000", "--set", "preview.every=20", "--set", "checkpoint.every=100", "-q"]
    training = subprocess.Popen(
        [sys.executable, "-m", "gentool", *words, "--runs", str(runs)],
        env={**os.environ, **env},
        stderr=subprocess.DEVNULL,
    )
    tmux = Tmux(f"{sys.executable} -m gentool tui {runs}; echo left with $?; sleep 60", env)
    try:
        shown = tmux.wait_for("● running", "1 running", "gan", "▁")
        assert "step" not in shown.split("\n")[0]
        tmux.keys("m")
        tmux.wait_for("discriminator/loss", "generator/loss")
        first = tmux.wait_for("step ", "LAST")
        deadline = time.monotonic() + 60
        while tmux.screen().split("\n")[0] == first.split("\n")[0]:  # the step at the top goes on by itself
            assert time.monotonic() < deadline, tmux.screen()
            time.sleep(0.2)
        assert any("⠀" < c <= "⣿" for c in tmux.screen())
        tmux("resize-window", "-x", "80", "-y", "24")
        shown = tmux.wait_for("discriminator/", "SERIES")
        assert len(shown.rstrip("\n").split("\n")) <= 24
        tmux.keys("3")
        tmux.wait_for("▄▄▄")  # pictures in half cells
        tmux.keys("1")
        tmux.wait_for("gentool train gan --steps 100000")
        tmux.keys("q", "/")
        tmux.keys(*"model:vae")
        tmux.wait_for("No run passes this filter")
        tmux.keys("Escape")
        training.kill()
        training.wait()
        tmux.wait_for("† crashed")
        tmux.keys("q")
        tmux.wait_for("left with 0")
        assert "Traceback" not in tmux("capture-pane", "-p", "-S", "-200")
    finally:
        training.kill()
        training.wait()
        tmux.end()


def test_ctrl_q_and_a_dead_terminal(tmp_path, env):
    tmux = Tmux(f"{sys.executable} -m gentool tui {tmp_path}; echo left with $?; sleep 60", env)
    try:
        tmux.wait_for("No run in", "gentool train vae")
        tmux.keys("?")
        tmux.wait_for("Runs", "Filter", "Sort the other way")
        tmux.keys("Escape", "C-q")
        tmux.wait_for("left with 0")
    finally:
        tmux.end()
    before = set(Path("/proc").glob("[0-9]*"))
    tmux = Tmux(f"exec {sys.executable} -m gentool tui {tmp_path}", env)
    try:
        tmux.wait_for("No run in")
        pid = int(tmux("display-message", "-p", "#{pane_pid}"))
        assert Path(f"/proc/{pid}") not in before
        tmux("kill-session")
        end = time.monotonic() + 15
        while Path(f"/proc/{pid}").exists() and b"gentool" in (Path(f"/proc/{pid}/cmdline").read_bytes() or b""):
            assert time.monotonic() < end, "it lives on without a terminal"
            time.sleep(0.1)
    finally:
        tmux.end()


def test_a_terminal_that_goes_without_a_signal(tmp_path, env):
    """Its process is of another session than the terminal, so that no SIGHUP comes: it has to see that by itself."""
    import pty
    import select

    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gentool", "tui", str(tmp_path)], stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, **env, "TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    try:
        os.close(slave)
        seen = b""
        end = time.monotonic() + 60
        while b"No run" not in seen and time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                seen += os.read(master, 65536)
        assert b"No run" in seen
        os.close(master)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
