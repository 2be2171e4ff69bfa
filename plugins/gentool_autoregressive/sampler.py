"""How pictures are drawn from a grid density, pixel by pixel, and from a PixelCNN.

Each pixel inverts its distribution, given the pixels before it, at one uniform number.
The uniform of a pixel is a function of (seed, picture, place), so every sampler here paints the same pictures.

    ancestral   raster order, cached; one row appears after another (of any grid density)
    wavefront   anti-diagonals, cached; as fast as the receptive field lets it be
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Partial, Samples, Step, UsageError

from . import field
from .density import levels_of, pictures_of
from .painter import Painter, chances_of, paint
from .raster import Raster
from .wavefront import Wavefront
from .weights import Weights, plain, tail

if TYPE_CHECKING:
    from .density import PixelNet
    from .model import PixelCNN

CACHE_BYTES = 256 << 20  # activations kept at a time; more pictures are painted in turns


def ancestral(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, temperature: float = 1.0
) -> Iterator[Partial | Samples]:
    """x_i ~ p(x_i | x_<i), pixel after pixel; the logits are divided by `temperature`. For every grid density."""
    yield from _samples(model, labels, model.draw_levels(n, step=step, labels=labels, temperature=temperature))


def wavefront(
    model: PixelCNN, n: int, *, step: Step, labels: Tensor | None = None, temperature: float = 1.0
) -> Iterator[Partial | Samples]:
    """The same pictures as `ancestral`, all pixels of an anti-diagonal at once.

    That pays for few pictures and a small slope. A net that sees far along the row above is painted in raster order.
    """
    order = "raster" if field.slope(model.config) > model.width // 2 else "wavefront"  # of two pixels at most: no gain
    yield from _samples(model, labels, draw(model, n, step=step, labels=labels, temperature=temperature, order=order))


def completion(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    given: Batch | None = None,
    rows: int = 0,
    temperature: float = 1.0,
) -> Iterator[Partial | Samples]:
    """x_below ~ p(x_below | x_above), exactly: the upper rows of the pictures `given` are kept, level for level.

    rows: how many are kept; 0: half of them.
    """
    if given is None or given.images is None:
        raise UsageError("Completing starts from a picture: name one with --complete FILE.")
    height = model.info.image[1]
    if rows > height:
        raise UsageError(f"--rows {rows}: the pictures of this model have {height} rows.")
    known = levels_of(given.images, model.info.levels)
    known[:, :, rows or height // 2 :] = -1
    events = model.draw_levels(n, step=step, labels=labels, temperature=temperature, known=known)
    yield from _samples(model, labels, events)


def _samples(model: Any, labels: Tensor | None, events: Iterator[Partial | Tensor]) -> Iterator[Partial | Samples]:
    for event in events:
        if isinstance(event, Tensor):
            yield Samples(images=pictures_of(event, model.info.levels), labels=labels)
        else:
            yield event


def draw(
    model: PixelCNN,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    order: str = "raster",
    known: Tensor | None = None,
) -> Iterator[Partial | Tensor]:
    """Draw n grids, in an order ("raster" or "wavefront") that does not change them; the rest as in `paint`."""
    labels, weights = model.given(labels), plain(model)
    if field.slope(model.config) > model.width:
        order = "raster"  # the diagonals would be single pixels
    engine = Raster if order == "raster" else Wavefront
    yield from paint(
        model,
        n,
        weights,
        chunk(model, order),
        lambda painter, given: engine(model, weights, painter, given),
        step=step,
        labels=labels,
        temperature=temperature,
        known=known,
    )


def chunk(model: PixelCNN, order: str) -> int:
    """How many pictures are painted at a time, so that their activations take no more than CACHE_BYTES."""
    places = model.width * (model.height if order == "wavefront" else 4)
    floats: int = places * model.config.channels * 2 * (2 if field.lags(model.config)[0] else 1) * model.config.layers
    return max(1, CACHE_BYTES // (4 * floats))


@torch.no_grad()
def reevaluate(
    model: PixelNet,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    places: int | None = None,
) -> Tensor:
    """The definition, which the caches reproduce: the whole net again for every pixel. (n, C, H, W).

    places: stop after so many places, to time it.
    """
    weights = tail(model)
    uniform = step.uniform(n, model.channels, model.height, model.width, purpose="pixels")
    painter = Painter(
        weights, chances_of(uniform, model.levels, temperature, weights.values.dtype), temperature, known=None
    )
    grid = torch.zeros_like(uniform, dtype=torch.int64)
    for place in range(model.height * model.width if places is None else places):
        r, c = divmod(place, model.width)
        context = model.context(model.planes(grid), model.given(labels))[:, r, c]
        grid[:, :, r, c] = painter.draw(context, painter.chances[r, c], None)[0]
    return grid


__all__ = ["Weights", "ancestral", "draw", "reevaluate", "wavefront"]
