"""SIGKILL, or a full disk, before every file-changing system call of a run's saves, by strace on a real process."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import FAMILY, assert_same, finished, only_run, points
from nursery import Child, Nursery

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

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


def traced(nursery: Nursery, root: str, *options: str) -> tuple[Child, str]:
    """The run under strace; gives the child (ended) and what strace saw."""
    child = nursery.start(*RUN, *QUIET, "--runs", root, stopped=True)
    child.wait_stopped()
    log = nursery.cwd / f"strace-{root}"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-y", "-p", str(child.pid), "-o", str(log), *options], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 20
    while "TracerPid:\t0" in Path(f"/proc/{child.pid}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > until:
            child.kill()
            pytest.skip("strace may not attach here")
        time.sleep(0.005)
    child.signal(18)  # SIGCONT
    child.wait()
    tracer.wait(timeout=30)
    return child, log.read_text()


@pytest.fixture(scope="module")
def whole(nursery: Nursery) -> tuple[Any, int]:
    """What the undisturbed run ended with, and how many file-changing calls it makes."""
    child, log = traced(nursery, "whole", "-e", f"trace={CALLS}")
    assert child.code == 0, child.err.read_text()
    count = len(re.findall(r"^\d+ +(?:" + CALLS.replace(",", "|") + r")\(", log, re.M))
    assert count > 40
    return finished(only_run(nursery.cwd / "whole")), count


def chosen(count: int, share: int) -> list[int]:
    """Every call, or evenly spread ones where fewer are wanted."""
    wanted = min(count, max(1, points(100) * share // 100)) if points(100) < 100 else count
    return sorted({1 + round(i * (count - 1) / max(1, wanted - 1)) for i in range(wanted)})


def test_killed_before_every_file_changing_call(nursery: Nursery, whole: tuple[Any, int]) -> None:
    expected, count = whole
    for number in chosen(count, 100):
        root = f"kill-{number}"
        child, _ = traced(nursery, root, "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=SIGKILL:when={number}")
        mend(nursery, root, child, expected, f"killed at call {number}")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_failing_disk_at_every_call(nursery: Nursery, whole: tuple[Any, int], error: str) -> None:
    """Exit code 1 and one sentence (or the call did not matter); then the run goes on from what stands."""
    expected, count = whole
    calls = "write,pwrite64,fsync,rename,mkdir"
    for number in chosen(count, 50 if error == "ENOSPC" else 25):
        root = f"{error}-{number}"
        child, _ = traced(nursery, root, "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={number}")
        assert child.code in (0, 1, 2), (number, child.err.read_text())
        assert "Traceback" not in child.err.read_text()
        mend(nursery, root, child, expected, f"{error} at call {number}")


def mend(nursery: Nursery, root: str, child: Child, expected: Any, what: str) -> None:
    configs = list(nursery.cwd.glob(f"{root}/*/config.toml"))
    if not configs:
        return  # it ended before there was a run
    again = nursery.run("resume", str(configs[0].parent), "--plugin", str(FAMILY), "--quiet")
    text = again.err.read_text()
    assert again.code == 0 or (again.code == 2 and "is complete" in text), (what, text)
    assert_same(configs[0].parent, expected)
    shutil.rmtree(nursery.cwd / root)


def test_a_full_disk_for_real(nursery: Nursery, tmp_path: Path, whole: tuple[Any, int]) -> None:
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
