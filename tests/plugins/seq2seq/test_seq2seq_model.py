"""The translator: steps against whole runs, padding and batch composition, both against torch.nn and by gradients."""

from __future__ import annotations

import math

import pytest
import torch
from gentool_seq2seq import Seq2SeqConfig, TeacherForcingConfig
from gentool_seq2seq.cells import Recurrence, gru, lstm
from gentool_seq2seq.loss import TeacherForcing, smoothed
from gentool_seq2seq.model import Seq2Seq
from hypothesis import given, settings
from hypothesis import strategies as st
from seq2seq_nets import ATTENTIONS, ORDERS, info, net, padded, sentences

from gentool import Batch, DataInfo, Step, UsageError

EVERY = [(order, attention, cell) for order in ORDERS for attention in ATTENTIONS for cell in ("gru", "lstm")]


def test_cells_are_those_of_torch():
    torch.manual_seed(0)
    x, h, c = (torch.randn(4, n).double() for n in (3, 5, 5))
    one = torch.nn.GRUCell(3, 5).double()
    made = gru(x @ one.weight_ih.T + one.bias_ih, h @ one.weight_hh.T + one.bias_hh, h)
    torch.testing.assert_close(made, one(x, h), rtol=1e-12, atol=1e-12)
    two = torch.nn.LSTMCell(3, 5).double()
    made = lstm(x @ two.weight_ih.T + two.bias_ih, h @ two.weight_hh.T + two.bias_hh, c)
    for mine, theirs in zip(made, two(x, (h, c)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gradients_through_steps_are_those_of_a_run(cell):
    torch.manual_seed(0)
    made = Recurrence(cell, 3, 4, 2, 0.0).double()
    inputs = torch.randn(2, 5, 3).double()
    flat = torch.randn(2, made.state_size).double()
    weight = torch.randn(2, 5, 4).double()
    grads = []
    for way in ("run", "steps"):
        state = made.begin(flat)
        if way == "run":
            out = made.run(inputs, state)
        else:
            outs = []
            for x in made.prepare(inputs).unbind(1):
                s, state = made.step(x[:, None], None, state)
                outs.append(s)
            out = torch.cat(outs, 1)
            torch.testing.assert_close(made.top(state), out[:, -1:])
        grads.append([out, *torch.autograd.grad((out * weight).sum(), list(made.parameters()))])
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("order", "attention", "cell"), EVERY)
def test_steps_give_the_logits_of_teacher_forcing(order, attention, cell):
    model = net(order=order, attention=attention, cell=cell, layers=2)
    source, length = padded(sentences([3, 5, 1], 9))
    target = torch.cat([torch.ones(3, 1, dtype=torch.int64), torch.randint(4, 11, (3, 5))], 1)
    whole = model.score(source, length, target)
    memory, state = model.encode(source, length)
    for i in range(6):
        logits, state, alpha = model.advance(target[:, i : i + 1], memory, state)
        torch.testing.assert_close(logits[:, 0], whole[:, i], rtol=1e-10, atol=1e-10)
        assert (alpha is None) == (attention == "none")


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    every=st.sampled_from(EVERY),
    layers=st.integers(1, 2),
    ways=st.booleans(),
    more=st.integers(0, 4),
    junk=st.sampled_from([0, 4, 9]),
    seed=st.integers(0, 1000),
)
def test_neither_padding_nor_company_changes_scores(lengths, every, layers, ways, more, junk, seed):
    """Each sentence alone, without padding, against it in a batch with more padding, whatever stands there."""
    order, attention, cell = every
    model = net(seed, order=order, attention=attention, cell=cell, layers=layers, bidirectional=ways)
    rows = sentences(lengths, 9, seed=seed)
    source, length = padded(rows, to=max(lengths) + more)
    source = source.masked_fill(torch.arange(source.shape[1]) >= length[:, None], junk)
    g = torch.Generator().manual_seed(seed)
    target = torch.cat(
        [torch.ones(len(rows), 1, dtype=torch.int64), torch.randint(4, 11, (len(rows), 3), generator=g)], 1
    )
    together = model.score(source, length, target)
    for b, row in enumerate(rows):
        alone = model.score(torch.tensor([row]), torch.tensor([len(row)]), target[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, rtol=1e-11, atol=1e-11)


def test_the_source_is_read_by_what_it_says():
    """The test above would pass for a model that ignores its source: here each word of it matters."""
    for attention in ATTENTIONS:
        model = net(attention=attention)
        source, length = padded([[4, 5, 6, 2]])
        target = torch.tensor([[1, 5]])
        for i in range(3):
            other = source.clone()
            other[0, i] = 7
            assert not torch.allclose(model.score(source, length, target), model.score(other, length, target))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_step_sees_no_later_word(attention):
    for order in ORDERS:
        model = net(order=order, attention=attention)
        source, length = padded([[4, 5, 2]])
        target = torch.tensor([[1, 5, 6, 7]])
        embedded = model.embedding(target).detach().requires_grad_()
        model.embedding.forward = lambda _, e=embedded: e
        logits = model.score(source, length, target)
        for i in range(4):
            (grad,) = torch.autograd.grad(logits[0, i].sum(), embedded, retain_graph=True)
            assert not grad[0, i + 1 :].any()
            assert (grad[0, : i + 1].abs().sum(-1) > 0).all()


def test_smoothing_is_the_cross_entropy_to_the_smoothed_target():
    torch.manual_seed(0)
    logits, y = torch.randn(5, 7).double(), torch.randint(0, 7, (5,))
    for epsilon in (0.0, 0.1, 0.5):
        loss, nats = smoothed(logits, y, epsilon)
        q = torch.full((5, 7), epsilon / 7).double()
        q[torch.arange(5), y] += 1 - epsilon
        torch.testing.assert_close(loss, -(q * logits.log_softmax(-1)).sum(-1))
        torch.testing.assert_close(nats, torch.nn.functional.cross_entropy(logits, y, reduction="none"))


def batch(seed: int = 0) -> Batch:
    source, source_length = padded(sentences([3, 6, 4], 9, seed=seed))
    target, target_length = padded([[1, *row] for row in sentences([4, 2, 5], 7, seed=seed + 1)])
    mask = torch.arange(target.shape[1] - 1) < target_length[:, None] - 1
    extra = {"source": source, "source_length": source_length, "target": target, "target_length": target_length}
    return Batch(index=torch.arange(3), mask=mask, extra=extra)


def test_the_loss_is_the_mean_over_target_tokens():
    model, made = net(), batch()
    (phase,) = TeacherForcing(TeacherForcingConfig())(model, made, Step(seed=0))
    losses = []
    for b in range(3):
        source = made.extra["source"][b : b + 1, : made.extra["source_length"][b]]
        target = made.extra["target"][b : b + 1, : made.extra["target_length"][b]]
        log_p = model.score(source, made.extra["source_length"][b : b + 1], target[:, :-1]).log_softmax(-1)
        losses += [-log_p[0, i, target[0, i + 1]].item() for i in range(target.shape[1] - 1)]
    assert len(losses) == 11
    assert phase.loss.item() == pytest.approx(sum(losses) / 11, rel=1e-10)
    assert float(phase.scalars["nats/token"]) == pytest.approx(phase.loss.item())
    (rough,) = TeacherForcing(TeacherForcingConfig(label_smoothing=0.2))(model, made, Step(seed=0))
    assert rough.loss.item() != phase.loss.item()
    assert float(rough.scalars["nats/token"]) == pytest.approx(phase.loss.item())


@pytest.mark.parametrize(
    ("order", "attention"), [("luong", "additive"), ("bahdanau", "additive"), ("input-feeding", "none")]
)
def test_learns_to_copy_backwards(order, attention):
    """Reverse four words: what a source says, and where, has to arrive."""
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(embed=16, hidden=32, order=order, attention=attention), info(5, 5)).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    objective = TeacherForcing(TeacherForcingConfig())
    for _ in range(100):
        words = torch.randint(4, 9, (32, 3))
        ends = torch.full((32, 1), 2)
        extra = {
            "source": torch.cat([words, ends], 1),
            "source_length": torch.full((32,), 4),
            "target": torch.cat([torch.ones(32, 1, dtype=torch.int64), words.flip(1), ends], 1),
        }
        (phase,) = objective(model, Batch(mask=torch.ones(32, 4, dtype=torch.bool), extra=extra), Step(seed=0))
        optimiser.zero_grad()
        phase.loss.backward()
        optimiser.step()
    assert float(phase.scalars["right"]) > 0.95
    model.eval()
    assert model.translate(torch.tensor([[4, 6, 8, 2]]), torch.tensor([4]), step=Step(seed=0)) == [[8, 6, 4]]


def test_tied_weights_are_one():
    tied, own = net(tied=True), net(tied=False)
    assert tied.V is None
    assert sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in tied.parameters()) == own.V.weight.numel()
    o = torch.randn(3, 6).double()
    torch.testing.assert_close(tied.logits(o), o @ tied.embedding.weight.T + tied.bias)
    torch.testing.assert_close(own.logits(o), o @ own.V.weight.T + own.bias)
    assert math.isclose(float(net(embed=64).embedding.weight[3:].norm(dim=1).mean().detach()), 1, rel_tol=0.2)


def test_pictures_are_refused():
    with pytest.raises(UsageError, match="pairs"):
        Seq2Seq(Seq2SeqConfig(), DataInfo(name="mnist", image=(1, 28, 28)))
