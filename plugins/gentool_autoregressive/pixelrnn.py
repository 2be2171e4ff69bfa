"""PixelRNN: van den Oord et al. 2016a, "Pixel Recurrent Neural Networks".

A convolution of mask A looks at the pixels before each pixel; residual LSTM layers, of mask B, carry what was seen:

    row-lstm          from row to row, a triangle above the pixel (section 3.1)
    diagonal-bilstm   from both upper corners along the diagonals, all that comes before the pixel (section 3.2)

and two 1x1 convolutions turn the features into logits (table 1). As in this family's pixelcnn, a pixel's colours enter the
head in turn, so that no feature has to be split among them; and a mask is the taps it keeps.

Inside, activations are (H, W, N, features): see scan.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gentool import DataInfo

from .density import Drawer, PixelNet
from .model import Head, convolve
from .scan import Lines, scan

if TYPE_CHECKING:
    from . import PixelRNNConfig


class First(nn.Module):
    """The convolution of mask A, k x k: the k // 2 rows above, and k // 2 pixels to the left."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.reach = reach = kernel // 2
        self.above = nn.Conv2d(inputs, outputs, (reach, kernel), padding=(0, reach))
        self.left = nn.Conv2d(inputs, outputs, (1, reach), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, inputs) -> (N, H, W, outputs)."""
        above = convolve(F.pad(x, (0, 0, 0, 0, self.reach, -1)), self.above)
        return above + convolve(F.pad(x, (0, 0, self.reach, -1)), self.left)


class Layer(nn.Module):
    """What both kinds share: x (H, W, N, 2h) -> x + out(h), and a bias of the class."""

    offsets: tuple[int, ...]

    def __init__(self, hidden: int, directions: int, taps: int, classes: int):
        super().__init__()
        self.hidden = hidden
        self.state = nn.Parameter(torch.empty(directions, taps, hidden, 4 * hidden))  # K_ss
        nn.init.uniform_(self.state, -((taps * hidden) ** -0.5), (taps * hidden) ** -0.5)
        self.out = nn.Linear(hidden, 2 * hidden)
        self.label = nn.Embedding(classes, directions * 4 * hidden) if classes else None
        if self.label is not None:
            nn.init.zeros_(self.label.weight)

    def gates(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """The input-to-state part with its bias, (H, W, N, directions * 4h)."""
        raise NotImplementedError


class RowLSTM(Layer):
    """Convolutions of width k along the row: mask B from the input, whole from the row above."""

    def __init__(self, hidden: int, kernel: int, classes: int):
        super().__init__(hidden, 1, kernel, classes)
        self.taps = kernel // 2 + 1
        self.offsets = tuple(range(-(kernel // 2), kernel // 2 + 1))
        self.input = nn.Linear(self.taps * 2 * hidden, 4 * hidden)  # K_is

    def gates(self, x: Tensor, labels: Tensor | None) -> Tensor:
        width = x.shape[1]
        padded = F.pad(x, (0, 0, 0, 0, self.taps - 1, 0))
        a: Tensor = self.input(torch.cat([padded[:, k : k + width] for k in range(self.taps)], -1))
        return a if self.label is None or labels is None else a + self.label(labels)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        lines = Lines(x.shape[0], x.shape[1], diagonal=False)
        h = scan(self.gates(x, labels).to(self.state.dtype)[None], self.state, lines, self.offsets)[0]
        added: Tensor = self.out(h)
        return x + added


class DiagonalBiLSTM(Layer):
    """Two LSTMs, each pixel's after those of the pixel above it and the one beside it: to the left, and to the right.

    The second runs on the mirrored picture. What it found in a pixel's row is not before the pixel, so its output goes
    one row down before the two are added.
    """

    offsets = (-1, 0)  # along the diagonal before: the pixel above, the pixel beside

    def __init__(self, hidden: int, classes: int):
        super().__init__(hidden, 2, 2, classes)
        self.input = nn.Linear(2 * hidden, 8 * hidden)  # K_is of both

    def gates(self, x: Tensor, labels: Tensor | None) -> Tensor:
        a: Tensor = self.input(x)
        return a if self.label is None or labels is None else a + self.label(labels)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        lines = Lines(x.shape[0], x.shape[1], diagonal=True)
        left, right = self.gates(x, labels).to(self.state.dtype).chunk(2, -1)
        from_left, from_right = scan(torch.stack([left, right.flip(1)]), self.state, lines, self.offsets)
        below = F.pad(from_right.flip(1), (0, 0, 0, 0, 0, 0, 1, -1))
        added: Tensor = self.out(from_left + below)
        return x + added


class PixelRNN(PixelNet):
    """A density over grids of integers, (N, C, H, W) in [0, levels): pictures, or another model's codes."""

    name = "pixelrnn"

    def __init__(self, config: PixelRNNConfig, info: DataInfo):
        super().__init__(config, info)
        p = 2 * config.hidden
        self.first = First(self.features * self.channels, p, config.first_kernel)
        self.place = nn.Parameter(torch.zeros(self.height, self.width, p)) if config.place else None
        self.layers = nn.ModuleList(self._layer() for _ in range(config.layers))
        self.head = Head(p, config.head, self.channels, self.features, self.outputs)

    def _layer(self) -> Layer:
        if self.config.kind == "row-lstm":
            return RowLSTM(self.config.hidden, self.config.kernel, self.classes)
        return DiagonalBiLSTM(self.config.hidden, self.classes)

    def stack(self) -> list[Layer]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def context(self, planes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, H, W, C * planes) -> (N, H, W, 2h): what the pixels before each pixel say about it."""
        x: Tensor = self.first(planes)
        if self.place is not None:
            x = x + self.place
        x = x.permute(1, 2, 0, 3)
        for layer in self.stack():
            x = layer(x, labels)
        return x.permute(2, 0, 1, 3)

    def drawer(self) -> Drawer:
        from .carried import draw

        return draw
