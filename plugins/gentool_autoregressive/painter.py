"""What every order of painting shares: from the context of a pixel to its value, and pictures a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from gentool import Partial, Step

from .weights import Weights

if TYPE_CHECKING:
    from .density import PixelNet


class Engine(Protocol):
    """Paints the pictures of a `Painter`, in an order of its own."""

    def paint(self) -> Iterator[int]:
        """Paint; yields, about once a row, how many of the H W places are done."""


class Painter:
    """Draws levels by inverting their distribution at given uniform numbers, so that a value depends on nothing else.

    Tensors are laid out by place, (H, W, n, C): `chances` as `chances_of` makes them, `known` levels that are to be kept
    (-1: draw), `grid` what has been painted so far.
    """

    def __init__(self, weights: Weights, chances: Tensor, temperature: float, known: Tensor | None):
        self.heads, self.values = weights.heads, weights.values
        self.chances, self.temperature, self.known = chances, temperature, known
        self.grid = torch.zeros(chances.shape, dtype=torch.int64, device=chances.device)

    def draw(self, context: Tensor, chances: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """context (M, p), chances and known (M, C) -> levels (M, C), and as the net sees them, (M, C * planes)."""
        context = torch.relu(context)
        levels: list[Tensor] = []
        seen: list[Tensor] = []
        for c, head in enumerate(self.heads):
            a = torch.addmm(head.hidden_bias, context, head.hidden)
            if head.lower is not None:
                a.addmm_(seen[0] if c == 1 else torch.cat(seen, 1), head.lower)
            logits = torch.addmm(head.logits_bias, a.relu_(), head.logits)
            if logits.shape[1] == 1:
                level = torch.ge(logits[:, 0], chances[:, c]).long()
            else:
                level = self._invert(logits, chances[:, c, None])
            if known is not None:
                level = torch.where(known[:, c] >= 0, known[:, c], level)
            levels.append(level)
            seen.append(self.values.index_select(0, level))
        if len(levels) == 1:
            return levels[0][:, None], seen[0]
        return torch.stack(levels, 1), torch.cat(seen, 1)

    def _invert(self, logits: Tensor, chance: Tensor) -> Tensor:
        """The least level whose cumulative probability is above `chance`; (M, K), (M, 1) -> (M,)."""
        if self.temperature != 1:
            logits = logits / self.temperature
        cumulative = (logits - logits.amax(1, keepdim=True)).exp_().cumsum_(1)
        below = cumulative <= chance * cumulative[:, -1:]
        return below.sum(1).clamp_(max=logits.shape[1] - 1)


def chances_of(uniform: Tensor, levels: int, temperature: float, dtype: torch.dtype) -> Tensor:
    """Uniform numbers (n, C, H, W) in [0, 1) as `Painter` compares them, (H, W, n, C).

    For two levels these are thresholds of the log-odds l: level 1 where u >= sigmoid(-l / T), that is l >= -T logit(u).
    """
    u = uniform.permute(2, 3, 0, 1)
    if levels == 2:
        u = -temperature * torch.logit(u.double())
    return u.to(dtype).contiguous()


def paint(
    model: PixelNet,
    n: int,
    weights: Weights,
    size: int,
    engine: Callable[[Painter, Tensor | None], Engine],
    *,
    step: Step,
    labels: Tensor | None,
    temperature: float,
    known: Tensor | None,
) -> Iterator[Partial | Tensor]:
    """Draw n grids, `size` of them at a time, by an engine for each of their painters and labels.

    Ends with int64 (n, C, H, W). known: levels (n, C, H, W) that are kept where they are not -1: the rest is drawn
    given what comes before it.
    """
    uniform = step.uniform(n, model.channels, model.height, model.width, purpose="pixels")
    grid, places = torch.zeros_like(uniform, dtype=torch.int64), model.height * model.width
    for start in range(0, n, size):
        part = slice(start, start + size)
        painter = Painter(
            weights,
            chances_of(uniform[part], model.levels, temperature, weights.values.dtype),
            temperature,
            None if known is None else known[part].permute(2, 3, 0, 1).contiguous(),
        )
        for done in engine(painter, None if labels is None else labels[part]).paint():
            grid[part] = painter.grid.permute(2, 3, 0, 1)
            yield Partial(start * places + done * len(grid[part]), n * places, images=model.dequantise(grid))
    yield grid
