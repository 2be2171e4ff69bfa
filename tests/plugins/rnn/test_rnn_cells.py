"""The cells agree with torch.nn in float64, forward and backward, by every engine."""

from __future__ import annotations

import pytest
import torch
from gentool_rnn.cells import CELLS, Weights
from gentool_rnn.configs import CharLMConfig
from gentool_rnn.recurrent import VENDOR, Recurrent
from gentool_rnn.sequence import GRUSequence, LSTMSequence, VanillaSequence
from hypothesis import given, settings
from hypothesis import strategies as st
from rnn_nets import CELLS as NAMES

SEQUENCES = {"rnn": VanillaSequence, "lstm": LSTMSequence, "gru": GRUSequence}


def net(cell: str, features: int, hidden: int, layers: int, engine: str, **config) -> Recurrent:
    made = CharLMConfig(cell=cell, hidden=hidden, layers=layers, engine=engine, **config)
    torch.manual_seed(0)
    recurrent = Recurrent(made, features).double()
    for parameter in recurrent.parameters():
        parameter.data.normal_(0, 0.5)
    return recurrent


@pytest.mark.parametrize("cell", NAMES)
@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 5), steps=st.integers(1, 9), features=st.integers(1, 6), hidden=st.integers(1, 7),
    layers=st.integers(1, 3), learned=st.booleans(), seed=st.integers(0, 1000),
)  # fmt: skip
def test_engines_agree_with_torch(cell, batch, steps, features, hidden, layers, learned, seed):
    """Outputs, last states and the gradients of parameters, inputs and initial states, against torch.nn's own module."""
    torch.manual_seed(seed)
    x = torch.randn(batch, steps, features, dtype=torch.double, requires_grad=True)
    weight = torch.randn(batch, steps, hidden, dtype=torch.double)
    found = {}
    for engine in ("own", "reference", "torch"):
        made = net(cell, features, hidden, layers, engine, initial="learned" if learned else "zero")
        y, state = made(x, made.start(batch))
        last = sum(((i + 2) * part).sum() for i, (name, part) in enumerate(sorted(state.items())) if name != "begun")
        found[engine] = [y, *torch.autograd.grad((y * weight).sum() + last, [x, *made.parameters()])]
    module = VENDOR[cell](features, hidden, layers, batch_first=True).double()
    module.load_state_dict(made.net.state_dict())  # the layout is torch's own
    first = torch.zeros(len(CELLS[cell].state), layers, batch, hidden, dtype=torch.double)
    if learned:
        first = made.initial.detach()[:, :, None].expand(-1, -1, batch, -1)
    begin = tuple(p.contiguous() for p in first)
    y, end = module(x, begin if len(begin) > 1 else begin[0])
    end = end if isinstance(end, tuple) else (end,)
    names = sorted(CELLS[cell].state)
    last = sum(((i + 2 + learned) * end[CELLS[cell].state.index(n)]).sum() for i, n in enumerate(names))
    expected = [y, *torch.autograd.grad((y * weight).sum() + last, [x, *module.parameters()])]
    for engine, values in found.items():
        got = [values[0], values[1], *values[2 + learned :]]
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, msg=lambda m, e=engine: f"{e}: {m}")
        for a, b in zip(values, found["reference"], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("cell", NAMES)
def test_gradients_are_those_of_differences(cell):
    torch.manual_seed(1)
    steps, batch, hidden, gates = 4, 2, 3, CELLS[cell].gates
    shapes = [(steps, batch, gates * hidden), *[(batch, hidden)] * len(CELLS[cell].state), (gates * hidden, hidden)]
    if cell == "gru":
        shapes.append((hidden,))
    inputs = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(SEQUENCES[cell].apply, inputs)
    assert torch.autograd.gradcheck(lambda *x: SEQUENCES[cell].apply(*x)[0], inputs)  # the other output left out


@pytest.mark.parametrize("cell", NAMES)
def test_long_sequences_go_block_by_block(cell, monkeypatch):
    """Blocks of the backward pass with a ragged one at the end of time."""
    from gentool_rnn import sequence

    made = net(cell, 3, 5, 1, "own")
    x = torch.randn(2, 11, 3, dtype=torch.double)
    grads = []
    for bytes_ in (1 << 20, 4 * 8 * 2 * 5 * CELLS[cell].gates):
        monkeypatch.setattr(sequence, "BLOCK_BYTES", bytes_)
        y, _ = made(x, made.start(2))
        grads.append(torch.autograd.grad(y.square().sum(), list(made.parameters())))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", NAMES)
def test_the_equations_are_those_of_torch_cells(cell):
    """One step of the readable cell against torch's cell of that name."""
    torch.manual_seed(2)
    theirs = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[cell](4, 6).double()
    w = Weights(theirs.weight_ih, theirs.weight_hh, theirs.bias_ih, theirs.bias_hh)
    x = torch.randn(3, 4, dtype=torch.double)
    state = tuple(torch.randn(3, 6, dtype=torch.double) for _ in CELLS[cell].state)
    (ours,), _ = CELLS[cell].reference(x[None], state, w)
    expected = theirs(x, state if len(state) > 1 else state[0])
    expected = expected if isinstance(expected, tuple) else (expected,)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", NAMES)
@pytest.mark.parametrize("kind", ["embedding", "one-hot"])
def test_the_table_of_tokens_is_the_product_with_them(cell, kind):
    """The own engine never makes vectors of tokens; the others do."""
    from gentool_rnn.backbone import TokenInput

    torch.manual_seed(3)
    inputs = TokenInput(kind, 7, 4).double()
    tokens = torch.randint(7, (3, 5))
    found = []
    for engine in ("own", "reference", "torch"):
        made = net(cell, inputs.features, 6, 2, engine)
        y, _ = made.read(inputs, tokens, made.start(3))
        parameters = [*made.parameters(), *inputs.parameters()]
        found.append([y, *torch.autograd.grad(y.square().sum(), parameters)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("engine", ["own", "torch", "reference"])
@pytest.mark.parametrize("cell", NAMES)
def test_dropout_stands_between_layers_alone(cell, engine):
    made = net(cell, 4, 6, 3, engine, dropout=0.5).train()
    x = torch.randn(2, 5, 4, dtype=torch.double)
    torch.manual_seed(4)
    one, _ = made(x, made.start(2))
    torch.manual_seed(4)
    again, _ = made(x, made.start(2))
    other, _ = made(x, made.start(2))
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    assert not torch.allclose(one, other)
    single = net(cell, 4, 6, 1, engine, dropout=0.5).train()
    first, _ = single(x, single.start(2))
    torch.testing.assert_close(first, single.eval()(x, single.start(2))[0], rtol=1e-12, atol=1e-12)


def test_the_engine_is_the_fastest_for_device_and_precision():
    lstm, gru, x = net("lstm", 4, 6, 1, "auto"), net("gru", 4, 6, 1, "auto"), torch.randn(2, 3, 4)
    assert [lstm.engine(x), gru.engine(x), lstm.engine(x.double())] == ["torch", "own", "own"]
    assert net("lstm", 6, 6, 1, "auto").engine(x, table=True) == "own"
    with torch.autocast("cpu", torch.bfloat16):
        assert gru.engine(x) == "torch"
    assert net("lstm", 4, 6, 1, "reference").engine(x) == "reference"


def test_bfloat16_autocast_trains():
    made = net("gru", 4, 6, 2, "auto").float()
    x = torch.randn(2, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = made(x, made.start(2))
    y.float().sum().backward()
    torch.testing.assert_close(y.float(), made(x, made.start(2))[0], rtol=0.05, atol=0.05)
    assert all(torch.isfinite(p.grad).all() for p in made.parameters())


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gates_can_begin_by_remembering(cell):
    """A unit whose gate begins at s keeps a share 1 - 1/s of what it holds a step, where inputs say nothing."""
    torch.manual_seed(0)
    net = Recurrent(CharLMConfig(cell=cell, hidden=64, layers=1, memory=100), 3)
    with torch.no_grad():
        w = net.weights(0)
        w.input.zero_()
        w.hidden.zero_()
        state = {name: torch.ones(1, 1, 64) for name in net.start(1)}
        _, after = net(torch.zeros(1, 10, 3), state)
    kept = after["c" if cell == "lstm" else "h"].flatten()
    span = 1 + w.input_bias[64:128].detach().exp()  # sigmoid(b) = 1 - 1/s
    assert 2 <= float(span.min()) < 20
    assert 80 < float(span.max()) <= 100
    torch.testing.assert_close(kept, (1 - 1 / span) ** 10)
