"""Masked self-attention over the last `context` steps, for comparison with the recurrent nets and the convolutions.

Vaswani et al. 2017 with what became usual: normalisation before each part (RMSNorm, Zhang & Sennrich 2019), rotary
positions (Su et al. 2021), ReLU^2 between the two layers of the feed-forward part (So et al. 2021).

A step attends to itself and the context - 1 steps before it, in training as in sampling. The state is the cache: the keys and
values of those steps, and how many of them there are. Keys are kept without their rotation and are rotated by their place
in the cache: rotary scores depend on differences of positions alone, so the cache slides for ever and the numbers are
those of the whole sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import Backbone, State

if TYPE_CHECKING:
    from .configs import BackboneConfig


def angles(positions: int, features: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position times frequency, (positions, features / 2) each (Su et al. 2021, equation 34)."""
    half = features // 2
    frequency = 10_000 ** -(torch.arange(half, device=like.device, dtype=torch.float64) / half)
    angle = torch.arange(positions, device=like.device)[:, None] * frequency
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Pairs of features of x (B, heads, T, D) turned by the angles of the last T positions."""
    cos, sin = (part[len(part) - x.shape[2] :] for part in turn)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Norm(nn.RMSNorm):
    """x g / rms(x) (Zhang & Sennrich 2019, equation 4), of g in x's own type: under autocast torch has no fast way else."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class SelfAttention(nn.Module):
    """Heads of scaled dot products over a sliding window."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, turn: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, W), cache (B, heads, S, D) twice, mask (B or 1, 1, T, S + T) -> y (B, T, W), keys and values (S + T)."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.query_key_value(x).chunk(3, -1)
        )
        if keys.shape[2]:
            k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        y = F.scaled_dot_product_attention(
            rotate(q, turn), rotate(k, turn), v, attn_mask=mask, is_causal=mask is None,
            dropout_p=self.dropout if self.training else 0.0,
        )  # fmt: skip
        return self.out(y.transpose(1, 2).flatten(2)), k, v


class Block(nn.Module):
    """x + attention(norm x), then x + feed-forward(norm x)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.before_attention, self.before_feed = Norm(width), Norm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.dropout = dropout
        for last in (self.attention.out, self.down):  # each block begins as the identity
            nn.init.zeros_(last.weight)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, turn: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, keys, values = self.attention(self.before_attention(x), keys, values, mask, turn)
        x = x + F.dropout(y, self.dropout, self.training)
        y = self.down(F.relu(self.up(self.before_feed(x))).square())
        return x + F.dropout(y, self.dropout, self.training), keys, values


class Attention(Backbone):
    """`layers` blocks; state: "keys" and "values" of each layer (B, heads, context - 1, D), filled from the end, and
    "count" (B, 1), how many of them there are."""

    def __init__(self, config: BackboneConfig, features: int):
        super().__init__()
        if config.hidden % (2 * config.heads):
            from gentool import UsageError

            raise UsageError(
                f"model.hidden = {config.hidden} cannot be shared out to {config.heads} heads of an even size; "
                f"take a multiple of {2 * config.heads}, or other model.heads."
            )
        self.width, self.heads, self.cache = config.hidden, config.heads, config.context - 1
        self.enter = nn.Identity() if features == config.hidden else nn.Linear(features, config.hidden)
        self.blocks = nn.ModuleList(Block(config.hidden, config.heads, config.dropout) for _ in range(config.layers))
        self.leave = Norm(config.hidden)

    parallel = True

    @property
    def reach(self) -> int:
        return 1 + len(self.blocks) * self.cache

    def start(self, rows: int) -> State:
        like = self.leave.weight
        shape = (rows, self.heads, self.cache, self.width // self.heads)
        state = {f"{kind}.{i}": like.new_zeros(shape) for i in range(len(self.blocks)) for kind in ("keys", "values")}
        state["count"] = torch.zeros(rows, 1, dtype=torch.int64, device=like.device)
        return state

    def mask(self, count: Tensor, known: int, steps: int) -> Tensor | None:
        """Which of the `known` cached and `steps` new steps each new one attends to: (B or 1, 1, steps, known + steps)."""
        if not known and steps <= self.cache + 1:
            return None  # plainly causal
        query = torch.arange(known, known + steps, device=count.device)[:, None]
        key = torch.arange(known + steps, device=count.device)
        seen = (key <= query) & (key >= query - self.cache)
        if known and int(count.min()) < known:
            return (seen & (key >= known - count[:, :, None]))[:, None]
        return seen[None, None]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        steps = x.shape[1]
        known = min(self.cache, int(state["count"].max()))  # the cached steps that any row has
        mask = self.mask(state["count"].clamp(max=known), known, steps)
        after: State = {}
        x = self.enter(x)
        turn = angles(known + steps, self.width // self.heads, x)
        for i, block in enumerate(self.blocks):
            keys, values = (state[f"{kind}.{i}"][:, :, self.cache - known :] for kind in ("keys", "values"))
            x, keys, values = block(x, keys, values, mask, turn)
            short = max(0, self.cache - keys.shape[2])
            for kind, all_ in (("keys", keys), ("values", values)):
                after[f"{kind}.{i}"] = F.pad(all_[:, :, all_.shape[2] - (self.cache - short) :], (0, 0, short, 0))
        after["count"] = (state["count"] + steps).clamp(max=self.cache)
        return self.leave(x), after
