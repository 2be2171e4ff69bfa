"""kill -9 at random moments, again and again, until the run is done: it ends as the undisturbed run did, bit for bit."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, assert_same, finished, only_run, points
from nursery import Nursery

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def whole(nursery: Nursery) -> tuple[Any, float]:
    """What the undisturbed run ended with, and how long it took."""
    start = time.monotonic()
    child = nursery.run("train", *TINY, "--runs", "whole")
    assert child.code == 0, child.err.read_text()
    return finished(only_run(nursery.cwd / "whole")), time.monotonic() - start


def test_killed_at_random_moments(nursery: Nursery, whole: tuple[Any, float]) -> None:
    """Every kill is one point; a run is killed at most eight times, then left to end, and another one is begun."""
    chance = random.Random(20261121)
    expected, seconds = whole
    wanted, kills, runs = points(100), 0, 0
    while kills < wanted:
        runs += 1
        root = f"killed-{runs}"
        child = nursery.start("train", *TINY, "--runs", root)
        for _ in range(8):
            until = time.monotonic() + chance.uniform(0, 1.1 * seconds)
            while time.monotonic() < until and child.poll() is None:
                time.sleep(0.002)
            if child.poll() is not None:
                break
            child.kill()
            kills += 1
            if not list(nursery.cwd.glob(f"{root}/*/config.toml")):
                break  # killed before there was a run: nothing to lose
            child = nursery.start("resume", _run(nursery, root), "--plugin", TINY[2], "--quiet")
        if not list(nursery.cwd.glob(f"{root}/*/config.toml")):
            continue
        code = child.wait()
        if code == -signal.SIGKILL:
            continue
        assert code in (0, 2), child.err.read_text()
        if code == 2:  # the kill came after the last checkpoint: there was nothing left to do
            assert "is complete" in child.err.read_text()
        assert_same(_run(nursery, root), expected)
    assert kills >= wanted


def _run(nursery: Nursery, root: str) -> Path:
    return only_run(nursery.cwd / root)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_130(nursery: Nursery, whole: tuple[Any, float], number: signal.Signals) -> None:
    root = f"signal-{number.name}"
    child = nursery.start("train", *TINY, "--runs", root, "--steps", "100000")
    while not list(nursery.cwd.glob(f"{root}/*/checkpoints/000004")):
        assert child.poll() is None, child.err.read_text()
        time.sleep(0.005)
    child.signal(number)
    assert child.wait() == 130, child.err.read_text()
    path = _run(nursery, root)
    assert "gentool resume" in child.err.read_text()
    from gentool.runs import checkpoint

    found = checkpoint.newest(path / "checkpoints")
    assert found is not None
    assert found.step == json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])["step"]  # nothing was lost


def test_the_second_trainer_is_refused(nursery: Nursery) -> None:
    first = nursery.start("train", *TINY, "--runs", "two", "--steps", "100000")
    while not list(nursery.cwd.glob("two/*/checkpoints/000002")):
        assert first.poll() is None, first.err.read_text()
        time.sleep(0.005)
    path = _run(nursery, "two")
    second = nursery.run("resume", str(path), "--plugin", TINY[2])
    assert second.code == 2
    assert "another process" in second.err.read_text()
    assert first.poll() is None
    first.signal(signal.SIGTERM)
    assert first.wait() == 130


FAMILIES = ("ae", "vae", "vae-gan", "vqvae", "pixelcnn", "gan", "charlm", "sequence", "seq2seq", "detect", "single-stage",
            "fast-rcnn")  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_resumes_bitwise_after_kills(nursery: Nursery, name: str) -> None:
    """Small nets, real objectives: two optimisers, EMA codebooks, restarts and second stages included."""
    chance = random.Random(name)
    call = (
        "train",
        name,
        "--preset",
        "debug",
        "--steps",
        "10",
        "--set",
        "checkpoint.every=1",
        "--set",
        "preview.n=0",
        # Otherwise measured at the start of each run, and two runs may find otherwise; a resumed one keeps what it had.
        "--set",
        "train.channels_last=no",
        "--set",
        "train.precision=fp32",
        "--quiet",
    )
    if name == "vqvae":
        call += ("--set", "train.ema=0.9")
    start = time.monotonic()
    child = nursery.run(*call, "--runs", f"{name}-whole")
    assert child.code == 0, child.err.read_text()
    seconds = time.monotonic() - start
    expected = finished(_run(nursery, f"{name}-whole"))
    kills = 0
    child = nursery.start(*call, "--runs", f"{name}-killed")
    for _ in range(max(3, points(100) // 15)):
        time.sleep(chance.uniform(0.2, 1.0) * seconds)
        if child.poll() is not None:
            break
        child.kill()
        kills += 1
        if not list(nursery.cwd.glob(f"{name}-killed/*/config.toml")):
            child = nursery.start(*call, "--runs", f"{name}-killed")
            continue
        child = nursery.start("resume", str(_run(nursery, f"{name}-killed")), "--quiet")
    assert child.wait() in (0, 2), child.err.read_text()
    assert_same(_run(nursery, f"{name}-killed"), expected)
