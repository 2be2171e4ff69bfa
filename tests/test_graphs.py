"""Recorded steps: with a recorder that runs the recorded step again, runs are bitwise those of the eager loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gentool import Batch, Like, Phase, Step
from gentool.config import Layer, resolve
from gentool.runs.folder import RunFolder
from gentool.training import session
from gentool.training.graphs import WARMUP, StaticStep, Watch
from gentool.training.trainer import Hooks


class Again:
    """Stands in for CUDA: a graph is the step as it was when it was recorded, run again."""

    def __init__(self) -> None:
        self.recorded = self.replayed = self.warmed = 0

    def warm(self, run: Callable[[], None]) -> None:
        self.warmed += 1
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            run()

        return replay


SMALL = {
    "train.steps": 12,
    "train.batch_size": 8,
    "validation.every": 5,
    "validation.examples": 16,
    "preview.n": 0,
    "schedule.name": "cosine",
    "schedule.warmup": 3,
    "train.clip": 1.0,
    "train.ema": 0.9,
    "train.precision": "fp32",
}


def run(
    root: Path, model: str, recorder: Again | None, objective: Any = None, **changes: Any
) -> tuple[dict[str, bytes], list[dict[str, float]], list[str]]:
    """Everything that training leaves behind, what was logged, and what was said."""
    made = session.plan(resolve(model, [Layer("x", {**SMALL, **changes})], "debug"))
    logged: list[dict[str, float]] = []
    said: list[str] = []
    hooks = Hooks(on_step=lambda step, values: logged.append(values), notice=said.append)
    trainer = session.trainer(made, session.begin(made, root, None, None), hooks, recorder)
    if objective is not None:
        trainer.objective = trainer.step_compute = objective
    trainer.begin()
    trainer.fit()
    tensors = dict(trainer.model.state_dict())
    for optimiser in trainer.optimisers.values():
        tensors.update(optimiser.state())
    tensors.update({f"carried/{key}": tensor for key, tensor in trainer._carried().items()})
    assert trainer.ema is not None
    tensors.update({f"ema/{key}": t for key, t in trainer.ema.state(trainer.model).items()})
    return {key: t.detach().numpy().tobytes() for key, t in tensors.items()}, logged, said


@pytest.mark.parametrize(
    ("model", "changes", "graphs", "replayed"),
    [
        ("vae", {}, 1, 9),
        ("vae", {"train.precision": "bf16"}, 1, 9),
        ("vae", {"loss.warmup": 0.5}, 1, 3),  # no step is like another while beta rises
        ("gan", {}, 1, 8),  # R1 at the first step alone: of its kind there is only one
        ("gan", {"loss.r1": 1.0, "loss.r1_every": 2}, 2, 6),  # two kinds of step, each with a graph
        ("gan", {"loss.name": "wgan-gp", "loss.critic_steps": 2, "optim.generator.name": "sgd"}, 1, 9),
        ("vqvae", {"train.steps": 16, "loss.prior_from": 0.5}, 2, 4 + 5),  # the first step begins the codebook
        ("vae-gan", {}, 1, 9),
        ("charlm", {"loss.chunk": 4, "model.dropout": 0.3, "model.layers": 2}, 1, 9),
        ("charlm", {"model.cell": "lstm", "data.limit": 400}, 1, 9),  # rows come to the end and begin anew
        ("sequence", {"model.dropout": 0.2, "model.layers": 2}, 1, 9),
        ("pixelcnn", {}, 1, 9),
    ],
)
def test_replayed_steps_are_bitwise_the_eager_ones(tmp_path, model, changes, graphs, replayed):
    eager, logged, _ = run(tmp_path / "a", model, None, **changes)
    again = Again()
    recorded, same, said = run(tmp_path / "b", model, again, **changes)
    assert said == []
    assert (again.recorded, again.replayed) == (graphs, replayed)
    assert eager == recorded
    assert [sorted(values.items()) for values in logged] == [sorted(values.items()) for values in same]


def test_batches_of_other_shapes_are_made_without_a_graph(tmp_path):
    """Sentences: a batch is as long as its longest, and of the target's mask a number of places is taken."""
    eager, _, _ = run(tmp_path / "a", "seq2seq", None)
    again = Again()
    recorded, _, said = run(tmp_path / "b", "seq2seq", again)
    assert again.recorded == 0
    assert len(said) == 1
    assert "waits for numbers from the device" in said[0]
    assert eager == recorded


class Odd:
    """A loss of the vae that cannot be recorded, for one reason or another."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        rec, kl = model.elbo(batch.images, None, step)
        loss = (kl - rec).mean()
        scalars: dict[str, Any] = {}
        if self.why == "progress":
            loss = loss * step.progress
        if self.why == "item" and float(loss) > 0:
            loss = loss * 2
        if self.why == "mask":
            loss = loss + rec[rec < 0].mean()
        if self.why == "generator":
            loss = loss + torch.randn((), generator=step.generator("own"))
        if self.why == "scalar":
            scalars["of the step"] = float(step.index) if isinstance(step, Step) else float(step.now.index)
        if self.why == "draws" and getattr(step, "now", step).index % 2:
            loss = loss + step.noise(1, purpose="odd steps").sum()
        yield Phase("model", loss, scalars)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("progress", "reads step.progress"),
        ("item", "waits for numbers from the device (_local_scalar_dense)"),
        ("mask", "waits for numbers from the device (index"),
        ("generator", "reads step.generator"),
        ("scalar", "changes from step to step"),
        ("draws", "changes from step to step"),
    ],
)
def test_what_cannot_be_recorded_is_noticed_and_trained_all_the_same(tmp_path, why, said):
    eager, _, _ = run(tmp_path / "a", "vae", None, Odd(why))
    again = Again()
    other, _, notices = run(tmp_path / "b", "vae", again, Odd(why))
    assert again.recorded == 0
    assert 1 <= again.warmed <= WARMUP
    assert len(notices) == 1
    assert said in notices[0]
    assert eager == other


def test_a_recording_that_fails_leaves_no_trace(tmp_path):
    class Refusing(Again):
        def record(self, run: Callable[[], None]) -> Callable[[], None]:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")

    for model in ("charlm", "gan"):
        eager, _, _ = run(tmp_path / "a", model, None)
        other, _, notices = run(tmp_path / "b", model, Refusing())
        assert eager == other
        assert "could not be recorded (operation not permitted when stream is capturing)" in notices[0]


@pytest.mark.parametrize(
    ("changes", "why"), [({"optim.model.name": "rmsprop"}, "rmsprop"), ({"train.compile": True}, "train.compile")]
)
def test_what_has_no_graph_from_the_start_is_said(tmp_path, changes, why):
    made = session.plan(resolve("vae", [Layer("x", {**SMALL, **changes})], "debug"))
    said: list[str] = []
    trainer = session.trainer(made, session.begin(made, tmp_path, None, None), Hooks(notice=said.append), Again())
    assert trainer.graphs is not None
    assert why in said[0]
    assert why in trainer.graphs.off


def test_parts_of_a_batch_have_no_graph(tmp_path):
    eager, _, _ = run(tmp_path / "a", "vae", None, **{"train.accumulate": 2})
    again = Again()
    other, _, _ = run(tmp_path / "b", "vae", again, **{"train.accumulate": 2})
    assert again.warmed == 0
    assert eager == other


def test_a_cpu_says_that_it_has_none(tmp_path):
    made = session.plan(resolve("vae", [Layer("x", {**SMALL, "train.cuda_graph": "yes"})], "debug"))
    said: list[str] = []
    trainer = session.trainer(made, RunFolder.create(tmp_path, "vae"), Hooks(notice=said.append))
    assert trainer.graphs is None
    assert "no CUDA graphs on a cpu" in said[0]


def test_draws_are_those_of_the_step_and_the_callers_own():
    static = StaticStep(Step(seed=3, index=0))
    static.noise(2, 3)
    for index in (1, 2):
        now = Step(seed=3, index=index)
        static.fill(now)
        for _ in range(2):
            drawn = static.noise(torch.zeros(2), 3)
            assert torch.equal(drawn, now.noise(2, 3))
            drawn.zero_()
        assert static.new == 0
        assert torch.equal(static.integers(9, 4, purpose="b"), now.integers(9, 4, purpose="b"))
        assert static.new == (index == 1)
    assert static.read == set()
    assert static.index == 2
    assert static.read == {"index"}


def test_the_watch_tells_sizes_that_depend_on_numbers():
    x = torch.arange(6.0)
    for use, name in (
        (lambda: x[x > 2], "index"),
        (lambda: x.nonzero(), "nonzero"),
        (lambda: x.max().item(), "_local_scalar_dense"),
        (lambda: x.unique(), "_unique2"),
        (lambda: x.clone().index_put_((x > 2,), x[:3]), "index_put_"),
    ):
        with Watch() as watch:
            use()
        assert name in watch.asked
    with Watch() as watch:
        y = x.clone()
        y[x > 2] = 0.0
        y.masked_fill(x > 1, 2).topk(2)
        x[torch.tensor([1, 2])].cumsum(0)
        torch.where(x > 2, x, y).repeat_interleave(2)
    assert watch.asked == []


def test_kinds_of_step_say_their_own_progress():
    from gentool_vqvae.loss import TwoStage

    from gentool.registry import registry
    from gentool.training.phases import Alike

    objective = TwoStage(registry().find("loss", "vq").config(prior_from=0.25))
    assert isinstance(objective, Alike)
    assert objective.alike(Step(seed=0, index=0)) is None
    assert objective.alike(Step(seed=0, index=1, progress=0.125)) == Like("autoencoder", {"autoencoder": 0.5})
    assert objective.alike(Step(seed=0, index=9, progress=0.625)) == Like("prior", {"prior": 0.5})
