"""What every way to treat a sequence has in common, so that models choose one by a word.

A backbone maps steps x (B, T, F) to features (B, T, width), each from the steps up to its own alone, and carries a state
over the end of a piece of the sequence. A state is a flat mapping of tensors with the rows of the batch first, and a row
of zeros is the state of a sequence that has not begun: so rows can be picked, zeroed and saved without knowing whose they
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from .configs import BackboneConfig

State = dict[str, Tensor]


class Backbone(nn.Module):
    """See the module's text. `width` is the number of features it gives."""

    width: int

    def start(self, rows: int) -> State:
        """The state before the first step, of zeros, for so many sequences."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, T, F) and the state before it -> features (B, T, width) and the state after it."""
        raise NotImplementedError

    def last(self, x: Tensor) -> Tensor:
        """x (B, T, F), with which a sequence begins -> the features after its last step alone, (B, width)."""
        features: Tensor = self(x, self.start(len(x)))[0]
        return features[:, -1]

    @property
    def reach(self) -> int | None:
        """How many steps an output sees, its own included; None: all there were."""
        return None

    parallel = False  # whether a sequence's steps are computed side by side in training

    def facts(self) -> dict[str, float | str]:
        """What tells the ways to treat a sequence apart."""
        return {
            "receptive field": "all steps" if self.reach is None else self.reach,
            "steps in training": "side by side" if self.parallel else "one by one",
            "numbers carried": sum(part.numel() for part in self.start(1).values()),
        }

    def read(self, inputs: TokenInput, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The same for tokens (B, T)."""
        made: tuple[Tensor, State] = self(inputs(tokens, next(self.parameters()).dtype), state)
        return made


class TokenInput(nn.Module):
    """Tokens (B, T) -> vectors (B, T, features): rows of a learned table, or one-hot."""

    def __init__(self, kind: Literal["embedding", "one-hot"], vocabulary: int, features: int):
        super().__init__()
        self.vocabulary = vocabulary
        self.features = features if kind == "embedding" else vocabulary
        self.weight: nn.Parameter | None = None
        if kind == "embedding":
            self.weight = nn.Parameter(torch.randn(vocabulary, features))

    def forward(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        if self.weight is None:
            return F.one_hot(tokens, self.vocabulary).to(dtype)
        return F.embedding(tokens, self.weight)

    def folded(self, w: Tensor, bias: Tensor) -> Tensor:
        """What the layer x -> W x + b makes of each token: W (G, features) -> (vocabulary, G)."""
        if self.weight is None:
            return w.t() + bias
        return torch.addmm(bias, self.weight, w.t())


def build(config: BackboneConfig, features: int) -> Backbone:
    """The backbone of a config's `cell` for steps of so many features."""
    if config.cell == "tcn":
        from .convolution import Convolutional

        return Convolutional(config, features)
    if config.cell == "attention":
        from .attention import Attention

        return Attention(config, features)
    from .recurrent import Recurrent

    return Recurrent(config, features)
