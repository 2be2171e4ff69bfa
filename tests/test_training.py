"""The loop: alternation, budgets, EMA, NaN, accumulation, and resume bit for bit."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gentool.config import Layer, resolve
from gentool.errors import GentoolError, UsageError
from gentool.randomness import Step, derive_seed
from gentool.runs import checkpoint
from gentool.runs.folder import RunFolder
from gentool.settings import Optim, Schedule
from gentool.training import schedule, session
from gentool.training.optimisers import Ema, PhaseOptimiser
from gentool.training.trainer import Diverged, Hooks

FAMILY = Path(__file__).parent / "tiny_family.py"
DETECTOR = Path(__file__).parent / "tiny_boxes.py"


@pytest.fixture(autouse=True)
def tiny() -> None:
    from gentool.registry import use_plugin_files

    use_plugin_files([FAMILY, DETECTOR])


def run(root: Path, stop_at: int | None = None, model: str = "tiny", **changes: Any) -> tuple[str, Path, nn.Module]:
    """Train a tiny model under `root`; stop_at: interrupt as Ctrl-C would after that step."""
    config = resolve(model, [Layer("--set", {k.replace("__", "."): v for k, v in changes.items()})])
    made = session.plan(config)
    folder = session.begin(made, root, None, None)
    return go(made, folder, None, stop_at)


def go(made: Any, folder: RunFolder, found: Any, stop_at: int | None = None) -> tuple[str, Path, nn.Module]:
    import os
    import signal

    def on_step(step: int, values: dict[str, float]) -> None:
        if step == stop_at and not any(key.startswith("validation/") for key in values):
            os.kill(os.getpid(), signal.SIGINT)

    with session.opened(folder):
        trainer = session.trainer(made, folder, Hooks(on_step=on_step))
        trainer.load(found) if found else trainer.begin()
        outcome = trainer.fit()
        folder.update(status=outcome)
    return outcome, folder.path, trainer.model


def resume(path: Path, steps: int | None = None) -> tuple[str, Path, nn.Module]:
    made, folder, found = session.reopen(path, steps, {})
    return go(made, folder, found)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def final(path: Path) -> dict[str, bytes]:
    found = checkpoint.newest(path / "checkpoints")
    assert found is not None
    return {
        f"{part}/{k}": v.numpy().tobytes()
        for part in ("model", "optimizer", "ema")
        for k, v in found.tensors(part).items()
    }


@pytest.mark.parametrize("stop", range(1, 12))
def test_resume_is_bitwise_at_every_step(tmp_path: Path, stop: int) -> None:
    _, whole, _ = run(tmp_path / "a")
    outcome, part, _ = run(tmp_path / "b", stop_at=stop)
    assert outcome == "interrupted"
    assert checkpoint.steps(part / "checkpoints")[-1] == stop
    resume(part)
    assert final(whole) == final(part)
    strip = [{k: v for k, v in line.items() if k != "t"} for line in lines(whole)]
    assert strip == [{k: v for k, v in line.items() if k != "t"} for line in lines(part)]


def test_resume_is_bitwise_from_an_older_checkpoint_with_a_longer_log(tmp_path: Path) -> None:
    """As after kill -9: the newest checkpoint is behind the log, whose last line is torn."""
    _, whole, _ = run(tmp_path / "a")
    _, part, _ = run(tmp_path / "b", checkpoint__keep=100)
    for step in (6, 9, 12):
        shutil.rmtree(part / "checkpoints" / f"{step:06d}")
    with (part / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "cri')
    resume(part)
    assert final(whole) == final(part)
    assert [line["step"] for line in lines(part)] == [line["step"] for line in lines(whole)]


@pytest.mark.parametrize(
    "changes",
    [
        {"optim.critic.name": "sgd", "optim.critic.momentum": 0.9},
        {"optim.critic.name": "rmsprop", "optim.generator.name": "adam"},
        {"train.accumulate": 3, "train.clip": 0.5},
        {"schedule.name": "cosine", "schedule.warmup": 3},
        {"train.ema": 0.0},
    ],
)
def test_resume_is_bitwise_with_other_settings(tmp_path: Path, changes: dict[str, Any]) -> None:
    _, whole, _ = run(tmp_path / "a", **changes)
    _, part, _ = run(tmp_path / "b", stop_at=5, **changes)
    resume(part)
    assert final(whole) == final(part)


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_of_a_detector_is_bitwise(tmp_path: Path, workers: int) -> None:
    """In the middle of an epoch of pictures that are cut, scaled and recoloured, and with another number of workers."""
    drawn = {"data.limit": 10, "data.jitter": 1.5, "data.crop": 0.5, "data.colour": 0.3, "data.flip": "both"}
    changes = {**drawn, "train.steps": 7, "preview.n": 0, "validation.examples": 4}
    _, whole, _ = run(tmp_path / "a", model="tiny-boxes", **changes)
    _, part, _ = run(tmp_path / "b", stop_at=4, model="tiny-boxes", **changes)
    made, folder, found = session.reopen(part, None, {"data.workers": workers})
    go(made, folder, found)
    assert final(whole) == final(part)


def test_phases_alternate_and_update_only_their_own_module(tmp_path: Path) -> None:
    config = resolve("tiny", [Layer("x", {"optim.critic.lr": 0.0, "train.ema": 0.0})])
    made = session.plan(config)
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    _, _, model = go(made, session.begin(made, tmp_path, None, None), None)
    after = model.state_dict()
    for key in before:
        moved = not torch.equal(before[key], after[key])
        assert moved == key.startswith("generator"), key


def test_the_optimiser_agrees_with_torch_used_by_hand() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = PhaseOptimiser("model", ours, Optim(name="adamw", lr=0.01, weight_decay=0.1))
    other = torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.1)
    for _ in range(5):
        x = torch.randn(8, 4)
        mine.backward(ours(x).square().mean())
        mine.set_rate(0.01)
        norm = mine.step(clip=0.1)
        theirs(x).square().mean().backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        other.step()
        other.zero_grad()
        assert norm is not None
        torch.testing.assert_close(norm, expected)
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    """Without noise, dropout and batch norm of their own: the mean over micro-batches is the mean over the batch."""
    from gentool.training.phases import Phase

    class Fit:
        def __call__(self, model: Any, batch: Any, step: Step) -> Iterator[Phase]:
            yield Phase("critic", model.critic(batch.images.flatten(1)).square().mean())

    weights = []
    for parts in (1, 4):
        changes = {"train.accumulate": parts, "model.dropout": 0.0, "train.batch_size": 16, "train.precision": "fp32"}
        config = resolve("tiny", [Layer("x", changes)])
        made = session.plan(config)
        folder = session.begin(made, tmp_path, None, None)
        trainer = session.trainer(made, folder, Hooks())
        trainer.objective = trainer.step_compute = Fit()
        for step in range(3):
            trainer.one_step(step)
        weights.append(torch.cat([p.flatten() for p in made.model.parameters()]).detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"phase 'critic' became nan at step 8; the checkpoint of step 6"):
        run(tmp_path, **{"loss.poison_at": 7})
    path = next(tmp_path.iterdir())
    meta = json.loads((path / "run.json").read_text())
    assert meta["status"] == "failed"
    assert "nan" in meta["reason"]
    found = checkpoint.newest(path / "checkpoints")
    assert found is not None
    assert found.step == 6
    assert all(torch.isfinite(t).all() for t in found.tensors("model").values() if t.is_floating_point())


def test_a_budget_of_minutes_ends(tmp_path: Path) -> None:
    outcome, path, _ = run(tmp_path, **{"train.steps": 0, "train.minutes": 0.01, "checkpoint.every": 1000})
    assert outcome == "done"
    assert lines(path)[-1]["t"] >= 0.6
    assert checkpoint.steps(path / "checkpoints")[-1] == lines(path)[-1]["step"]


def test_cpu_time_adds_up_over_resumes(tmp_path: Path) -> None:
    _, path, _ = run(tmp_path, stop_at=4)

    def spent() -> Any:
        found = checkpoint.newest(path / "checkpoints")
        assert found is not None
        assert json.loads((path / "run.json").read_text())["cpu_seconds"] >= round(found.state["cpu_seconds"], 3)
        return found.state["cpu_seconds"]

    before = spent()
    assert before > 0
    resume(path)
    assert spent() > before


def test_cpu_time_of_a_run_that_began_untimed_stays_unknown(tmp_path: Path) -> None:
    _, path, _ = run(tmp_path, stop_at=4)
    made, folder, found = session.reopen(path, None, {})
    assert found is not None
    del found.state["cpu_seconds"]
    go(made, folder, found)
    assert json.loads((path / "run.json").read_text())["cpu_seconds"] is None


def test_a_run_needs_a_budget() -> None:
    with pytest.raises(UsageError, match="budget"):
        session.plan(resolve("tiny", [Layer("x", {"train.steps": 0})]))


def test_ema_is_the_recursion_it_says() -> None:
    net = nn.Linear(2, 1)
    ema = Ema(net, 0.9)
    expected = net.weight.detach().double().clone()
    for step in range(40):
        with torch.no_grad():
            net.weight += 1
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net.weight.detach().double()
    torch.testing.assert_close(ema.state(net)["weight"].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "step", "progress", "expected"),
    [
        ("constant", 0, 0.0, 0.25),
        ("constant", 3, 0.5, 1.0),
        ("cosine", 100, 0.5, 0.1 + 0.9 * 0.5),
        ("cosine", 100, 1.0, 0.1),
        ("cosine", 0, 0.0, 0.25),
    ],
)
def test_schedules(name: Any, step: int, progress: float, expected: float) -> None:
    assert math.isclose(schedule.factor(Schedule(name=name, warmup=4, final=0.1), step, progress), expected)


def test_randomness_is_a_pure_function() -> None:
    step = Step(seed=3, index=7)
    assert torch.equal(step.noise(2, 3), Step(seed=3, index=7).noise(2, 3))
    assert not torch.equal(step.noise(2, 3), step.at(8).noise(2, 3))
    assert not torch.equal(step.noise(2, 3), step.noise(2, 3, purpose="other"))
    assert not torch.equal(step.noise(2, 3), Step(seed=3, index=7, rank=1).noise(2, 3))
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert derive_seed(1, "2") != derive_seed(1, 2)


def test_validation_decides_the_best(tmp_path: Path) -> None:
    config = resolve(
        "vae", [Layer("x", {"train.steps": 6, "validation.every": 2, "checkpoint.every": 6, "preview.n": 0})]
    )
    made = session.plan(config)
    _, path, _ = go(made, session.begin(made, tmp_path, None, None), None)
    watched = {line["step"]: line for line in lines(path) if any(k.startswith("validation/") for k in line)}
    assert sorted(watched) == [2, 4, 6]
    found = checkpoint.newest(path / "checkpoints")
    assert found is not None
    best = found.state["best"]
    assert best["value"] == min(line[best["name"]] for line in watched.values())
    assert best["step"] in checkpoint.steps(path / "checkpoints")


def test_previews_do_not_disturb_training(tmp_path: Path) -> None:
    from gentool.cli.progress import preview

    digests = []
    for every in (0, 2):
        config = resolve("tiny", [Layer("x", {"preview.n": 4 if every else 0, "preview.every": every})])
        made = session.plan(config)
        folder = session.begin(made, tmp_path, None, None)
        with session.opened(folder):
            hooks = Hooks()
            trainer = session.trainer(made, folder, hooks)
            hooks.preview = lambda step, t=trainer, m=made: preview(m, t, step)  # type: ignore[assignment,misc]
            trainer.begin()
            trainer.fit()
        digests.append(session.weights_digest(made.model))
        assert len(list((folder.path / "samples").iterdir())) == (6 if every else 0)
    assert digests[0] == digests[1]


def test_two_writers_are_one_too_many(tmp_path: Path, gentool_process: Callable[..., Any]) -> None:
    _, path, _ = run(tmp_path)
    from gentool.runs.lock import RunLock

    with RunLock(path):
        result = gentool_process("resume", str(path), "--plugin", str(FAMILY), "--steps", "20")
    assert result.code == 2
    assert "another process" in result.err
    assert len(result.err.strip().splitlines()) == 1


class Cramped:
    """An objective on a device that holds `most` examples; from step `since` on."""

    def __init__(self, inner: Any, most: int, since: int = 0) -> None:
        self.inner, self.most, self.since = inner, most, since

    def __call__(self, model: Any, batch: Any, step: Step) -> Iterator[Any]:
        if len(batch) > self.most and step.index >= self.since:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        yield from self.inner(model, batch, step)


def test_out_of_memory_halves_the_micro_batches(tmp_path: Path) -> None:
    """As if the parts had been asked for, and a resumed run goes on with them."""
    _, asked, _ = run(tmp_path / "a", **{"train.accumulate": 4, "train.batch_size": 16})
    config = resolve("tiny", [Layer("x", {"train.batch_size": 16})])
    made = session.plan(config)
    folder = session.begin(made, tmp_path / "b", None, None)
    said: list[str] = []
    trainer = session.trainer(made, folder, Hooks(notice=said.append))
    trainer.objective = trainer.step_compute = Cramped(trainer.objective, 5)
    trainer.begin()
    assert trainer.fit() == "done"
    assert final(asked) == final(folder.path)
    assert ["2 parts" in text or "4 parts" in text for text in said] == [True, True]
    again, _, found = session.reopen(folder.path, 20, {})
    resumed = session.trainer(again, folder, Hooks())
    resumed.load(found)
    assert resumed.progress.accumulate == 4


def test_out_of_memory_that_cannot_be_helped_says_so(tmp_path: Path) -> None:
    made = session.plan(resolve("tiny", [Layer("x", {"train.batch_size": 16})]))
    folder = session.begin(made, tmp_path, None, None)
    trainer = session.trainer(made, folder, Hooks())
    trainer.objective = trainer.step_compute = Cramped(trainer.objective, 0, since=3)
    trainer.begin()
    with pytest.raises(GentoolError, match="out of memory at step 3, with 16 examples in 16 parts; try a smaller"):
        trainer.fit()
