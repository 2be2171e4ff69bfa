"""The recurrent cells as their papers write them: what one step does, and what it does to a whole sequence.

    vanilla   Elman 1990:                     h' = tanh(W_x x + b_x + W_h h + b_h)
    LSTM      Hochreiter & Schmidhuber 1997,
              Gers et al. 2000:               i, f, o = sigmoid(...), g = tanh(...); c' = f c + i g; h' = o tanh(c')
    GRU       Cho et al. 2014:                r, z = sigmoid(...); n = tanh(W_nx x + b_nx + r (W_nh h + b_nh));
                                              h' = (1 - z) n + z h

These are references, to be read and to be tested against. What trains and what samples are the fast paths of
`sequence.py`, `recurrent.py` and `decoding.py`, which agree with them. Weights are laid out as in `torch.nn`: the gates'
rows one below the other, (gates * H, F) and (gates * H, H), LSTM in the order i, f, g, o and GRU r, z, n.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Weights(NamedTuple):
    """One layer: W_x (G H, F), W_h (G H, H), b_x and b_h (G H,)."""

    input: Tensor
    hidden: Tensor
    input_bias: Tensor
    hidden_bias: Tensor


class Cell:
    """A cell: `step` takes its inputs' share of the gates, the state of shape (B, H) each, and gives the new state."""

    gates: int
    state: tuple[str, ...]  # names of what is carried; the first is the output

    @staticmethod
    def step(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, ...]:
        raise NotImplementedError

    @classmethod
    def reference(cls, x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[list[tuple[Tensor, ...]], Tensor]:
        """x (T, B, F) -> the state after every step, and the outputs (T, B, H)."""
        states = []
        for x_t in x.unbind(0):  # not x[t]: the gradient of an index is as large as x, at every step
            state = cls.step(F.linear(x_t, w.input, w.input_bias), state, w)
            states.append(state)
        return states, torch.stack([s[0] for s in states])


class Vanilla(Cell):
    """Elman 1990."""

    gates, state = 1, ("h",)

    @staticmethod
    def step(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, ...]:
        (h,) = state
        return (torch.tanh(x + F.linear(h, w.hidden, w.hidden_bias)),)


class LSTM(Cell):
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000."""

    gates, state = 4, ("h", "c")

    @staticmethod
    def step(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, ...]:
        h, c = state
        i, f, g, o = (x + F.linear(h, w.hidden, w.hidden_bias)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRU(Cell):
    """Cho et al. 2014, with the reset gate behind the product as cuDNN and torch have it (Cho et al. 2014b, v3)."""

    gates, state = 3, ("h",)

    @staticmethod
    def step(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, ...]:
        (h,) = state
        x_r, x_z, x_n = x.chunk(3, -1)
        h_r, h_z, h_n = F.linear(h, w.hidden, w.hidden_bias).chunk(3, -1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        return ((1 - z) * n + z * h,)


CELLS: dict[str, type[Cell]] = {"rnn": Vanilla, "lstm": LSTM, "gru": GRU}
