"""What all densities over grids of integers share: their data, values, capabilities and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gentool import DataInfo, Partial, Step, UsageError

if TYPE_CHECKING:
    from .incremental import Chain
    from .model import Head

Drawer = Callable[..., Iterator[Partial | Tensor]]


def levels_of(images: Tensor, levels: int) -> Tensor:
    """[-1, 1] -> the nearest of so many levels, int64, same shape."""
    return ((images + 1) * ((levels - 1) / 2)).round_().long().clamp_(0, levels - 1)


def pictures_of(x: Tensor, levels: int) -> Tensor:
    """Levels -> float32 in [-1, 1], same shape: the inverse."""
    return x.float() * (2 / (levels - 1)) - 1


class GridDensity(nn.Module):
    """An exact density over grids x of integers, (N, C, H, W) in [0, levels), in raster order of the pixels.

    A subclass gives `log_prob_levels` and `drawer`. `name` is what messages call it; `most_levels`: how many values
    a pixel may have.
    """

    name = "density"
    most_levels: int | None = None

    def __init__(self, config: Any, info: DataInfo):
        super().__init__()
        if info.image is None:
            raise UsageError(f"{self.name} needs pictures or grids of codes: choose an image data set with --data.")
        self.conditional: bool = config.conditional
        if self.conditional and not info.classes:
            raise UsageError("model.conditional needs a data set with classes: leave it false or change --data.")
        if info.levels < 2:
            raise UsageError(
                f"{self.name} needs pixels of 2 or more values (there is {info.levels}): change data.levels."
            )
        if self.most_levels is not None and info.levels > self.most_levels:
            raise UsageError(
                f"{self.name} is over pixels of {self.most_levels} values (there are {info.levels}): "
                "add --set data.binarize=stochastic, or threshold."
            )
        self.config, self.info, self.levels = config, info, info.levels
        self.channels, self.height, self.width = info.image
        self.places = self.channels * self.height * self.width
        self.classes = len(info.classes) if self.conditional else 0

    # -- values ---------------------------------------------------------------------------------------------------

    def quantise(self, images: Tensor) -> Tensor:
        """[-1, 1] -> the nearest of the levels, int64, same shape."""
        return levels_of(images, self.levels)

    def dequantise(self, x: Tensor) -> Tensor:
        """Levels -> float32 in [-1, 1], same shape."""
        return pictures_of(x, self.levels)

    def given(self, labels: Tensor | None) -> Tensor | None:
        """The labels if this net is conditional, else None; it is an error to keep them from a conditional one."""
        if not self.conditional:
            return None
        if labels is None:
            raise UsageError(f"This {self.name} is conditional: it needs a label for every picture.")
        return labels

    # -- capabilities ---------------------------------------------------------------------------------------------

    def log_prob_levels(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x) in nats, (N,)."""
        raise NotImplementedError

    def drawer(self) -> Drawer:
        """The function that draws from the net: as `draw_levels`, the model before n. Imported where it is called."""
        raise NotImplementedError

    def draw_levels(
        self,
        n: int,
        *,
        step: Step,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        known: Tensor | None = None,
    ) -> Iterator[Partial | Tensor]:
        """Draw n grids; ends with an int64 tensor (n, C, H, W). known: levels that are kept where they are not -1."""
        return self.drawer()(self, n, step=step, labels=labels, temperature=temperature, known=known)

    def log_prob(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p of pictures in [-1, 1], rounded to their levels, in nats, (N,)."""
        return self.log_prob_levels(self.quantise(images), labels)

    def protocol(self) -> str:
        """What the density is over."""
        if self.levels == 2:
            return "Bernoulli over binarised pixels"
        return f"{self.levels}-way discrete over pixels"


class BinaryChain(GridDensity):
    """A density over D binary pixels x_1 .. x_D, a pixel's channels beside each other; possibly a mixture of components.

    A subclass gives `logits`, `order`, `choose` and `chain`.
    """

    most_levels = 2

    def flat(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        return x.permute(0, 2, 3, 1).flatten(1)

    def grid(self, x: Tensor) -> Tensor:
        """The inverse of `flat`."""
        return x.view(-1, self.height, self.width, self.channels).permute(0, 3, 1, 2)

    def logits(self, x: Tensor, labels: Tensor | None = None, component: int = 0) -> Tensor:
        """x in {0, 1} (N, D) -> log-odds (N, D) of one component."""
        raise NotImplementedError

    def order(self, component: int) -> list[int]:
        """The places 0 .. D-1 in the order in which a component draws them."""
        return list(range(self.places))

    def choose(self, n: int, step: Step, labels: Tensor | None, known: Tensor | None) -> Tensor:
        """The component that each of n pictures is drawn from, (n,) int64."""
        return torch.zeros(n, dtype=torch.int64, device=step.device)

    def chain(self, component: int, n: int, labels: Tensor | None) -> Chain:
        """n pictures of a component, to be drawn pixel by pixel."""
        raise NotImplementedError

    def drawer(self) -> Drawer:
        from .incremental import draw

        return draw


class PixelNet(GridDensity):
    """A density whose net is run on all pixels at once: pixel after pixel, in each its channels in turn.

    A subclass gives `context` and `head`; values are seen as amounts in [-1, 1], or as learned vectors where they are names.
    """

    head: Head

    def __init__(self, config: Any, info: DataInfo):
        super().__init__(config, info)
        for key, k in (("first_kernel", config.first_kernel), ("kernel", config.kernel)):
            if k % 2 == 0:
                raise UsageError(f"model.{key} has to be odd (it is {k}): a masked kernel has a middle.")
        self.embedding = nn.Embedding(self.levels, config.embed) if self._embeds() else None
        self.features = 1 if self.embedding is None else config.embed  # input planes a channel has
        self.outputs = 1 if self.levels == 2 else self.levels

    def _embeds(self) -> bool:
        """Whether values are names (codes), not amounts: then each gets a learned vector."""
        if self.config.input == "auto":
            return self.levels > 256 or bool(self.info.extra.get("codes"))
        return bool(self.config.input == "embedding")

    def planes(self, x: Tensor) -> Tensor:
        """Levels (N, C, H, W) as the net sees them, (N, H, W, C * planes): amounts in [-1, 1], or learned vectors."""
        if self.embedding is not None:
            return self.embedding(x.permute(0, 2, 3, 1)).flatten(3)  # type: ignore[no-any-return]
        amounts = x.permute(0, 2, 3, 1).to(next(self.parameters()).dtype)
        return amounts * (2 / (self.levels - 1)) - 1

    def context(self, planes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, H, W, C * planes) -> (N, H, W, p): what the pixels before each pixel say about it."""
        raise NotImplementedError

    def logits(self, planes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, H, W, C * planes) -> (N, H, W, C, K): K = levels, or K = 1 for two levels (the log-odds of 1)."""
        logits: Tensor = self.head(self.context(planes, labels), planes)
        return logits

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Levels (N, C, H, W) -> logits (N, H, W, C, K)."""
        return self.logits(self.planes(x), self.given(labels))

    def log_prob_levels(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x) in nats, (N,): the sum over pixels and channels of log p(x_i | x_<i)."""
        logits, target = self(x, labels).float(), x.permute(0, 2, 3, 1)
        if self.levels == 2:
            nats = F.binary_cross_entropy_with_logits(logits[..., 0], target.to(logits.dtype), reduction="none")
        else:
            nats = F.cross_entropy(logits.flatten(0, 3), target.flatten(), reduction="none").view(target.shape)
        return -nats.sum((1, 2, 3))
