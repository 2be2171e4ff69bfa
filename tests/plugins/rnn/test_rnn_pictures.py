"""Pictures as sequences: which steps are read, which are scored, and pictures that are written."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from gentool_rnn.configs import SequenceConfig
from gentool_rnn.convolution import Convolutional
from gentool_rnn.loss import Steps
from gentool_rnn.pictures import Sequence
from gentool_rnn.views import AccuracyByStep, emit
from hypothesis import given
from hypothesis import strategies as st
from rnn_nets import ALL, text_info
from torch.nn import functional as F

from gentool import Batch, DataInfo, Step, UsageError
from gentool.specs import NoConfig

CLASSES = ("a", "b", "c")


def model(task: str = "many-to-one", size: tuple[int, int, int] = (2, 3, 4), **config: Any) -> Sequence:
    torch.manual_seed(0)
    made = Sequence(
        SequenceConfig(task=task, **{"hidden": 8, "heads": 2, "cell": "gru", **config}),  # type: ignore[arg-type]
        DataInfo(name="toy", image=size, classes=CLASSES),
    )
    for parameter in made.parameters():
        parameter.data.normal_(0, 0.5)
    return made.double().eval()


@pytest.mark.parametrize("steps", ["rows", "pixels", "permuted", "frames"])
def test_steps_and_back(steps):
    net = model(steps=steps)
    x = torch.randn(5, 2, 3, 4, dtype=torch.double)
    made = net.to_steps(x)
    assert made.shape == {"rows": (5, 3, 8), "frames": (5, 2, 12)}.get(steps, (5, 12, 2))
    assert torch.equal(net.to_images(made), x)
    if steps == "rows":
        assert torch.equal(made[1, 2], x[1, :, 2].flatten())
    if steps == "pixels":
        assert torch.equal(made[1, 5], x[1, :, 1, 1])
    if steps == "permuted":
        assert sorted(net.order.tolist()) == list(range(12))
        assert not torch.equal(made, x.flatten(2).transpose(1, 2))
        torch.manual_seed(99)
        assert torch.equal(model(steps=steps).order, net.order)  # the same order in every run


@pytest.mark.parametrize("cell", ALL)
def test_tasks_differ_in_what_is_scored(cell):
    x, y = torch.randn(4, 2, 3, 4, dtype=torch.double), torch.tensor([0, 2, 1, 1])
    one, many = model(cell=cell), model("many-to-many", cell=cell)
    many.load_state_dict(one.state_dict())
    each = many.step_logits(x)
    assert each.shape == (4, 3, 3)
    torch.testing.assert_close(one.logits(x), each[:, -1])
    (phase,) = Steps(NoConfig())(one, Batch(images=x, labels=y), Step(seed=0))
    assert phase.loss.item() == pytest.approx(F.cross_entropy(each[:, -1], y).item(), rel=1e-5)
    (phase,) = Steps(NoConfig())(many, Batch(images=x, labels=y), Step(seed=0))
    expected = sum(F.cross_entropy(each[:, t], y).item() for t in range(3)) / 3
    assert phase.loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cell", ALL)
def test_one_to_many_is_a_density(cell):
    """p(picture | class) sums to one over all black-and-white pictures, and classifies by Bayes' rule."""
    net = model("one-to-many", size=(1, 2, 3), cell=cell)
    every = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)), dtype=torch.double).view(-1, 1, 2, 3)
    with torch.no_grad():
        for label in range(3):
            labels = torch.full((len(every),), label)
            assert net.log_prob_steps(every, labels).sum(1).exp().sum().item() == pytest.approx(1, rel=1e-9)
        per_class = torch.stack([net.log_prob_steps(every, torch.full((64,), y)).sum(1) for y in range(3)], 1)
        torch.testing.assert_close(net.logits(every), per_class)


@pytest.mark.parametrize("cell", ALL)
def test_written_pictures_follow_their_density(cell):
    net = model("one-to-many", size=(1, 2, 2), cell=cell)
    n = 4000
    labels = torch.ones(n, dtype=torch.long)
    uniform = torch.rand(n, 2, 2, dtype=torch.double, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        drawn = net.emit(labels, uniform)
        assert set(drawn.unique().tolist()) <= {-1.0, 1.0}
        kinds, counts = drawn.flatten(1).unique(dim=0, return_counts=True)
        p = net.log_prob_steps(kinds.view(-1, 1, 2, 2), labels[: len(kinds)]).sum(1).exp()
    sigma = (p * (1 - p) / n).sqrt()
    assert ((counts / n - p).abs() < 4.5 * sigma + 1e-9).all()


def test_the_view_writes_a_row_for_each_class():
    net = model("one-to-many")
    (samples,) = emit(net.float(), 1, step=Step(seed=1), each=4)
    assert samples.images.shape == (12, 2, 3, 4)
    assert samples.columns == 4
    with pytest.raises(UsageError, match="one-to-many"):
        list(emit(model(), 1, step=Step(seed=1)))


def test_accuracy_by_step_counts_each_step():
    class Context:
        model = None
        dataset, split = "toy", "test"

    net = Context.model = model("many-to-many")  # type: ignore[assignment]
    x, y = torch.randn(7, 2, 3, 4, dtype=torch.double), torch.randint(3, (7,))
    whole, parts = AccuracyByStep(NoConfig(), Context()), [AccuracyByStep(NoConfig(), Context()) for _ in range(2)]
    whole.update(Batch(images=x, labels=y))
    parts[0].update(Batch(images=x[:3], labels=y[:3]))
    parts[1].update(Batch(images=x[3:], labels=y[3:]))
    parts[0].merge(parts[1])
    (curve,) = whole.compute().curves
    assert list(curve.y) == list(parts[0].compute().curves[0].y)
    expected = [(net.step_logits(x)[:, t].argmax(1) == y).double().mean().item() for t in range(3)]
    assert list(curve.y) == pytest.approx(expected)


def test_text_is_refused():
    with pytest.raises(UsageError, match="letters"):
        Sequence(SequenceConfig(), text_info())


@given(layers=st.integers(1, 6), kernel=st.integers(2, 7), steps=st.integers(1, 150))
def test_the_last_step_of_convolutions_takes_only_what_it_reads(layers, kernel, steps):
    torch.manual_seed(0)
    net = Convolutional(SequenceConfig(cell="tcn", hidden=4, layers=layers, kernel=kernel), 3).double()
    x = torch.randn(2, steps, 3, dtype=torch.double, requires_grad=True)
    whole, last = net(x, net.start(2))[0][:, -1], net.last(x)
    torch.testing.assert_close(last, whole)
    of = [x, *net.parameters()]
    for a, b in zip(torch.autograd.grad(last.sin().sum(), of), torch.autograd.grad(whole.sin().sum(), of), strict=True):
        torch.testing.assert_close(a, b)
