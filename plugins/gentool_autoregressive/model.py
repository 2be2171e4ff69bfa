"""Gated PixelCNN: van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders", figure 2.

p(x) is the product over pixels, in raster order, of p(x_i | x_1 .. x_{i-1}). Two stacks of convolutions see the past: the
*vertical* stack all rows above, the *horizontal* stack the pixels to the left and, through a 1x1 convolution of the
vertical one, the rows above. Together they leave no blind spot.

A mask over a square kernel would multiply zeros; here each kernel is only the taps that the mask keeps, and the input is
padded and shifted instead: the vertical one has k//2 + 1 rows of k, the horizontal one k//2 + 1 taps.

Inside, activations are channels-last, (N, H, W, features): 1x1 convolutions are then matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gentool import DataInfo

from .density import Drawer, PixelNet

if TYPE_CHECKING:
    from . import PixelCNNConfig


class Gate(torch.autograd.Function):
    """y = tanh(a) * sigmoid(b) with (a, b) the halves of the last dimension (equation 2): (..., 2p) -> (..., p).

    Keeps the two factors alone, and writes its gradient into one tensor: autograd's own keeps and joins twice as much.
    """

    @staticmethod
    def forward(ctx: Any, ab: Tensor) -> Tensor:
        a, b = ab.chunk(2, -1)
        t, s = torch.tanh(a), torch.sigmoid(b)
        ctx.save_for_backward(t, s)
        return t * s

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        t, s = ctx.saved_tensors
        grad = torch.empty((*t.shape[:-1], 2 * t.shape[-1]), dtype=t.dtype, device=t.device)
        da, db = grad.chunk(2, -1)
        torch.ops.aten.tanh_backward.grad_input(dy * s, t, grad_input=da)
        torch.ops.aten.sigmoid_backward.grad_input(dy * t, s, grad_input=db)
        return grad


def gate(ab: Tensor) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves of the last dimension."""
    if ab.requires_grad and torch.is_grad_enabled():
        gated: Tensor = Gate.apply(ab)  # type: ignore[no-untyped-call]
        return gated
    a, b = ab.chunk(2, -1)
    return torch.tanh(a) * torch.sigmoid(b)


def convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution of channels-last activations, (N, H, W, in) -> (N, H', W', out)."""
    y: Tensor = conv(x.permute(0, 3, 1, 2))
    return y.permute(0, 2, 3, 1)


class GatedLayer(nn.Module):
    """One layer of both stacks. `first` is the layer whose mask is of type A: it sees neither its own row nor pixel.

    v (N, H, W, in), h (N, H, W, in) -> v, h (N, H, W, p); v at row r has seen rows above r alone, h at (r, c) these and
    the columns before c. As in figure 2, the horizontal stack alone is residual, and not in the first layer, where
    h would carry the pixel itself.

    reach: k // 2. cone: above the first layer, the vertical kernel looks at rows above and at its own place, not along
    its own row; then nothing is seen further to the right than `reach` columns for each row up, and whole
    anti-diagonals can be drawn at once.
    """

    def __init__(self, inputs: int, p: int, kernel: int, *, first: bool, last: bool, cone: bool, classes: int):
        super().__init__()
        self.reach = reach = kernel // 2
        self.first, self.last = first, last
        own = 0 if first or cone else 1  # whether the vertical kernel has its own row
        self.v = nn.Conv2d(inputs, 2 * p, (reach + own, kernel), padding=(0, reach))
        self.v_rows = (reach, own - 1)  # rows padded above and below, so that row r sees no row after it
        self.v_own = nn.Linear(inputs, 2 * p, bias=False) if cone and not first else None
        self.h = nn.Conv2d(inputs, 2 * p, (1, reach if first else reach + 1))
        self.h_columns = (reach, -1 if first else 0)
        self.v_to_h = nn.Linear(2 * p, 2 * p, bias=False)
        self.out = nn.Linear(p, p)
        self.label = nn.Embedding(classes, 4 * p) if classes else None  # V^T h of equation 4, for v and for h
        if self.label is not None:
            nn.init.zeros_(self.label.weight)

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None, place: Tensor | None) -> tuple[Tensor, Tensor]:
        bias_v, bias_h = self.biases(labels, place)
        ab_v = convolve(F.pad(v, (0, 0, 0, 0, *self.v_rows)), self.v)
        if self.v_own is not None:
            ab_v = ab_v + self.v_own(v)
        if bias_v is not None:
            ab_v = ab_v + bias_v
        ab_h = convolve(F.pad(h, (0, 0, *self.h_columns)), self.h) + self.v_to_h(ab_v)
        if bias_h is not None:
            ab_h = ab_h + bias_h
        out = self.out(gate(ab_h))
        # The last layer's vertical output feeds nothing.
        return v if self.last else gate(ab_v), out if self.first else h + out

    def biases(self, labels: Tensor | None, place: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """What is added to both stacks before the gates: of the label (N, 1, 1, 2p), of the place (H, W, 2p)."""
        if self.label is not None:
            assert labels is not None
            bias = self.label(labels)[:, None, None]
            both = bias if place is None else bias + place
        elif place is not None:
            both = place
        else:
            return None, None
        v, h = both.chunk(2, -1)
        return v, h


class Head(nn.Module):
    """From the context of a pixel, (..., p), to its logits, (..., C, K): ReLU, 1x1, ReLU, 1x1.

    (van den Oord et al. 2016a, table 1.) Colours in turn: p(R | past) p(G | past, R) p(B | past, R, G). The stacks see
    whole pixels of the past; the channels of a pixel that come before channel c enter its hidden layer here, so that no
    feature has to be split among colours.
    """

    def __init__(self, p: int, hidden: int, channels: int, planes: int, outputs: int):
        super().__init__()
        self.planes = planes  # input planes a channel has
        self.hidden = nn.ModuleList(nn.Linear(p, hidden) for _ in range(channels))
        self.lower = nn.ModuleList(nn.Linear(c * planes, hidden, bias=False) for c in range(1, channels))
        self.logits = nn.ModuleList(nn.Linear(hidden, outputs) for _ in range(channels))

    def forward(self, context: Tensor, x: Tensor) -> Tensor:
        """context (..., p), x (..., C * planes) -> (..., C, K)."""
        context, made = F.relu(context), []
        for c, (hidden, logits) in enumerate(zip(self.hidden, self.logits)):
            a = hidden(context)
            if c:
                a = a + self.lower[c - 1](x[..., : c * self.planes])
            made.append(logits(F.relu(a)))
        return torch.stack(made, -2)

    def parts(self) -> Iterator[tuple[nn.Linear, nn.Linear | None, nn.Linear]]:
        """Of each channel: hidden layer, what lower channels add to it (None for the first), logits."""
        for c, (hidden, logits) in enumerate(zip(self.hidden, self.logits)):
            lower = self.lower[c - 1] if c else None
            yield cast(nn.Linear, hidden), cast("nn.Linear | None", lower), cast(nn.Linear, logits)


class PixelCNN(PixelNet):
    """A gated PixelCNN over grids of integers, (N, C, H, W) in [0, levels): pictures, or another model's codes."""

    name = "pixelcnn"

    def __init__(self, config: PixelCNNConfig, info: DataInfo):
        super().__init__(config, info)
        p = config.channels
        self.place = nn.Parameter(torch.zeros(self.height, self.width, 4 * p)) if config.place else None
        self.layers = nn.ModuleList(
            GatedLayer(
                p if i else self.features * self.channels,
                p,
                config.kernel if i else config.first_kernel,
                first=i == 0,
                last=i == config.layers - 1,
                cone=config.field == "cone",
                classes=self.classes,
            )
            for i in range(config.layers)
        )
        self.head = Head(p, config.hidden, self.channels, self.features, self.outputs)

    def stack(self) -> list[GatedLayer]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def context(self, planes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, H, W, C * planes) -> (N, H, W, p): what the pixels before each pixel say about it."""
        v = h = planes
        for layer in self.stack():
            v, h = layer(v, h, labels, self.place if layer.first else None)
        return h

    def drawer(self) -> Drawer:
        from .sampler import draw

        return draw
