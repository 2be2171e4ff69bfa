"""Objectives that carry a state from step to step: kept in checkpoints, put aside while validating."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from gentool.config import Layer, resolve
from gentool.randomness import Step
from gentool.runs import checkpoint
from gentool.training import session
from gentool.training.trainer import Hooks

FAMILY = Path(__file__).parent / "tiny_sequences.py"
# The text is so short that rows come to its end, and begin anew, within twelve steps.
SHORT = {"data.limit": 400, "validation.every": 4, "validation.examples": 40}


@pytest.fixture(autouse=True)
def tiny() -> None:
    from gentool.registry import use_plugin_files

    use_plugin_files([FAMILY])


def go(made: Any, folder: Any, found: Any, stop_at: int | None = None) -> Path:
    def on_step(step: int, values: dict[str, float]) -> None:
        if step == stop_at and "model/loss" in values:  # not the validation of that step
            os.kill(os.getpid(), signal.SIGINT)

    with session.opened(folder):
        trainer = session.trainer(made, folder, Hooks(on_step=on_step))
        trainer.load(found) if found else trainer.begin()
        trainer.fit()
    path: Path = folder.path
    return path


def run(root: Path, stop_at: int | None = None, **changes: Any) -> Path:
    made = session.plan(resolve("tiny-text", [Layer("--set", {**SHORT, **changes})]))
    return go(made, session.begin(made, root, None, None), None, stop_at)


def final(path: Path) -> dict[str, bytes]:
    found = checkpoint.newest(path / "checkpoints")
    assert found is not None
    parts = {part: found.tensors(part) for part in ("model", "optimizer", "ema")}
    assert "objective/h" in parts["optimizer"]
    return {f"{part}/{key}": t.numpy().tobytes() for part, tensors in parts.items() for key, t in tensors.items()}


@pytest.mark.parametrize(
    ("stop", "changes"),
    [*((stop, {}) for stop in range(1, 12)), (5, {"train.accumulate": 3}), (7, {"data.tokens": "bpe"})],
)
def test_resume_is_bitwise_in_mid_stream(tmp_path: Path, stop: int, changes: dict[str, Any]) -> None:
    whole = run(tmp_path / "a", **changes)
    part = run(tmp_path / "b", stop_at=stop, **changes)
    assert checkpoint.steps(part / "checkpoints")[-1] == stop
    made, folder, found = session.reopen(part, None, {})
    go(made, folder, found)
    assert final(whole) == final(part)


def test_a_lost_state_would_be_noticed(tmp_path: Path) -> None:
    """The oracle of the test above: without the carried state the resumed run is another one."""
    whole = run(tmp_path / "a")
    part = run(tmp_path / "b", stop_at=5)
    made, folder, found = session.reopen(part, None, {})
    with session.opened(folder):
        trainer = session.trainer(made, folder, Hooks())
        trainer.load(found)
        trainer._put_back({})
        trainer.fit()
    assert final(whole) != final(part)


def test_validation_neither_sees_nor_changes_what_is_carried(tmp_path: Path) -> None:
    made = session.plan(resolve("tiny-text", [Layer("x", SHORT)]))
    trainer = session.trainer(made, session.begin(made, tmp_path, None, None), Hooks())
    trainer.begin()
    from gentool.runs.folder import MetricsLog

    trainer.log = MetricsLog(tmp_path / "metrics.jsonl", keep=0)
    figures: list[dict[str, float]] = []
    trainer.hooks.on_step = lambda step, values: figures.append(values)
    trainer._validate(0)
    trainer.objective.restore({"h": torch.full((4, 8), 0.5)})  # type: ignore[attr-defined]
    trainer._validate(0)
    trainer.log.close()
    assert figures[0] == figures[1]
    assert torch.equal(trainer.objective.carry()["h"], torch.full((4, 8), 0.5))  # type: ignore[attr-defined]


def test_the_validation_figure_is_the_mean_over_all_tokens(tmp_path: Path) -> None:
    """Against one pass over each stream of the whole split, in float64."""
    changes = {**SHORT, "data.window": 7, "validation.examples": 1000, "train.precision": "fp32"}
    made = session.plan(resolve("tiny-text", [Layer("x", changes)]))
    trainer = session.trainer(made, session.begin(made, tmp_path, None, None), Hooks())
    trainer.begin()
    from gentool.runs.folder import MetricsLog

    trainer.log = MetricsLog(tmp_path / "metrics.jsonl", keep=0)
    figures: dict[str, float] = {}
    trainer.hooks.on_step = lambda step, values: figures.update(values)
    trainer._validate(0)
    trainer.log.close()
    ids = made.pipeline.split("validation").ids.long()
    total, rows = min(len(ids) - 1, 7000), 16
    length = -(-total // rows)
    model = made.model.double().eval()
    nats = 0.0
    for row in range(rows):
        part = ids[row * length : min((row + 1) * length, total) + 1]
        logits, _ = model.advance(part[None, :-1], None)  # type: ignore[operator]
        nats += float(torch.nn.functional.cross_entropy(logits[0], part[1:], reduction="sum"))
    assert figures["validation/model/nats"] == pytest.approx(nats / total, rel=1e-5)


def test_accumulation_picks_each_rows_own_state() -> None:
    """Two halves of a batch carry what the whole would."""
    made = session.plan(resolve("tiny-text", [Layer("x", {**SHORT, "model.dropout": 0.0})]))
    from gentool.registry import registry

    states = []
    for parts in (1, 2):
        objective = registry().load(made.config.loss_spec.factory)(None)
        for step in range(3):
            for part in made.pipeline.train_batch(step, 4).chunk(parts):
                list(objective(made.model, part, Step(seed=0, index=step)))
        states.append(objective.carry()["h"])
    torch.testing.assert_close(*states)
