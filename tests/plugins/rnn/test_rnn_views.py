"""The gradient's way back in time: what it says of each net is what theory says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gentool_rnn.backbone import TokenInput
from gentool_rnn.configs import CharLMConfig, GradientFlowConfig
from gentool_rnn.recurrent import Recurrent
from gentool_rnn.views import GradientFlow, gradient_norms
from rnn_nets import language
from torch import nn
from torch.nn import functional as F

from gentool import Batch, Step, UsageError


class Context:
    """As much of a context as the view uses: two streams of text in batches of windows."""

    dataset, step = "letters", Step(seed=0)

    def __init__(self, model: Any, length: int = 120):
        self.model = model
        self.streams = torch.randint(9, (2, length + 1), generator=torch.Generator().manual_seed(2))

    def batches(self) -> Any:
        for start in range(0, self.streams.shape[1] - 1, 16):
            tokens = self.streams[:, start : start + 17]
            yield Batch(tokens=tokens, index=torch.arange(2), mask=torch.ones(2, tokens.shape[1] - 1, dtype=torch.bool))


def flow(model: Any, **config: Any) -> Any:
    return GradientFlow(
        GradientFlowConfig(**{"steps": 40, "rows": 4, "hidden": 24, **config}), Context(model)
    ).compute()


def test_singular_values_decide_between_vanishing_and_exploding():
    """A nearly linear net with W_h = s Q, Q orthogonal: |dL/dh_t| = s^(T - t) |dL/dh_T|, to the last step."""
    report = flow(language("lstm", torch.float32), below=0.8, above=1.3)
    curves = {curve.name: curve.y for curve in report.curves}
    for name, s in (("vanilla, singular values 0.8", 0.8), ("vanilla, singular values 1.3", 1.3)):
        norms = curves[name]
        assert len(norms) == 40
        for t, norm in enumerate(norms, 1):
            assert norm == pytest.approx(norms[-1] * s ** (40 - t), rel=2e-2)
    assert set(curves) >= {"vanilla", "LSTM", "GRU", "this LSTM"}
    assert curves["vanilla"][0] < 1e-3 * curves["LSTM"][0]
    assert len(flow(language("tcn", torch.float32)).curves) == 5  # no curve of its own: it has no h_t that goes on


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_norms_are_the_gradients(cell):
    """Against the change of the loss when h_t itself is pushed, by finite differences in float64."""
    torch.manual_seed(0)
    net = Recurrent(CharLMConfig(cell=cell, hidden=3, layers=1), 4).double()
    inputs, head = TokenInput("embedding", 9, 4).double(), nn.Linear(3, 9).double()
    tokens = torch.randint(9, (1, 6))
    norms = gradient_norms(net, inputs, head, tokens)
    x = inputs(tokens[:, :-1], torch.double).transpose(0, 1)
    w, cell_type = net.weights(0), net.cell

    def loss(at: int, push: torch.Tensor) -> float:
        state = tuple(part[0] for part in net.begin(net.start(1)))
        for t, x_t in enumerate(x):
            state = cell_type.step(F.linear(x_t, w.input, w.input_bias), state, w)
            if t == at:
                state = (state[0] + push, *state[1:])
        return F.cross_entropy(head(state[0]), tokens[:, -1]).item()

    for t in range(5):
        slope = [(loss(t, 1e-6 * e) - loss(t, -1e-6 * e)) / 2e-6 for e in torch.eye(3, dtype=torch.double)]
        assert norms[t] == pytest.approx(torch.tensor(slope).norm().item(), rel=1e-6)


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(UsageError, match="gradient-flow.steps"):
        flow(language("gru", torch.float32), steps=500)
