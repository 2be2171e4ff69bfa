"""The sampler that paints whole pictures in one launch of a kernel; see kernels.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gentool import Partial, Samples, Step, UsageError

from .kernels import paint, unfit
from .packing import Shape, flatten, shape_of, up
from .painter import chances_of
from .weights import plain

if TYPE_CHECKING:
    from .model import PixelCNN

ROOM = 1 << 28  # numbers of scratch that one launch may take


def one_launch(
    model: PixelCNN, n: int, *, step: Step, labels: Tensor | None = None, temperature: float = 1.0
) -> Iterator[Partial | Samples]:
    """The pictures of `ancestral` and `wavefront`, painted by one launch for as many of them as memory allows."""
    labels = model.given(labels)
    shape = shape_of(model.config)
    p, (height, width) = model.config.channels, (model.height, model.width)
    weights = plain(model)
    why = unfit(Shape(*shape), p, model.channels, weights.values.shape[1], width)
    if why and paint.uses_triton(weights.values.device):
        raise UsageError(f"The one-launch sampler cannot paint with this net: {why}; take --sampler wavefront.")
    uniform = step.uniform(n, model.channels, height, width, purpose="pixels")
    each = 4 * (height + 4) * (width + 8) * up(p) * len(weights.layers)
    size = max(1, ROOM // each)
    grids = []
    for start in range(0, n, size):
        part = slice(start, start + size)
        chances = chances_of(uniform[part], model.levels, temperature, weights.values.dtype)
        given = None if labels is None else labels[part]
        grids.append(paint(chances, flatten(weights), shape, None, given, temperature))
        yield Partial(min(n, start + size), n, images=model.dequantise(torch.cat(grids)))
    yield Samples(images=model.dequantise(torch.cat(grids)), labels=labels)
