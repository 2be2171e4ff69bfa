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


class Block(nn.Module):
    """relu(x + f(x)) with f twice: convolution, ReLU, dropout (figure 1b)."""

    def __init__(self, channels: int, hidden: int, kernel: int, dilation: int, dropout: float):
        super().__init__()
        self.first = CausalConv(channels, hidden, kernel, dilation)
        self.second = CausalConv(hidden, hidden, kernel, dilation)
        self.shortcut = nn.Conv1d(channels, hidden, 1) if channels != hidden else nn.Identity()
        self.dropout = dropout

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, first = self.first(x, state[0])
        y = F.dropout(F.relu(y), self.dropout, self.training)
        y, second = self.second(y, state[1])
        y = F.dropout(F.relu(y), self.dropout, self.training)
        return F.relu(self.shortcut(x) + y), (first, second)


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
