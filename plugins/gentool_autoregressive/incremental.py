"""Drawing from nade and made with the work of one pass for a whole picture, instead of one pass for every pixel.

NADE keeps a = c + sum of W_i x_i over the pixels drawn: one row of W is added after each. MADE's hidden units are sorted
by degree: once pixel d is drawn, the units of degree d are final, and no unit is evaluated twice.

Every pixel is drawn at its own uniform number, a function of (seed, picture, place): a pass for every pixel
(`full_passes`) paints the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from gentool import Partial, Step

from . import chain_kernel
from .painter import chances_of

if TYPE_CHECKING:
    from .density import BinaryChain
    from .made import Made
    from .nade import Nade

AT_ONCE = 512  # pictures; more are drawn in turns


class Chain(Protocol):
    """One picture pixel by pixel, n of them at once: the log-odds of the next pixel, then its value."""

    def log_odds(self, d: int) -> Tensor:
        """(n,): of the pixel at position d of the order."""

    def take(self, d: int, x: Tensor) -> None:
        """The value drawn for it, (n,) of 0 and 1."""


class NadeChain:
    """a_d = c + sum of W_i x_i; the log-odds are b_d + V_d sigmoid(a_d)."""

    def __init__(self, model: Nade, n: int, labels: Tensor | None):
        self.bias, self.rows, self.v = model.bias[:, None].expand(-1, n).unbind(), model.w.unbind(), model.v.unbind()
        self.a = model.start(n, labels).clone()

    def log_odds(self, d: int) -> Tensor:
        return torch.addmv(self.bias[d], self.a.sigmoid(), self.v[d])

    def take(self, d: int, x: Tensor) -> None:
        self.a.addr_(x, self.rows[d])


class MadeChain:
    """The hidden units of each layer sorted by degree; `ends[d]` of them have a degree of at most d.

    Units and inputs are rows, (units, n), so that the units of a degree lie together.
    """

    def __init__(self, model: Made, component: int, n: int, labels: Tensor | None):
        order, _, degrees = model.components[component]
        like = model.out.weight
        order = order.to(like.device)
        self.x = like.new_zeros(model.places, n)  # in the order, not by place
        self.layers: list[tuple[Tensor, Tensor, list[int], Tensor]] = []
        below, place = order, torch.arange(model.places + 1)
        for i, (layer, degree) in enumerate(zip(model.hidden, degrees)):
            assert isinstance(layer, nn.Linear)
            rank = degree.argsort(stable=True).to(like.device)
            bias = layer.bias[:, None]
            if labels is not None and model.classes:
                bias = bias + model.label[i](labels).t()
            ends = torch.searchsorted(degree.sort().values, place, right=True).tolist()
            weight = _picked(layer.weight, rank, below)
            self.layers.append((weight, bias[rank], ends, like.new_zeros(len(rank), n)))
            below = rank
        self.v = _picked(model.out.weight, order, below).unbind()
        self.bias = model.out.bias[order][:, None].expand(-1, n).unbind()
        self.direct = None if model.direct is None else _picked(model.direct, order, order).unbind()

    def log_odds(self, d: int) -> Tensor:
        _, _, ends, h = self.layers[-1]
        end = ends[d]  # units of degree 1 .. d see only what is drawn: positions 1 .. d
        logits = torch.addmv(self.bias[d], h[:end].t(), self.v[d][:end])
        return logits if self.direct is None else logits.addmv_(self.x[:d].t(), self.direct[d][:d])

    def take(self, d: int, x: Tensor) -> None:
        self.x[d] = x
        below, seen = self.x, d + 1
        for weight, bias, ends, h in self.layers:
            start, end = ends[d], ends[d + 1]
            if end > start:
                torch.addmm(bias[start:end], weight[start:end, :seen], below[:seen], out=h[start:end]).relu_()
            below, seen = h, end


def _picked(weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """weight[rows][:, columns], without a copy where both are in order already."""
    for dim, index in ((0, rows), (1, columns)):
        if not torch.equal(index, torch.arange(len(index), device=index.device)):
            weight = weight.index_select(dim, index)
    return weight


@torch.no_grad()
def draw(
    model: BinaryChain,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    known: Tensor | None = None,
) -> Iterator[Partial | Tensor]:
    """Draw n grids, each by one component, those of a component together; a Partial after each row of the picture.

    Ends with int64 (n, C, H, W). known: levels (n, C, H, W) that are kept where they are not -1.
    """
    labels = model.given(labels)
    dtype = next(model.parameters()).dtype
    chosen = model.choose(n, step, labels, known)
    chances = _chances(model, n, step, temperature, dtype)
    given = None if known is None else model.flat(known)
    x = torch.zeros_like(chances, dtype=torch.int64)
    every, done = model.width * model.channels, 0
    for m in sorted(set(chosen.tolist())):
        for rows in (chosen == m).nonzero()[:, 0].split(AT_ONCE):
            label = None if labels is None else labels[rows]
            if chain_kernel.chain.uses_triton(x.device) and not chain_kernel.unfit(model):
                x[rows] = _at_once(model, m, chances[rows], None if given is None else given[rows], label)
                done += len(rows) * model.places
                yield Partial(done, n * model.places, images=model.dequantise(model.grid(x)))
                continue
            chain = model.chain(m, len(rows), label)
            u = chances[rows].t().contiguous()
            kept = None if given is None else given[rows].t().to(dtype).contiguous()
            drawn = torch.zeros_like(u)
            for d, place in enumerate(model.order(m)):
                value = torch.ge(chain.log_odds(d), u[place], out=drawn[place])
                if kept is not None:
                    value.copy_(torch.where(kept[place] >= 0, kept[place], value))
                chain.take(d, value)
                if (d + 1) % every == 0:
                    x[rows] = drawn.t().long()
                    images = model.dequantise(model.grid(x))
                    yield Partial(done + len(rows) * (d + 1), n * model.places, images=images)
            done += len(rows) * model.places
    yield model.grid(x).contiguous()


def _at_once(
    model: BinaryChain, component: int, chances: Tensor, known: Tensor | None, labels: Tensor | None
) -> Tensor:
    """The pictures of a component by one launch, (n, D) int64."""
    order = torch.tensor(model.order(component), device=chances.device)
    packed = chain_kernel.pack(model, component, len(chances), labels)
    drawn = chain_kernel.chain(chances[:, order], None if known is None else known[:, order], *packed)
    made = torch.empty_like(drawn)
    made[:, order] = drawn
    return made


def _chances(model: BinaryChain, n: int, step: Step, temperature: float, dtype: torch.dtype) -> Tensor:
    """The threshold of each pixel's log-odds, (n, D): above it the pixel is 1."""
    uniform = step.uniform(n, model.channels, model.height, model.width, purpose="pixels")
    return chances_of(uniform, 2, temperature, dtype).permute(2, 0, 1, 3).flatten(1)


@torch.no_grad()
def full_passes(
    model: BinaryChain,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    places: int | None = None,
) -> Tensor:
    """The definition, which the chains reproduce: the whole net again for every pixel. (n, C, H, W).

    places: stop after so many pixels, to time it.
    """
    labels, dtype = model.given(labels), next(model.parameters()).dtype
    chosen = model.choose(n, step, labels, None)
    chances = _chances(model, n, step, temperature, dtype)
    x = torch.zeros_like(chances)
    for m in sorted(set(chosen.tolist())):
        rows = (chosen == m).nonzero()[:, 0]
        for place in model.order(m)[:places]:
            logits = model.logits(x[rows], None if labels is None else labels[rows], m)
            x[rows, place] = torch.ge(logits[:, place], chances[rows, place]).to(dtype)
    return model.grid(x.long())
