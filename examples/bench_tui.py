"""What the terminal application takes with thousands of runs, measured on the real thing in a pseudo-terminal.

    python examples/bench_tui.py [--runs 2000] [--lines 5000] [--keep FOLDER]

Prints the time to the first screen, the memory, how long a key takes to be answered while four runs are being written,
and how long a log of 100,000 steps takes to open, cold and from its index.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import ClassVar

WRITER = """
import json, os, sys, time
from pathlib import Path
from gentool.runs.folder import MetricsLog, RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
folder.begin()
log = MetricsLog(folder.path / "metrics.jsonl")
step = int(sys.argv[2])
while True:
    step += 1
    log.write({"step": step, "t": step / 100, "model/loss": 1 / step, "lr/model": 0.001})
    if step % 100 == 0:
        folder.update(sync=False, step=step)
    time.sleep(0.01)
"""


def make_runs(root: Path, count: int, lines: int) -> None:
    """Run folders as the trainer leaves them, each with a log of its own on disk."""
    random.seed(0)
    logs = []
    for kind in range(8):
        rows = []
        for step in range(1, lines + 1):
            loss = 2.0 / (1 + step / 300) + 0.1 * random.random() + kind / 10
            rows.append(json.dumps({"step": step, "t": step / 50, "model/loss": loss, "lr/model": 0.001}))
        logs.append("\n".join(rows).encode() + b"\n")
    now = time.time()
    config = '[model]\nname = "vae"\n[train]\nsteps = 5000  # --set\n[optim.model]\nlr = 0.001\n'
    for i in range(count):
        model = ("vae", "gan", "charlm", "vqvae")[i % 4]
        path = root / f"2026-{1 + i % 12:02d}-{1 + i % 28:02d}_{model}_{i:04x}"
        (path / "checkpoints").mkdir(parents=True)
        (path / "samples").mkdir()
        status = ("done", "done", "failed", "interrupted")[i // 4 % 4]
        facts = {"version": 1, "id": path.name, "model": model, "data": "digits", "preset": "", "loss": "elbo",
                 "status": status, "reason": "", "step": lines, "total_steps": lines, "seconds": lines / 50,
                 "created": now - 60 * i, "updated": now, "host": "bench", "pid": 1, "best": None, "facts": {},
                 "versions": {"gentool": "0.1.0", "torch": "2.13.0"}, "argv": ["train", model]}  # fmt: skip
        (path / "run.json").write_text(json.dumps(facts, indent=1))
        (path / "config.toml").write_text(config)
        (path / "log.txt").write_text("2026-11-20 10:00:00 started\n")
        (path / "metrics.jsonl").write_bytes(logs[i % len(logs)])


class Terminal:
    """`gentool tui` in a pseudo-terminal of 120 by 40."""

    every: ClassVar[list[Terminal]] = []

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gentool", "tui", str(root)],
            stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True, close_fds=True,
        )  # fmt: skip
        os.close(slave)
        Terminal.every.append(self)
        self.master = master
        self.seen = ""

    def read(self, seconds: float) -> str:
        """What comes within a time; "" for nothing."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return ""
        text = os.read(self.master, 1 << 16).decode("utf-8", "replace")
        self.seen += text
        return text

    def wait_for(self, pattern: str, seconds: float = 20) -> float:
        """Seconds until that text has come."""
        start = time.perf_counter()
        shown = ""
        while time.perf_counter() - start < seconds:
            shown += self.read(0.5)
            if re.search(pattern, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)):
                return time.perf_counter() - start
        raise SystemExit(f"'{pattern}' never came; the end of what did: {shown[-500:]!r}")

    def quiet(self, seconds: float = 0.3) -> None:
        while self.read(seconds):
            pass

    def key(self, key: str, *, limit: float = 2.0) -> tuple[float, float]:
        """Seconds from a key to the first thing drawn after it, by the clock and on a core."""
        while self.read(0.0):
            pass
        start, spent = time.perf_counter(), self.cpu(main=True)
        os.write(self.master, key.encode())
        self.read(limit)
        return time.perf_counter() - start, self.cpu(main=True) - spent

    def memory(self, name: str = "VmHWM") -> float:
        """MB, as the kernel counts them."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", text).group(1)) / 1024  # type: ignore[union-attr]

    def cpu(self, *, main: bool = False) -> float:
        """Seconds on a core so far, of all threads or of the one that draws: what an idle machine would take."""
        tasks = [self.process.pid] if main else os.listdir(f"/proc/{self.process.pid}/task")
        texts = [Path(f"/proc/{self.process.pid}/task/{task}/schedstat").read_text() for task in tasks]
        return sum(int(text.split()[0]) for text in texts) / 1e9

    def end(self) -> None:
        os.write(self.master, b"\x11")
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


def said(what: str, values: list[tuple[float, float]], limit: float) -> None:
    """A line of figures: by the clock (which counts what else the machine does) and on a core."""
    parts = [what.ljust(34)]
    for name, times in zip(("clock", "core"), zip(*values, strict=True), strict=True):
        ordered = sorted(times)
        at = [ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)], ordered[-1]]
        parts.append(f"{name} " + " ".join(f"{value * 1e3:5.0f}" for value in at))
    print("  ".join(parts) + f"  ms: median, 95%, most (asked {limit * 1e3:.0f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--keep", type=Path, help="a folder to make the runs in, and to use again")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="bench-tui-"))
    root = given.keep or home / "runs"
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_CACHE_HOME": str(home / "cache"),
           "XDG_STATE_HOME": str(home / "state")}  # fmt: skip
    env.pop("NO_COLOR", None)
    writers: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started here ends with it
    try:
        if not root.exists():
            make_runs(root, given.runs, given.lines)
        size = sum(p.stat().st_size for p in root.glob("*/metrics.jsonl")) / 1e6
        print(f"{len(list(root.iterdir())):,} runs, {size:,.0f} MB of logs; load {os.getloadavg()[0]:.1f}")

        first = []
        for _ in range(5):
            terminal = Terminal(root, env)
            terminal.wait_for(r"[0-9a-f]{4}\s+. (done|failed|interrupted)")
            first.append((time.perf_counter() - terminal.begun, terminal.cpu()))
            at_first = terminal.memory("VmRSS")
            terminal.wait_for(rf"{given.runs:,} runs in")
            terminal.quiet()
            terminal.end()
        said("first screen", first, 1.0)
        print(f"{'memory at the first screen':44} {at_first:6.0f} MB  (asked 200)")

        terminal = Terminal(root, env)
        terminal.wait_for(rf"{given.runs:,} runs in")
        terminal.quiet()
        print(f"{'idle, nothing running':34}  {idle(terminal):5.1f} % of a core  (asked 2)", flush=True)
        names = sorted(path.name for path in root.iterdir())[:4]
        for name in names:
            writers.append(
                subprocess.Popen([sys.executable, "-c", WRITER, str(root / name), str(given.lines)], env=env)
            )
        terminal.wait_for("4 running")
        time.sleep(1.0)
        terminal.quiet(0.0)
        print(f"{'idle, four runs being written':34}  {idle(terminal):5.1f} % of a core  (asked 5)", flush=True)
        said("a key, four runs being written", [_paced(terminal, "j") for _ in range(100)], 0.05)
        said("a page down", [_paced(terminal, "\x1b[6~") for _ in range(40)], 0.05)
        os.write(terminal.master, b"g/")
        time.sleep(0.5)
        said("a letter of a filter", [_paced(terminal, letter) for letter in "model:gan status:done"], 0.05)
        os.write(terminal.master, b"\x1b")
        time.sleep(0.3)
        print(f"{'memory with every run read':44} {terminal.memory():6.0f} MB  (asked 200)")
        terminal.end()

        from gentool.runs.metrics import read_metrics

        big = home / "big" / "2026-11-20_gan_0001"
        big.mkdir(parents=True)
        shutil.copy(root / names[0] / "run.json", big / "run.json")
        with (big / "metrics.jsonl").open("w") as file:
            for step in range(1, 100_001):
                file.write(json.dumps({"step": step, "t": step / 15, "discriminator/loss": 1 + random.random(),
                    "discriminator/real": random.random(), "discriminator/fake": random.random(), "lr/discriminator": 1e-3,
                    "generator/loss": 3 + random.random(), "lr/generator": 1e-3}) + "\n")  # fmt: skip
        megabytes = (big / "metrics.jsonl").stat().st_size / 1e6
        start = time.perf_counter()
        rows = len(read_metrics(big, thin=1600).rows)
        print(
            f"a log of 100,000 steps, {megabytes:.0f} MB, thinned to {rows:,} rows: {time.perf_counter() - start:.2f} s"
        )
        for kind in ("without an index", "from its index"):
            terminal = Terminal(home / "big", env)
            terminal.wait_for("gan_0001|20_gan")
            terminal.quiet()
            start = time.perf_counter()
            os.write(terminal.master, b"m")
            terminal.wait_for("discriminator/loss")
            terminal.wait_for("[⠀-⣿]{4}")
            print(f"{'its metrics, ' + kind:44} {time.perf_counter() - start:6.2f} s  (asked 0.5)")
            time.sleep(2.5)
            terminal.quiet()
            terminal.end()
    finally:
        for terminal in Terminal.every:
            terminal.process.kill()
            terminal.process.wait()
        for writer in writers:
            writer.send_signal(signal.SIGTERM)
            writer.wait()
        shutil.rmtree(home, ignore_errors=True)


def idle(terminal: Terminal, seconds: float = 15) -> float:
    """Per cent of a core that it takes while nobody touches it."""
    before, start = terminal.cpu(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        terminal.read(0.5)
    return 100 * (terminal.cpu() - before) / (time.perf_counter() - start)


def _paced(terminal: Terminal, key: str) -> tuple[float, float]:
    """One key, some time after the one before, as a hand would."""
    time.sleep(random.uniform(0.05, 0.15))
    return terminal.key(key)


if __name__ == "__main__":
    main()
