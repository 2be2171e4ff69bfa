"""Real processes, started fast: a server that has imported everything forks a child for each command line.

A child is a process like any other (own session, own files); it can be signalled and killed. Only the seconds
of importing torch are saved, so that hundreds of kills fit into minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = """
import json, os, signal, sys
import torch
torch.set_num_threads(1)
import gentool.cli, gentool.cli.train, gentool.cli.resume, gentool.cli.progress
import gentool.training.session, gentool.runs.reader, gentool.show.grid, gentool.show.terminal, gentool.scoring
import sklearn.datasets, pydantic, safetensors.torch, tomlkit, tqdm
from gentool.cli import run

def child(order):
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(os.open(order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["gentool", *order["argv"]]
    code = 1
    try:
        code = run(order["argv"])
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                pass
        os._exit(code)

for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "start":
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            child(order)
        print(json.dumps(pid), flush=True)
    elif order["do"] == "poll":
        pid, status = os.waitpid(order["pid"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
"""


@dataclass
class Child:
    """One command in flight."""

    nursery: Nursery
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self.nursery.ask(do="poll", pid=self.pid)
        return self.code

    def wait(self, timeout: float = 120) -> int:
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                self.kill()
                raise TimeoutError(f"still running after {timeout} s: {self.err.read_text()[-500:]}")
            time.sleep(0.005)
        assert self.code is not None
        return self.code

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9; its exit code is then -9."""
        self.signal(signal.SIGKILL)
        self.wait()


class Nursery:
    """``with Nursery(cwd) as nursery: nursery.start("train", "tiny")``"""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.count = 0
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        env.pop("GENTOOL_DEBUG", None)
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=cwd
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.kill()
        self.server.wait()

    def ask(self, **order: Any) -> Any:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, *argv: str) -> Child:
        self.count += 1
        out, err = self.cwd / f"out-{self.count}", self.cwd / f"err-{self.count}"
        pid = self.ask(do="start", argv=[str(a) for a in argv], cwd=str(self.cwd), out=str(out), err=str(err))
        return Child(self, pid, out, err)

    def run(self, *argv: str) -> Child:
        child = self.start(*argv)
        child.wait()
        return child
