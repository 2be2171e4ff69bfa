"""A temporal convolutional network: Bai et al. 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent
Networks for Sequence Modeling", section 3.

Residual blocks of two causal convolutions, the dilation doubled from block to block, so that the receptive field grows as
2^blocks. All steps of a sequence are computed at once; a step after another needs each layer's last inputs, which are the
state: so sampling costs a step what a recurrent net would, and gives the numbers of the whole sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from .backbone import Backbone, State

if TYPE_CHECKING:
    from .configs import BackboneConfig


class CausalConv(nn.Module):
    """y_t = sum_k w_k x_{t - d (K - 1 - k)} + b: (B, C, T) -> (B, H, T), after `reach` = d (K - 1) earlier inputs."""

    def __init__(self, channels: int, hidden: int, kernel: int, dilation: int):
        super().__init__()
        self.reach = dilation * (kernel - 1)
        conv = nn.Conv1d(channels, hidden, kernel, dilation=dilation)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        self.conv = weight_norm(conv)

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, T) and the inputs before it (B, C, reach) -> y, and the inputs before what comes next."""
        x = torch.cat([before, x], 2)
        y: Tensor = self.conv(x)
        return y, x[:, :, x.shape[2] - self.reach :]

    def thinned(self, x: Tensor, stride: int) -> Tensor:
        """Of x that holds every d-th step only, the last among them, and zeros before it: y at every `stride`-th of these
        steps, the last among them."""
        assert self.conv.bias is not None
        taps = self.conv.kernel_size[0]
        skipped = (x.shape[2] - 1) % stride
        before = taps - 1 - skipped
        x = F.pad(x, (before, 0)) if before > 0 else x[:, :, -before:]
        return F.conv1d(x, self.conv.weight, self.conv.bias, stride=stride)


class Block(nn.Module):
    """relu(x + f(x)) with f twice: convolution, ReLU, dropout of whole channels (figure 1b)."""

    def __init__(self, channels: int, hidden: int, kernel: int, dilation: int, dropout: float):
        super().__init__()
        self.first = CausalConv(channels, hidden, kernel, dilation)
        self.second = CausalConv(hidden, hidden, kernel, dilation)
        self.shortcut = nn.Conv1d(channels, hidden, 1) if channels != hidden else nn.Identity()
        self.dropout = dropout

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, first = self.first(x, state[0])
        y, second = self.second(self.activate(y), state[1])
        return F.relu(self.shortcut(x) + self.activate(y)), (first, second)

    def activate(self, y: Tensor) -> Tensor:
        """ReLU and spatial dropout: of a sequence whole channels (section 3.3), which also draws T times fewer numbers."""
        return F.dropout1d(F.relu(y), self.dropout, self.training)

    def thinned(self, x: Tensor, stride: int) -> Tensor:
        """As `CausalConv.thinned`: from every d-th step to every `stride`-th of these."""
        y = self.second.thinned(self.activate(self.first.thinned(x, 1)), stride)
        x = x[:, :, (x.shape[2] - 1) % stride :: stride]
        return F.relu(self.shortcut(x) + self.activate(y))


class Convolutional(Backbone):
    """`layers` blocks of dilation 1, 2, 4, ...; state: each convolution's last inputs "block.convolution" (B, C, reach)."""

    def __init__(self, config: BackboneConfig, features: int):
        super().__init__()
        self.width = config.hidden
        self.features = features
        widths = [features] + [config.hidden] * config.layers
        self.blocks = nn.ModuleList(
            Block(widths[i], config.hidden, config.kernel, 2**i, config.dropout) for i in range(config.layers)
        )

    parallel = True

    @property
    def reach(self) -> int:
        return 1 + sum(2 * block.first.reach for block in self.blocks)  # type: ignore[union-attr, misc, operator]

    def start(self, rows: int) -> State:
        state = {}
        like = next(self.parameters())
        for i, block in enumerate(self.blocks):
            reach = int(block.first.reach)  # type: ignore[union-attr, arg-type]
            for j, channels in enumerate((self.features if i == 0 else self.width, self.width)):
                state[f"{i}.{j}"] = like.new_zeros(rows, channels, reach)
        return state

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y = x.transpose(1, 2)
        after: State = {}
        for i, block in enumerate(self.blocks):
            y, (after[f"{i}.0"], after[f"{i}.1"]) = block(y, (state[f"{i}.0"], state[f"{i}.1"]))
        return y.transpose(1, 2), after

    def last(self, x: Tensor) -> Tensor:
        """The last step's features need, of what goes into block i, every 2^i-th step alone: as a dilated convolution reads
        it. So a sequence costs not `layers` but at most two times its length."""
        y = x.transpose(1, 2)
        for i, block in enumerate(self.blocks):
            y = block.thinned(y, 2 if i + 1 < len(self.blocks) else y.shape[2])  # type: ignore[operator]
        return y[:, :, -1]
