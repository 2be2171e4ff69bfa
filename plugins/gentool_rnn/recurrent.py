"""Recurrent layers one above the other, by the way that is fastest where they are.

The parameters are those of `torch.nn.LSTM`, `GRU` or `RNN`, kept in one: a state dict converts as it stands, and cuDNN finds
them packed as it wants them. Three engines run them, and agree:

    torch       the vendor's: cuDNN on a GPU, oneDNN (LSTM) or plain loops on a CPU; also under bf16 autocast
    own         the functions of sequence.py. Tokens never become vectors: the first layer's product with every possible
                token is one small table, of which a step takes a row; that is a quarter of the arithmetic of two layers
                whose embedding is as wide as their state
    reference   the equations of cells.py, step by step, differentiable any number of times
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import Backbone, State, TokenInput
from .cells import CELLS, Weights
from .sequence import GRUSequence, LSTMSequence, VanillaSequence

if TYPE_CHECKING:
    from .configs import BackboneConfig

VENDOR: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

_VANILLA: Any = VanillaSequence.apply
_LSTM: Any = LSTMSequence.apply
_GRU: Any = GRUSequence.apply


class Recurrent(Backbone):
    """`layers` of one cell, H = `hidden` each, with dropout between them; state "h" and, for an LSTM, "c": (B, layers, H).

    With `initial="learned"` the first state is a parameter, and "begun" (B, 1) in the state says which rows have left it.
    """

    def __init__(self, config: BackboneConfig, features: int):
        super().__init__()
        self.config = config
        self.cell = CELLS[config.cell]
        self.features, self.width, self.layers = features, config.hidden, config.layers
        self.net = VENDOR[config.cell](features, config.hidden, config.layers, batch_first=True)
        self.initial: nn.Parameter | None = None
        if config.initial == "learned":
            self.initial = nn.Parameter(torch.zeros(len(self.cell.state), config.layers, config.hidden))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Orthogonal recurrent weights (Saxe et al. 2014), a forget gate that begins open (Jozefowicz et al. 2015)."""
        size = self.width
        for layer in range(self.layers):
            w = self.weights(layer)
            for gate in torch.split(w.hidden, size):
                nn.init.orthogonal_(gate)
            for gate in torch.split(w.input, size):
                nn.init.xavier_uniform_(gate)
            w.input_bias.zero_()
            w.hidden_bias.zero_()
            if self.config.cell == "lstm":
                w.input_bias[size : 2 * size] = 1.0
            if self.config.memory:
                self._remember(w)

    def _remember(self, w: Weights) -> None:
        """A gate's sigmoid(b) = 1 - 1/s keeps what a unit holds for about s steps; s uniform in 1 ... `memory` by unit
        (Tallec & Ollivier 2018, equation 16: b_f = log U(1, T - 1), b_i = -b_f; of a GRU the gate z)."""
        size = self.width
        b = torch.empty(size).uniform_(1, max(1.0, self.config.memory - 1)).log_()
        if self.config.cell == "lstm":
            w.input_bias[:size] = -b
        if self.config.cell in ("lstm", "gru"):
            w.input_bias[size : 2 * size] = b

    def weights(self, layer: int) -> Weights:
        """The parameters of a layer."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return Weights(*(getattr(self.net, f"{name}_l{layer}") for name in names))

    def engine(self, x: Tensor, table: bool = False) -> str:
        """Which engine runs: the configured one, or the fastest for this device and precision.

        On a CPU only oneDNN's LSTM is ahead of our own (1.0 to 0.85 of its time), unless a table of tokens stands in for
        inputs as wide as the state (then 1.1); torch's GRU and vanilla net take 1.3 and 1.4 times as long as ours.
        """
        if self.config.engine != "auto":
            return self.config.engine
        if x.is_cuda or torch.is_autocast_enabled(x.device.type):
            return "torch"
        if self.config.cell == "lstm" and x.dtype == torch.float32 and not (table and self.features >= self.width):
            return "torch"
        return "own"

    # -- state ----------------------------------------------------------------------------------------------------

    def start(self, rows: int) -> State:
        zeros = self.weights(0).hidden.new_zeros
        state = {name: zeros(rows, self.layers, self.width) for name in self.cell.state}
        if self.initial is not None:
            state["begun"] = zeros(rows, 1)
        return state

    def begin(self, state: State) -> list[Tensor]:
        """The state as (layers, B, H) each, with the learned one in rows that have not begun."""
        parts = [state[name] for name in self.cell.state]
        if self.initial is not None:
            fresh = state["begun"][..., None] == 0
            parts = [torch.where(fresh, first, part) for first, part in zip(self.initial, parts, strict=True)]
        return [part.transpose(0, 1).contiguous() for part in parts]

    def _end(self, state: State, parts: list[Tensor]) -> State:
        after = {name: part.transpose(0, 1) for name, part in zip(self.cell.state, parts, strict=True)}
        if self.initial is not None:
            after["begun"] = torch.ones_like(state["begun"])
        return after

    # -- running --------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        engine = self.engine(x)
        if engine == "torch":
            return self._vendor(x, state)
        x = x.transpose(0, 1)
        return self._layers(engine, state, lambda w, bias: F.linear(x, w, bias))

    def read(self, inputs: TokenInput, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        engine = self.engine(self.weights(0).hidden, table=True)
        if engine == "torch":
            return self._vendor(inputs(tokens, self.weights(0).hidden.dtype), state)
        return self._layers(engine, state, lambda w, bias: F.embedding(tokens.t(), inputs.folded(w, bias)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)

    def _vendor(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One call for all layers, or one a layer where dropout stands between: cuDNN's own keeps a generator's state."""
        parts = self.begin(state)
        if not (self.training and self.config.dropout):
            y, after = self.net(x, tuple(parts) if len(parts) > 1 else parts[0])
            return y, self._end(state, list(after) if isinstance(after, tuple) else [after])
        run: Any = {"rnn": torch.rnn_tanh, "lstm": torch.lstm, "gru": torch.gru}[self.config.cell]
        ends = []
        for layer in range(self.layers):
            x = self._drop(x) if layer else x
            begin = [part[layer : layer + 1] for part in parts]
            hidden = begin if len(begin) > 1 else begin[0]
            x, *end = run(x, hidden, list(self.weights(layer)), True, 1, 0.0, self.training, False, True)
            ends.append(end)
        return x, self._end(state, [torch.cat(part) for part in zip(*ends, strict=True)])

    def _layers(self, engine: str, state: State, first: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, State]:
        """Layer after layer, time-major. `first(W, b)` gives the first layer's products with its input, (T, B, G H)."""
        run = self._reference if engine == "reference" else self._own
        parts = self.begin(state)
        ends = []
        y: Tensor | None = None
        for layer in range(self.layers):
            above = y
            feed = first if above is None else lambda w, bias, above=above: F.linear(self._drop(above), w, bias)
            y, end = run(self.weights(layer), [part[layer] for part in parts], feed)
            ends.append(end)
        assert y is not None
        return y.transpose(0, 1), self._end(state, [torch.stack(part) for part in zip(*ends, strict=True)])

    def _own(
        self, w: Weights, state: list[Tensor], feed: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        if self.config.cell == "lstm":
            h, c = _LSTM(feed(w.input, w.input_bias + w.hidden_bias), *state, w.hidden)
            return h, [h[-1], c]
        if self.config.cell == "gru":
            b_r_z, b_n = torch.split(w.hidden_bias, [2 * self.width, self.width])
            bias = w.input_bias + F.pad(b_r_z, (0, self.width))
            h = _GRU(feed(w.input, bias), *state, w.hidden, b_n)
        else:
            h = _VANILLA(feed(w.input, w.input_bias + w.hidden_bias), *state, w.hidden)
        return h, [h[-1]]

    def _reference(
        self, w: Weights, state: list[Tensor], feed: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        now, outputs = tuple(state), []
        for x_t in feed(w.input, w.input_bias).unbind(0):
            now = self.cell.step(x_t, now, w)
            outputs.append(now[0])
        return torch.stack(outputs), list(now)
