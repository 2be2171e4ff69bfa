"""SIGKILL, or a full disk, before every file-changing system call of a run's saves, by strace on a real process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import FAMILY, assert_same, finished, only_run, points
from nursery import Nursery

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

STRACE = ("strace", "-f", "--seccomp-bpf", "-qq")
CALLS = "write,pwrite64,fsync,ftruncate,rename,mkdir,unlink,unlinkat,rmdir"
RUN = (
    "train",
    "tiny",
    "--plugin",
    str(FAMILY),
    "--steps",
    "4",
    "--set",
    "checkpoint.every=2",
    "--set",
    "checkpoint.keep=1",
)
QUIET = ("--set", "preview.n=0", "--quiet")


@dataclass
class Ended:
    """A traced run that has ended: -9 is a SIGKILL."""

    code: int
    err: str


def traced(nursery: Nursery, root: str, *options: str) -> tuple[Ended, str]:
    """The run under strace (by a seccomp filter, so that only the calls asked for cost time), and what strace saw."""
    log = nursery.cwd / f"strace-{root}"
    done = subprocess.run(
        [*STRACE, "-o", str(log), *options, sys.executable, "-m", "gentool", *RUN, *QUIET, "--runs", root],
        cwd=nursery.cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if not log.exists() or "PTRACE" in done.stderr:
        pytest.skip("strace may not trace here")
    return Ended(done.returncode, done.stderr), log.read_text()


@pytest.fixture(scope="module")
def whole(nursery: Nursery) -> tuple[Any, Counter[str]]:
    """What the undisturbed run ended with, and how often it makes each file-changing call."""
    child, log = traced(nursery, "whole", "-e", f"trace={CALLS}")
    assert child.code == 0, child.err
    first = log.split(maxsplit=1)[0]  # the main thread: strace counts each call, in each thread, by itself
    made = Counter(re.findall(rf"^{first} +(\w+)\(", log, re.M))
    assert sum(made.values()) > 40
    return finished(only_run(nursery.cwd / "whole")), made


def chosen(made: Counter[str], calls: str, share: int) -> list[tuple[str, int]]:
    """(call, its number): all of them, or evenly spread ones where fewer are wanted."""
    every = [(call, number) for call in calls.split(",") for number in range(1, made[call] + 1)]
    wanted = len(every) if points(100) >= 100 else min(len(every), max(2, points(100) * share // 100))
    return [every[round(i * (len(every) - 1) / max(1, wanted - 1))] for i in range(wanted)]


def test_killed_before_every_file_changing_call(nursery: Nursery, whole: tuple[Any, Counter[str]]) -> None:
    expected, made = whole
    for call, number in chosen(made, CALLS, 100):
        root = f"kill-{call}-{number}"
        child, _ = traced(nursery, root, "-e", f"trace={CALLS}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        mend(nursery, root, child, expected, f"killed before {call} {number}")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_failing_disk_at_every_call(nursery: Nursery, whole: tuple[Any, Counter[str]], error: str) -> None:
    """Exit code 1 and one sentence (or the call did not matter); then the run goes on from what stands."""
    expected, made = whole
    calls = "write,pwrite64,fsync,rename,mkdir"
    for call, number in chosen(made, calls, 50 if error == "ENOSPC" else 25):
        root = f"{error}-{call}-{number}"
        child, _ = traced(nursery, root, "-e", f"trace={calls}", "-e", f"inject={call}:error={error}:when={number}")
        assert child.code in (0, 1, 2), (call, number, child.err)
        assert "Traceback" not in child.err
        mend(nursery, root, child, expected, f"{error} at {call} {number}")


def mend(nursery: Nursery, root: str, child: Ended, expected: Any, what: str) -> None:
    configs = list(nursery.cwd.glob(f"{root}/*/config.toml"))
    if not configs:
        return  # it ended before there was a run
    again = nursery.run("resume", str(configs[0].parent), "--plugin", str(FAMILY), "--quiet")
    text = again.err.read_text()
    assert again.code == 0 or (again.code == 2 and "is complete" in text), (what, text)
    assert_same(configs[0].parent, expected)
    shutil.rmtree(nursery.cwd / root)


def test_a_full_disk_for_real(nursery: Nursery, tmp_path: Path, whole: tuple[Any, Counter[str]]) -> None:
    """A file system of 200 kB: training stops with one sentence, and goes on when there is room."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(mount)], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        child = nursery.run(
            *RUN[:4],
            "--steps",
            "400",
            "--set",
            "checkpoint.every=2",
            "--set",
            "checkpoint.keep=50",
            *QUIET,
            "--runs",
            str(mount / "r"),
        )
        text = child.err.read_text()
        assert child.code == 1, text
        assert "No space left" in text
        assert len(text.strip().splitlines()) == 1
        subprocess.run(["mount", "-o", "remount,size=4m", str(mount)], check=True)
        again = nursery.run("resume", str(only_run(mount / "r")), "--plugin", str(FAMILY), "--steps", "60", "--quiet")
        assert again.code == 0, again.err.read_text()
    finally:
        subprocess.run(["umount", str(mount)], check=True)
