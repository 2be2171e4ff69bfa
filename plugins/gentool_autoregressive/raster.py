"""Painting in raster order, evaluating only what a new pixel changes.

A row's vertical stack depends on the rows above alone: it is run once a row, over all columns, with the last rows of each
layer's input kept. The horizontal stack is run once a pixel, each layer on the last activations of its row: two matrix
products a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .model import convolve, gate

if TYPE_CHECKING:
    from .model import PixelCNN
    from .painter import Painter
    from .weights import Weights


class Raster:
    """n pictures being painted together."""

    @torch.inference_mode()
    def __init__(self, model: PixelCNN, weights: Weights, painter: Painter, labels: Tensor | None):
        self.model, self.weights, self.painter, self.labels = model, weights, painter, labels
        self.height, self.width, n, _ = painter.chances.shape
        like = weights.values
        planes = weights.values.shape[1] * model.channels
        p = model.config.channels
        # For each layer the last rows of the vertical stack's input, and one row of the horizontal one's.
        self.past: list[list[Tensor]] = []
        self.lines: list[Tensor] = []
        for i, layer in enumerate(weights.layers):
            inputs = p if i else planes
            self.past.append([like.new_zeros(n, 1, self.width, inputs) for _ in range(layer.reach)])
            self.lines.append(like.new_zeros(n, layer.reach + self.width, inputs))
        self.top = like.new_empty(n, self.width, p)
        self.ab = like.new_empty(n, 2 * p)
        self.gated = like.new_ones(n, p + 1)  # ends in 1, for the bias
        self.columns = [self._column(c) for c in range(self.width)]

    def _column(self, c: int) -> list[tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]]:
        """For each layer at column c: its window, its two matrices, h below (residual) and where its output goes."""
        steps = []
        for i, layer in enumerate(self.weights.layers):
            line = self.lines[i]
            window = line[:, c : c + layer.taps].flatten(1)
            below = None if layer.first else line[:, c + layer.reach]
            above = self.lines[i + 1][:, c + self.weights.layers[i + 1].reach] if not layer.last else self.top[:, c]
            steps.append((window, layer.h, layer.out, below, above))
        return steps

    def paint(self) -> Iterator[int]:
        """Paint; yields the number of places done after each row."""
        for r in range(self.height):
            self.row(r)
            yield (r + 1) * self.width

    @torch.inference_mode()
    def row(self, r: int) -> None:
        painter = self.painter
        a, b = self.ab.chunk(2, 1)
        gated = self.gated[:, :-1]
        above = self.rows_above(r)
        reach = self.weights.layers[0].reach
        for c, steps in enumerate(self.columns):
            for (window, matrix, out, below, output), context in zip(steps, above):
                torch.addmm(context[c], window, matrix, out=self.ab)
                torch.mul(a.tanh_(), b.sigmoid_(), out=gated)
                if below is None:
                    torch.mm(self.gated, out, out=output)
                else:
                    torch.addmm(below, self.gated, out, out=output)
            known = None if painter.known is None else painter.known[r, c]
            levels, planes = painter.draw(self.top[:, c], painter.chances[r, c], known)
            painter.grid[r, c] = levels
            self.lines[0][:, c + reach] = planes
        self.past[0] = [*self.past[0][1:], self.lines[0][:, None, reach:].clone()]

    def rows_above(self, r: int) -> list[Tensor]:
        """What the vertical stack gives to the horizontal one in row r, biases included: for each layer (W, n, 2p)."""
        given = []
        v: Tensor | None = None
        for i, layer in enumerate(self.model.stack()):
            place = self.weights.place[r] if layer.first and self.weights.place is not None else None
            bias_v, bias_h = layer.biases(self.labels, place)
            past = self.past[i]
            rows = past if v is None or layer.v_own is not None else [*past, v]
            ab = convolve(torch.cat(rows, 1), layer.v)
            if v is not None:
                if layer.v_own is not None:
                    ab = ab + layer.v_own(v)
                self.past[i] = [*past[1:], v]
            if bias_v is not None:
                ab = ab + bias_v
            context = layer.v_to_h(ab) + layer.h.bias
            if bias_h is not None:
                context = context + bias_h
            given.append(context[:, 0].transpose(0, 1).contiguous())
            v = gate(ab)
        return given
