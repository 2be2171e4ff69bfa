"""The networks: a U-Net (Ho et al. 2020, appendix B) and, for the smallest data, an autoencoder of dense layers.

Both map x_t (N, C, H, W), times t (N,) and an embedding of what is given to (N, outputs, H, W).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .kernels import group_norm_silu


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of t (N,) at `width` / 2 frequencies from 1 to 1/10000 (Vaswani et al. 2017): (N, width)."""
    half = width // 2
    frequency = torch.exp(-math.log(10000) / half * torch.arange(half, device=t.device, dtype=torch.float32))
    angle = t.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)


def groups_of(channels: int) -> int:
    """As many groups as leave eight channels in each, at most 32."""
    return next(g for g in range(min(32, max(1, channels // 8)), 0, -1) if channels % g == 0)


class Embedding(nn.Module):
    """Times t (N,) in training steps, and labels (N,) where there are any, as one vector (N, width)."""

    def __init__(self, channels: int, width: int, labels: int):
        super().__init__()
        self.channels = channels
        self.first, self.second = nn.Linear(channels, width), nn.Linear(width, width)
        self.labels = nn.Embedding(labels, width) if labels else None

    def forward(self, t: Tensor, labels: Tensor | None) -> Tensor:
        h = self.second(F.silu(self.first(sinusoid(t, self.channels))))
        if self.labels is not None and labels is not None:
            h = h + self.labels(labels)
        return F.silu(h)


class NormSiLU(nn.Module):
    """silu(GroupNorm(x)), one operation."""

    def __init__(self, channels: int):
        super().__init__()
        self.groups = groups_of(channels)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return group_norm_silu(x, self.weight, self.bias, self.groups)


class Residual(nn.Module):
    """x + f(x, t): norm, convolution, the time embedding added, norm, convolution; the last begins at 0."""

    def __init__(self, before: int, after: int, embedding: int, dropout: float):
        super().__init__()
        self.norm1, self.conv1 = NormSiLU(before), nn.Conv2d(before, after, 3, padding=1)
        self.time = nn.Linear(embedding, after)
        self.norm2, self.conv2 = NormSiLU(after), nn.Conv2d(after, after, 3, padding=1)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x))
        h = h + self.time(embedded)[:, :, None, None].to(h.dtype)
        h = self.conv2(self.dropout(self.norm2(h)))
        return self.skip(x) + h  # type: ignore[no-any-return]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over (N, heads, places, d). On a CPU, whose fused attention is slow backward on the few
    places of a small grid (49: 7x), as two products."""
    if q.device.type != "cpu" or q.shape[2] > 256:
        return F.scaled_dot_product_attention(q, k, v)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
    seen: Tensor = scores.softmax(3).to(v.dtype) @ v
    return seen


class Attention(nn.Module):
    """x + self-attention over the places of the grid; the projection back begins at 0."""

    def __init__(self, channels: int, head: int):
        super().__init__()
        self.heads = next(h for h in range(max(1, channels // head), 0, -1) if channels % h == 0)
        self.norm = nn.GroupNorm(groups_of(channels), channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).reshape(n, h * w, 3, self.heads, -1).unbind(2)
        seen = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        seen = seen.transpose(1, 2).reshape(n, h, w, c).permute(0, 3, 1, 2)
        return x + self.out(seen)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """A residual block, with self-attention after it where the grid is of a chosen side."""

    def __init__(self, before: int, after: int, embedding: int, dropout: float, head: int):
        super().__init__()
        self.block = Residual(before, after, embedding, dropout)
        self.attention = Attention(after, head) if head else nn.Identity()

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        return self.attention(self.block(x, embedded))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Down by strided convolutions, up by nearest neighbour and a convolution; every feature on the way down is
    concatenated on the way up (Ronneberger et al. 2015; Ho et al. 2020).

    `widths`: channels of each level; `attention`: sides of the grid that have self-attention; `patch`: pixels of a side
    that are folded into channels first. Any picture size: a side is filled up to a multiple of the patch and cut again.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        size: tuple[int, int],
        *,
        widths: tuple[int, ...],
        blocks: int,
        attention: tuple[int, ...],
        head: int,
        dropout: float,
        patch: int,
        embedding: int,
    ):
        super().__init__()
        self.patch = patch
        sides = [-(-min(size) // patch)]
        for _ in widths[1:]:
            sides.append(-(-sides[-1] // 2))

        def stage(before: int, after: int, side: int) -> Stage:
            return Stage(before, after, embedding, dropout, head if side in attention else 0)

        self.stem = nn.Conv2d(channels * patch**2, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        kept, now = [widths[0]], widths[0]
        for level, (width, side) in enumerate(zip(widths, sides, strict=True)):
            if level:
                self.shrink.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                kept.append(now)
            stages = nn.ModuleList()
            for _ in range(blocks):
                stages.append(stage(now, width, side))
                now = width
                kept.append(now)
            self.down.append(stages)
        self.middle = nn.ModuleList([stage(now, now, sides[-1]), Stage(now, now, embedding, dropout, 0)])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, (width, side) in reversed(list(enumerate(zip(widths, sides, strict=True)))):
            stages = nn.ModuleList()
            for _ in range(blocks + 1):
                stages.append(stage(now + kept.pop(), width, side))
                now = width
            self.up.append(stages)
            if level:
                self.grow.append(nn.Conv2d(now, now, 3, padding=1))
        self.norm, self.head = NormSiLU(now), nn.Conv2d(now, outputs * patch**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        height, width = x.shape[2:]
        p = self.patch
        if height % p or width % p:
            x = F.pad(x, (0, -width % p, 0, -height % p), mode="replicate")
        h = self.stem(F.pixel_unshuffle(x, p) if p > 1 else x)
        kept = [h]
        for level, stages in enumerate(self.down):
            if level:
                h = self.shrink[level - 1](h)
                kept.append(h)
            for stage in stages:  # type: ignore[attr-defined]
                h = stage(h, embedded)
                kept.append(h)
        for stage in self.middle:
            h = stage(h, embedded)
        for level, stages in enumerate(self.up):
            if level:
                h = self.grow[level - 1](F.interpolate(h, size=kept[-1].shape[2:], mode="nearest"))
            for stage in stages:  # type: ignore[attr-defined]
                h = stage(torch.cat([h, kept.pop()], 1), embedded)
        h = self.head(self.norm(h))
        return (F.pixel_shuffle(h, p) if p > 1 else h)[:, :, :height, :width]


class Dense(nn.Module):
    """No U-Net: dense layers that narrow to a bottleneck and widen again, as an autoencoder's, each told the time.

    For pictures of a few pixels, or for vectors (as pictures of one pixel). `widths`: units of the layers; a layer that is
    as wide as the one before is residual.
    """

    def __init__(self, channels: int, outputs: int, size: tuple[int, int], *, widths: tuple[int, ...], embedding: int):
        super().__init__()
        self.size, self.outputs = size, outputs
        places = math.prod(size)
        self.first = nn.Linear(channels * places, widths[0])
        self.norms = nn.ModuleList(nn.LayerNorm(a) for a in widths)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise((*widths, widths[-1])))
        self.times = nn.ModuleList(nn.Linear(embedding, b) for b in (*widths[1:], widths[-1]))
        self.last = nn.Linear(widths[-1], outputs * places)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        for norm, layer, time in zip(self.norms, self.layers, self.times, strict=True):
            after = layer(F.silu(norm(h))) + time(embedded)
            h = h + after if h.shape == after.shape else after
        return self.last(F.silu(h)).view(-1, self.outputs, *self.size)  # type: ignore[no-any-return]
