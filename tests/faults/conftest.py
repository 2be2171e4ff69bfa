"""What every fault test shares: a nursery of processes, an undisturbed run to compare with, and how to compare."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nursery import Nursery

FAMILY = Path(__file__).parents[1] / "tiny_family.py"
TINY = (
    "tiny",
    "--plugin",
    str(FAMILY),
    "--steps",
    "16",
    "--set",
    "checkpoint.every=2",
    "--set",
    "preview.n=0",
    "--set",
    "train.precision=fp32",  # not measured anew by every run that is compared
    "--set",
    "train.channels_last=no",
    "--quiet",
)


def points(default: int) -> int:
    """How many faults to try: GENTOOL_FAULTS scales it (CI uses fewer than a release)."""
    return int(os.environ.get("GENTOOL_FAULTS", default))


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("faults")) as made:
        yield made


def only_run(root: Path) -> Path:
    runs = [p for p in root.iterdir() if (p / "config.toml").is_file()]  # one killed before that has nothing to lose
    assert len(runs) == 1, runs
    return runs[0]


def finished(path: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Every tensor of the newest checkpoint as bytes, and the metrics without their times."""
    from gentool.runs import checkpoint

    found = checkpoint.newest(path / "checkpoints")
    assert found is not None
    assert not found.skipped
    tensors = {
        f"{part}/{name}": tensor.numpy().tobytes()
        for part in ("model", "optimizer", "ema")
        for name, tensor in found.tensors(part).items()
    }
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return tensors, [{key: value for key, value in line.items() if key != "t"} for line in lines]


def assert_same(path: Path, whole: tuple[dict[str, bytes], list[dict[str, Any]]]) -> None:
    tensors, lines = finished(path)
    assert tensors.keys() == whole[0].keys()
    for name in tensors:
        assert tensors[name] == whole[0][name], name
    assert lines == whole[1]
    leftovers = [p.name for p in (path / "checkpoints").iterdir() if p.name.startswith(".")]
    assert not leftovers, leftovers
