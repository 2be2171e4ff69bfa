"""Truncated back-propagation through time: what is updated when, what is carried, and runs that stop in mid-stream."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from gentool_rnn.configs import NextTokenConfig
from gentool_rnn.loss import NextToken
from rnn_nets import ALL, CELLS, language
from torch.nn import functional as F

from gentool import Batch, Step
from gentool.config import Layer, resolve
from gentool.training import session
from gentool.training.trainer import Hooks

STEP = Step(seed=0)


def batches(rows: int, window: int, count: int) -> list[Batch]:
    stream = torch.randint(9, (rows, window * count + 1), generator=torch.Generator().manual_seed(7))
    return [
        Batch(
            tokens=stream[:, i * window : (i + 1) * window + 1],
            mask=torch.ones(rows, window, dtype=torch.bool),
            fresh=torch.full((rows,), i == 0),
            index=torch.arange(rows),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("cell", ALL)
def test_the_state_goes_on_over_chunks_and_steps(cell):
    """Without updates, the mean of all chunks of all steps is the loss of the streams as a whole."""
    model = language(cell)
    parts = batches(3, 12, 4)
    losses = {}
    for chunk in (0, 5):
        objective = NextToken(NextTokenConfig(chunk=chunk))
        losses[chunk] = [p.loss.item() for batch in parts for p in objective(model, batch, STEP)]
    assert [len(losses[0]), len(losses[5])] == [4, 12]  # as many updates as chunks: 5 + 5 + 2 steps each
    whole = torch.cat([parts[0].tokens, *[b.tokens[:, 1:] for b in parts[1:]]], 1)
    expected = F.cross_entropy(model.advance(whole[:, :-1])[0].flatten(0, 1), whole[:, 1:].flatten()).item()
    assert sum(losses[0]) / 4 == pytest.approx(expected, rel=1e-9)
    weighted = sum(loss * size for loss, size in zip(losses[5], [5, 5, 2] * 4, strict=True)) / 48
    assert weighted == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_ends_at_a_chunk(cell):
    """The second chunk's gradient is that of its own steps from a constant state."""
    model = language(cell).train()
    (batch,) = batches(2, 8, 1)
    phases = NextToken(NextTokenConfig(chunk=4))(model, batch, STEP)
    next(phases)
    got = torch.autograd.grad(next(phases).loss, list(model.parameters()))
    with torch.no_grad():
        _, state = model.advance(batch.inputs[:, :4])
    logits, _ = model.advance(batch.inputs[:, 4:], state)
    loss = F.cross_entropy(logits.flatten(0, 1), batch.targets[:, 4:].flatten())
    for a, b in zip(got, torch.autograd.grad(loss, list(model.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_rows_that_begin_anew_forget_and_padding_does_not_count():
    model = language("lstm")
    first, second = batches(3, 6, 2)
    objective = NextToken(NextTokenConfig())
    list(objective(model, first, STEP))
    second.fresh[1] = True
    second.mask[2, 3:] = False
    (phase,) = objective(model, second, STEP)
    _, state = model.advance(first.inputs)
    state = {name: part.clone() for name, part in state.items()}
    for part in state.values():
        part[1] = 0
    logits, _ = model.advance(second.inputs, state)
    expected = F.cross_entropy(logits.flatten(0, 1), second.targets.flatten(), ignore_index=-100)
    assert phase.loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_rows_find_their_state_in_parts_of_a_batch():
    """With gradient accumulation each part carries its own rows on, whatever the order the parts end in."""
    model = language("gru")
    whole, parted = NextToken(NextTokenConfig(chunk=3)), NextToken(NextTokenConfig(chunk=3))
    for batch in batches(5, 6, 3):
        expected = [p.loss.item() for p in whole(model, batch, STEP)]
        parts = batch.chunk(2)
        runs = [parted(model, part, STEP) for part in parts]
        for loss in expected:
            got = [next(run).loss.item() for run in runs]  # in turn, and to the first end alone, as the trainer does
            assert (3 * got[0] + 2 * got[1]) / 5 == pytest.approx(loss, rel=1e-9)
        assert next(runs[0], None) is None
    for name, part in whole.carry().items():
        torch.testing.assert_close(parted.carry()[name], part)


def test_a_carried_state_is_restored():
    model = language("lstm")
    one, two, three = batches(2, 6, 3)
    objective = NextToken(NextTokenConfig())
    list(objective(model, one, STEP))
    kept = {name: part.clone() for name, part in objective.carry().items()}
    assert all(part.is_contiguous() for part in objective.carry().values())
    expected = [p.loss.item() for batch in (two, three) for p in objective(model, batch, STEP)]
    other = NextToken(NextTokenConfig())
    other.restore(kept)
    assert [p.loss.item() for batch in (two, three) for p in other(model, batch, STEP)] == expected
    fresh = NextToken(NextTokenConfig())
    assert next(fresh(model, two, STEP)).loss.item() != expected[0]


@pytest.mark.parametrize("cell", ALL)
def test_a_run_resumed_in_mid_stream_is_bitwise_the_undisturbed_one(cell, tmp_path: Path):
    """Dropout, a learned initial state, several chunks a step, accumulation, validation in between."""
    keys = {
        "preview.n": 0, "model.cell": cell, "model.hidden": 8, "model.layers": 2, "model.embed": 4, "model.heads": 2,
        "model.context": 10, "model.dropout": 0.2, "model.initial": "learned", "loss.chunk": 7, "data.window": 16,
        "train.batch_size": 4, "train.accumulate": 2, "train.steps": 6, "train.ema": 0.9, "validation.every": 2,
        "validation.examples": 32, "checkpoint.every": 3,
    }  # fmt: skip

    def train(name: str, interrupt: bool) -> str:
        made = session.plan(resolve("charlm", [Layer("test", keys)], "debug"))
        folder = session.begin(made, tmp_path, name, "debug")

        class Stop(Exception):
            pass

        def on_step(step: int, values: dict[str, float]) -> None:
            if interrupt and step == 4:  # a step after the checkpoint: killed
                raise Stop

        trainer = session.trainer(made, folder, Hooks(on_step=on_step))
        trainer.begin()
        if interrupt:
            with pytest.raises(Stop):
                trainer.fit()
            made, folder, found = session.reopen(folder.path, None, {})
            assert found is not None
            assert found.step == 3
            trainer = session.trainer(made, folder, Hooks())
            trainer.load(found)
        assert trainer.fit() == "done"
        return session.weights_digest(copy.deepcopy(made.model))

    assert train("whole", False) == train("parted", True)
