"""Drawing from a PixelRNN with carried states: every LSTM step is made once, as soon as what it needs is drawn.

Before a row everything that rows above say about it is gathered: the first convolution of the rows above, and in a
row-lstm the convolution of the states of the row above, in a diagonal-bilstm the states that run against the raster,
from the right over the row just finished (all layers in one product a column), and what the pixels above give to those
that run with it. Then each pixel takes one small step a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gentool import Partial, Step

from .model import convolve
from .painter import Painter, paint
from .pixelrnn import DiagonalBiLSTM, RowLSTM
from .weights import tail

if TYPE_CHECKING:
    from .pixelrnn import Layer, PixelRNN

CACHE_BYTES = 256 << 20  # states kept at a time; more pictures are painted in turns


def step_lstm(a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Gates before their nonlinearities (..., 4h) and the cell before -> h and c."""
    hidden = c.shape[-1]
    i, f, o = a[..., : 3 * hidden].sigmoid().chunk(3, -1)
    c = f * c + i * a[..., 3 * hidden :].tanh()
    return o * c.tanh(), c


class RowStates:
    """Row LSTM: h and c of the row above, (n, W, h)."""

    def __init__(self, layer: RowLSTM, n: int, width: int, labels: Tensor | None):
        self.taps, self.reach = layer.taps, layer.state.shape[1] // 2
        self.k_is = layer.input.weight.t()
        self.bias = (
            layer.input.bias if labels is None or layer.label is None else layer.input.bias + layer.label(labels)
        )
        self.k_ss = layer.state[0].flatten(0, 1)
        self.h = layer.state.new_zeros(n, width + 2 * self.reach, layer.hidden)
        self.c = layer.state.new_zeros(n, width, layer.hidden)
        self.line = layer.state.new_zeros(n, width + self.taps - 1, 2 * layer.hidden)  # the layer's input
        self.new = torch.zeros_like(self.h)
        self.out, self.out_bias = layer.out.weight.t(), layer.out.bias

    def begin(self) -> None:
        """Before a row: what the row above gives to each pixel, (n, W, 4h)."""
        self.h, self.new = self.new, self.h
        windows = self.h.unfold(1, 2 * self.reach + 1, 1).transpose(2, 3).flatten(2)
        bias = self.bias if self.bias.dim() == 1 else self.bias[:, None]
        self.given = (windows @ self.k_ss + bias).transpose(0, 1).contiguous()

    def pixel(self, column: int, x: Tensor) -> Tensor:
        """x (n, 2h) of the pixel -> x + out(h)."""
        self.line[:, column + self.taps - 1] = x
        window = self.line[:, column : column + self.taps].flatten(1)
        h, c = step_lstm(torch.addmm(self.given[column], window, self.k_is), self.c[:, column])
        self.c[:, column], self.new[:, column + self.reach] = c, h
        return torch.addmm(x + self.out_bias, h, self.out)


class LeftStates:
    """The diagonal LSTM that runs with the raster: h of the row above, h and c of the pixel to the left."""

    def __init__(self, layer: DiagonalBiLSTM, n: int, width: int, labels: Tensor | None):
        size = 4 * layer.hidden
        self.k_is, self.bias = layer.input.weight[:size].t(), layer.input.bias[:size]
        if labels is not None and layer.label is not None:
            self.bias = self.bias + layer.label(labels)[:, :size]
        self.above, self.beside = layer.state[0].unbind()
        self.row = layer.state.new_zeros(width, n, layer.hidden)  # h of the row above, then of this one
        self.right = layer.state.new_zeros(width, n, layer.hidden)  # of the other direction, one row up
        self.inputs = layer.state.new_zeros(width, n, 2 * layer.hidden)
        self.out, self.out_bias = layer.out.weight.t(), layer.out.bias

    def begin(self) -> None:
        """Before a row: what the pixel above gives to each, (W, n, 4h)."""
        self.given = self.row @ self.above + self.bias
        self.h = torch.zeros_like(self.row[0])
        self.c = torch.zeros_like(self.h)

    def pixel(self, column: int, x: Tensor) -> Tensor:
        """x (n, 2h) of the pixel -> x + out(h)."""
        a = torch.addmm(self.given[column], x, self.k_is).addmm_(self.h, self.beside)
        self.h, self.c = step_lstm(a, self.c)
        self.row[column], self.inputs[column] = self.h, x
        return torch.addmm(x + self.out_bias, self.h + self.right[column], self.out)


class RightStates:
    """The diagonal LSTMs of all layers that run against the raster, over a row that is finished."""

    def __init__(self, layers: list[DiagonalBiLSTM], states: list[LeftStates], labels: Tensor | None):
        self.states, size = states, 4 * layers[0].hidden
        self.k_is = torch.stack([layer.input.weight[size:].t() for layer in layers])
        bias = [layer.input.bias[size:].expand(states[0].row.shape[1], -1) for layer in layers]
        if labels is not None:
            bias = [b if layer.label is None else b + layer.label(labels)[:, size:] for b, layer in zip(bias, layers)]
        self.bias = torch.stack(bias)
        self.above = torch.stack([layer.state[1, 0] for layer in layers])
        self.beside = torch.stack([layer.state[1, 1] for layer in layers])

    def sweep(self) -> None:
        """h of every pixel of the row just finished, from that of the row above it."""
        states = self.states
        above = torch.stack([s.right for s in states])  # (layers, W, n, h)
        count, width, n, hidden = above.shape
        inputs = torch.stack([s.inputs for s in states])
        a = torch.baddbmm(above.flatten(1, 2) @ self.above, inputs.flatten(1, 2), self.k_is)
        a = a.view(count, width, n, 4 * hidden) + self.bias[:, None]
        h = c = above.new_zeros(count, n, hidden)
        for column in range(width - 1, -1, -1):
            h, c = step_lstm(torch.baddbmm(a[:, column], h, self.beside), c)
            for state, h_l in zip(states, h):
                state.right[column] = h_l


class Carried:
    """n pictures being painted together."""

    def __init__(self, model: PixelRNN, painter: Painter, labels: Tensor | None):
        self.model, self.painter = model, painter
        self.height, self.width, n, _ = painter.chances.shape
        self.reach = model.first.reach
        like = painter.values
        features = like.shape[1] * model.channels
        self.rows = like.new_zeros(n, self.reach, self.width, features)
        self.line = like.new_zeros(n, self.width + self.reach, features)
        weight = model.first.left.weight
        self.left = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])
        layers: list[Layer] = model.stack()
        self.states: list[RowStates | LeftStates] = []
        for layer in layers:
            if isinstance(layer, RowLSTM):
                self.states.append(RowStates(layer, n, self.width, labels))
            else:
                assert isinstance(layer, DiagonalBiLSTM)
                self.states.append(LeftStates(layer, n, self.width, labels))
        diagonal = [layer for layer in layers if isinstance(layer, DiagonalBiLSTM)]
        both = [state for state in self.states if isinstance(state, LeftStates)]
        self.right = RightStates(diagonal, both, labels) if diagonal else None

    def paint(self) -> Iterator[int]:
        """Paint; yields the number of places done after each row."""
        for r in range(self.height):
            self.row(r)
            yield (r + 1) * self.width

    @torch.no_grad()
    def row(self, r: int) -> None:
        """Paint a row."""
        painter = self.painter
        if r and self.right is not None:
            self.right.sweep()
        above = convolve(self.rows, self.model.first.above)[:, 0].transpose(0, 1)
        if self.model.place is not None:
            above = above + self.model.place[r][:, None]
        for state in self.states:
            state.begin()
        for c in range(self.width):
            x = torch.addmm(above[c], self.line[:, c : c + self.reach].flatten(1), self.left)
            for state in self.states:
                x = state.pixel(c, x)
            known = None if painter.known is None else painter.known[r, c]
            levels, seen = painter.draw(x, painter.chances[r, c], known)
            painter.grid[r, c] = levels
            self.line[:, c + self.reach] = seen
        new = self.line[:, None, self.reach :]
        self.rows = torch.cat([self.rows[:, 1:], new], 1)


def draw(
    model: PixelRNN,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    known: Tensor | None = None,
) -> Iterator[Partial | Tensor]:
    """Draw n grids, row by row; the rest as in `paint`."""
    labels, weights = model.given(labels), tail(model)
    each = 4 * model.width * model.config.hidden * 12 * max(1, model.config.layers)
    size = max(1, CACHE_BYTES // each)
    yield from paint(
        model,
        n,
        weights,
        size,
        lambda painter, given: Carried(model, painter, given),
        step=step,
        labels=labels,
        temperature=temperature,
        known=known,
    )
