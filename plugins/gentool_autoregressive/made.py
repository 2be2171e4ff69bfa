"""MADE: Germain et al. 2015, "MADE: Masked Autoencoder for Distribution Estimation".

An autoencoder whose weights are masked so that output d depends on the inputs before d alone: every input has its place
1 .. D in an order, every hidden unit a degree m in 1 .. D-1, and a unit sees units of at most its degree (equations 12
and 13; hidden layers may be many). All conditionals p(x_d | x_<d) are then one pass.

One set of weights serves several *components*: orders (the first is raster order) times patterns of connectivity, drawn
once from a fixed seed (section 4.2, 4.3). Training takes them in turn, a step each; at test time the density is their
mixture, p(x) = 1/M sum_m p_m(x), which is normalised as each of them is.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gentool import DataInfo, Step, UsageError
from gentool.randomness import derive_seed

from .density import BinaryChain

if TYPE_CHECKING:
    from . import MadeConfig
    from .incremental import MadeChain

KEPT_MASKS = 4  # components whose masks are kept; of more they are made anew for each pass


class Component(NamedTuple):
    """An order of the inputs and the degrees of the hidden units: what the masks are made of."""

    order: Tensor  # (D,) int64: the place that is at position 0, 1, ...
    position: Tensor  # (D,) int64: 1 for the place that comes first, ... D for the last
    degrees: list[Tensor]  # of each hidden layer (H,), int64 in 1 .. D-1


def components(places: int, hidden: int, layers: int, orders: int, masks: int) -> list[Component]:
    """Component o + orders * m has order o and connectivity m. The first has raster order and degrees spread evenly."""
    made, top = [], max(1, places - 1)
    for m in range(masks):
        for o in range(orders):
            random = torch.Generator().manual_seed(derive_seed(0, "made", o, m))
            order = torch.arange(places)
            if o:
                order = torch.randperm(places, generator=torch.Generator().manual_seed(derive_seed(0, "order", o)))
            position = torch.empty_like(order)
            position[order] = torch.arange(1, places + 1)
            degrees: list[Tensor] = []
            for _ in range(layers):
                if not (o or m):
                    degrees.append(1 + torch.arange(hidden) * top // hidden)
                    continue
                least = int(degrees[-1].min()) if degrees else 1  # a unit that sees nothing would be lost
                degrees.append(torch.randint(least, top + 1, (hidden,), generator=random))
            made.append(Component(order, position, degrees))
    return made


class Made(BinaryChain):
    """D binary pixels (their channels in turn, where there are several) -> D log-odds."""

    name = "made"

    def __init__(self, config: MadeConfig, info: DataInfo):
        super().__init__(config, info)
        places = self.places
        widths = [places, *[config.hidden] * config.layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.out = nn.Linear(config.hidden, places)
        self.direct = nn.Parameter(torch.zeros(places, places)) if config.direct else None  # A of equation 10
        self.label = nn.ModuleList(nn.Embedding(self.classes, config.hidden) for _ in self.hidden if self.classes)
        for label in self.label:
            nn.init.zeros_(label.weight)  # type: ignore[arg-type]
        self.components = components(places, config.hidden, config.layers, config.orders, config.masks)
        self._masks: dict[tuple[int, torch.device, torch.dtype], list[Tensor]] = {}

    # -- masks ----------------------------------------------------------------------------------------------------

    def masks(self, component: int) -> list[Tensor]:
        """1 where a weight is kept: of each hidden layer, of the output, and of the direct connections."""
        like = self.out.weight
        key = (component, like.device, like.dtype)
        if key in self._masks:
            return self._masks[key]
        _, position, degrees = self.components[component]
        below = [position, *degrees]
        made = [high[:, None] >= low[None] for high, low in zip(degrees, below)]
        made += [position[:, None] > degrees[-1][None], position[:, None] > position[None]]
        masks = [mask.to(like) for mask in made]
        if len(self.components) <= KEPT_MASKS:
            self._masks[key] = masks
        return masks

    # -- the net --------------------------------------------------------------------------------------------------

    def logits(self, x: Tensor, labels: Tensor | None = None, component: int = 0) -> Tensor:
        """x in {0, 1} (N, D) -> log-odds (N, D) of one component."""
        *masks, out, direct = self.masks(component)
        h = x
        for i, (layer, mask) in enumerate(zip(self.hidden, masks)):
            assert isinstance(layer, nn.Linear)
            h = F.linear(h, layer.weight * mask, layer.bias)
            if labels is not None and self.classes:
                h = h + self.label[i](labels)
            h = F.relu(h)
        logits = F.linear(h, self.out.weight * out, self.out.bias)
        return logits if self.direct is None else logits + F.linear(x, self.direct * direct)

    def log_prob_of(self, component: int, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p_m(x) of one component in nats, (N,); x levels (N, C, H, W)."""
        flat = self.flat(x).to(self.out.weight.dtype)
        logits = self.logits(flat, self.given(labels), component)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return -F.binary_cross_entropy_with_logits(logits, flat.to(logits.dtype), reduction="none").sum(1)

    # -- capabilities ---------------------------------------------------------------------------------------------

    def log_prob_levels(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x) of the mixture of all components in nats, (N,)."""
        each = [self.log_prob_of(m, x, labels) for m in range(len(self.components))]
        if len(each) == 1:
            return each[0]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def protocol(self) -> str:
        """What the density is over, and how many components it mixes."""
        said, count = super().protocol(), len(self.components)
        return said if count == 1 else f"{said}, mixture of {self.config.orders} orders x {self.config.masks} masks"

    def order(self, component: int) -> list[int]:
        """The places in the order of a component."""
        places: list[int] = self.components[component].order.tolist()
        return places

    def chain(self, component: int, n: int, labels: Tensor | None) -> MadeChain:
        """n pictures of a component, to be drawn pixel by pixel."""
        from .incremental import MadeChain

        return MadeChain(self, component, n, labels)

    def choose(self, n: int, step: Step, labels: Tensor | None, known: Tensor | None) -> Tensor:
        """The component that each of n pictures is drawn from, (n,) int64.

        Given known pixels it is drawn from p(m | known), which is exact where these come first in the order of m: the
        other components are left out.
        """
        count, device = len(self.components), self.out.weight.device
        if known is None or not bool((known >= 0).any()):
            return step.integers(count, n, purpose="component").to(device)
        flat = self.flat(known)
        there = flat >= 0
        scores = torch.full((n, count), float("-inf"), device=device)
        for m, (order, _, _) in enumerate(self.components):
            first = there[:, order.to(device)].long()
            rows = (first.diff(dim=1) <= 0).all(1).nonzero()[:, 0]  # the known ones, then the others
            if len(rows):
                x = flat[rows].clamp(min=0).to(self.out.weight.dtype)
                logits = self.logits(x, None if labels is None else labels[rows], m)
                nats = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
                scores[rows, m] = -(nats * there[rows]).sum(1).float()
        if not bool(scores.isfinite().any(1).all()):
            raise UsageError(
                "made can complete a picture only where the given pixels come first in its order: upper rows."
            )
        below = scores.softmax(1).cumsum(1) <= step.uniform(n, 1, purpose="component").to(device)
        return below.sum(1).clamp_(max=count - 1)
