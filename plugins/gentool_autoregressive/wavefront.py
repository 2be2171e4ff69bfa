"""Painting whole anti-diagonals at once, where the receptive field allows it.

At step t the pixels (row r, column t - s r) of all rows r are drawn together, s the slope that the receptive field needs
(field.slope): W + s (H - 1) steps instead of W H. Each layer's activations are kept for the whole picture, and a diagonal
of them is a strided view: one row down is s columns left.

Where the vertical stack looks along its own row, its lower layers run ahead of the pixel being drawn (field.lags).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import field

if TYPE_CHECKING:
    from .model import PixelCNN
    from .painter import Painter
    from .weights import LayerWeights, Weights


class Plane:
    """(rows, n, columns, features) of one layer, zero where nothing has been written, with a margin above and around."""

    def __init__(self, like: Tensor, height: int, n: int, width: int, features: int, *, margin: int, slope: int):
        self.n, self.features, self.margin, self.slope = n, features, margin, slope
        self.data = like.new_zeros(height + margin, n, width + 2 * margin, features)

    def diagonal(self, rows: range, column: int, *, up: int = 0, left: int = 0, high: int = 1, wide: int = 1) -> Tensor:
        """A view (rows, n, high, wide * features): windows whose upper left corner is `up`, `left` of each pixel.

        The pixels are (r, column - slope * (r - rows[0])) for r in rows.
        """
        row, picture, place, _ = self.data.stride()
        start = (rows[0] - up + self.margin) * row + (column - left + self.margin) * place
        return self.data.as_strided(
            (len(rows), self.n, high, wide * self.features), (row - self.slope * place, picture, row, 1), start
        )


class Wavefront:
    """n pictures being painted together; `slope` other than the net's own is for tests."""

    @torch.inference_mode()
    def __init__(
        self, model: PixelCNN, weights: Weights, painter: Painter, labels: Tensor | None, slope: int | None = None
    ):
        self.weights, self.painter = weights, painter
        self.height, self.width, self.n, self.channels = painter.chances.shape
        self.slope = field.slope(model.config) if slope is None else slope
        self.lags = field.lags(model.config)
        p = model.config.channels
        planes = weights.values.shape[1] * model.channels
        self.p = p

        def plane(features: int, margin: int) -> Plane:
            return Plane(weights.values, self.height, self.n, self.width, features, margin=margin, slope=self.slope)

        reach = [layer.reach for layer in weights.layers]
        self.v = [plane(p if i else planes, reach[i]) for i in range(len(reach))]  # inputs of each layer
        self.h = [plane(p, reach[i]) if i else self.v[0] for i in range(len(reach))]
        self.ahead = [plane(2 * p, 0) if lag else None for lag in self.lags]  # given to h, until h is there
        self.place = weights.place
        self.labels = [
            None if layer.label is None or labels is None else layer.label[labels] for layer in weights.layers
        ]

    def paint(self) -> Iterator[int]:
        """Paint; yields the number of places done, about once a row."""
        steps = self.width + self.slope * (self.height - 1)
        done = 0
        for t in range(-self.lags[0], steps):
            done += self.step(t)
            if t >= 0 and (t % self.slope == self.slope - 1 or t == steps - 1):
                yield done

    def rows(self, t: int) -> range:
        """The rows r whose column t - s r is in the picture."""
        first = max(0, -((self.width - 1 - t) // self.slope))
        return range(first, min(self.height - 1, t // self.slope) + 1) if t >= 0 else range(0)

    @torch.inference_mode()
    def step(self, t: int) -> int:
        """Draw the pixels of step t, after what they need; the number of places drawn."""
        rows = self.rows(t)
        h: Tensor | None = None
        v: Tensor | None = None
        for i, layer in enumerate(self.weights.layers):
            given, v = self.vertical(i, layer, t + self.lags[i], v)
            ahead = self.ahead[i]
            if ahead is not None:
                if given is not None:
                    early = self.rows(t + self.lags[i])
                    column = t + self.lags[i] - self.slope * early[0]
                    ahead.diagonal(early, column).copy_(given.view(len(early), self.n, 1, -1))
                if rows:
                    given = ahead.diagonal(rows, t - self.slope * rows[0]).reshape(len(rows) * self.n, -1)
            if rows:
                assert given is not None
                h = self.horizontal(i, layer, rows, t, given, h)
        if rows:
            assert h is not None
            self.draw(rows, t, h)
        return len(rows)

    def vertical(self, i: int, layer: LayerWeights, t: int, v: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Layer i's vertical stack on the diagonal t: what it gives to h (rows * n, 2p), and its output (rows * n, p)."""
        rows = self.rows(t)
        if not rows:
            return None, None
        column = t - self.slope * rows[0]
        window = self.v[i].diagonal(
            rows, column, up=layer.reach, left=layer.reach, high=layer.rows, wide=2 * layer.reach + 1
        )
        m = len(rows) * self.n
        ab = torch.addmm(self.bias(i, layer.v_bias, 0, rows, column), window.reshape(m, -1), layer.v)
        if layer.v_own is not None:
            assert v is not None
            ab.addmm_(v, layer.v_own)
        given = torch.addmm(self.bias(i, layer.h_bias, 1, rows, column), ab, layer.v_to_h)
        if layer.last:
            return given, None
        a, b = ab.chunk(2, 1)
        v = torch.tanh(a).mul_(b.sigmoid_())
        self.v[i + 1].diagonal(rows, column).copy_(v.view(len(rows), self.n, 1, self.p))
        return given, v

    def horizontal(self, i: int, layer: LayerWeights, rows: range, t: int, given: Tensor, h: Tensor | None) -> Tensor:
        """Layer i's horizontal stack at the pixels of step t, (rows * n, p)."""
        column = t - self.slope * rows[0]
        window = self.h[i].diagonal(rows, column, left=layer.reach, wide=layer.taps)
        ab = given.addmm_(window.reshape(len(given), -1), layer.h)
        a, b = ab.chunk(2, 1)
        y = torch.tanh(a).mul_(b.sigmoid_())
        out = torch.addmm(layer.out[-1], y, layer.out[:-1])
        if h is not None:
            out.add_(h)
        if not layer.last:
            self.h[i + 1].diagonal(rows, column).copy_(out.view(len(rows), self.n, 1, self.p))
        return out

    def bias(self, i: int, bias: Tensor, part: int, rows: range, column: int) -> Tensor:
        """A stack's bias (part 0: v, 1: h) with those of label and place: (2p,) or (rows * n, 2p)."""
        label, half = self.labels[i], slice(2 * self.p * part, 2 * self.p * (part + 1))
        place = self.place if i == 0 else None
        if label is None and place is None:
            return bias
        made = bias.expand(len(rows), self.n, -1)
        if place is not None:
            row, step, _ = place.stride()
            start = rows[0] * row + column * step + half.start
            made = made + place.as_strided((len(rows), 1, 2 * self.p), (row - self.slope * step, 0, 1), start)
        if label is not None:
            made = made + label[:, half]
        return made.reshape(len(rows) * self.n, -1)

    def draw(self, rows: range, t: int, context: Tensor) -> None:
        painter, column = self.painter, t - self.slope * rows[0]
        known = None if painter.known is None else self._at(painter.known, rows, column).reshape(len(context), -1)
        chances = self._at(painter.chances, rows, column).reshape(len(context), -1)
        levels, planes = painter.draw(context, chances, known)
        self._at(painter.grid, rows, column).copy_(levels.view(len(rows), self.n, -1))
        self.v[0].diagonal(rows, column).copy_(planes.view(len(rows), self.n, 1, -1))

    def _at(self, places: Tensor, rows: range, column: int) -> Tensor:
        """The diagonal of a tensor (H, W, n, C), as a view (rows, n, C)."""
        row, step, picture, channel = places.stride()
        start = rows[0] * row + column * step
        size = (len(rows), self.n, self.channels)
        return places.as_strided(size, (row - self.slope * step, picture, channel), start)
