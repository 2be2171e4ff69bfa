"""Samplers of the VQ-VAE: codes from the prior, decoded; and a look at what each code paints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gentool import Partial, Samples, Step

GLIMPSES = 8  # half-painted grids that are decoded on the way
SHOWN = 16  # pictures in each


@torch.no_grad()
def codes(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, temperature: float = 1.0
) -> Iterator[Partial | Samples]:
    """z ~ p(z), the prior (van den Oord et al. 2017, section 3.3), then the decoder's mean picture of it.

    Partials show the grid so far, decoded: places not yet drawn hold whatever the prior has there.
    """
    given = labels if model.conditional else None
    drawn: Tensor | None = None
    seen = 0
    for event in model.prior.draw_levels(n, step=step, labels=given, temperature=temperature):
        if not isinstance(event, Partial):
            drawn = event
            continue
        images = None
        share = event.done * GLIMPSES // max(1, event.total)
        if event.images is not None and share > seen:
            seen = share
            grid = (event.images[:SHOWN, 0] + 1) * ((model.codes - 1) / 2)
            images = model.decode_codes(grid.round().long())
        yield Partial(event.done, event.total, images=images)
    assert drawn is not None
    yield Samples(images=model.decode_codes(drawn[:, 0]), labels=labels, extra={"codes": drawn[:, 0]})


@torch.no_grad()
def codebook_map(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, codes: int = 256
) -> Iterator[Partial | Samples]:
    """Each code as the decoder paints it on a grid of that code alone: the middle of it, where no border is seen.

    The most used code comes first (by the moving average of training). n and labels have no meaning here.
    """
    usage = model.autoencoder.codebook.usage
    order = usage.argsort(descending=True, stable=True)[: min(codes, model.codes)]
    height, width = model.grid
    side_h, side_w = min(height, 2) * model.factor, min(width, 2) * model.factor
    top = (height * model.factor - side_h) // 2
    left = (width * model.factor - side_w) // 2
    patches = []
    for chunk in order.split(64):
        painted = model.decode_codes(chunk[:, None, None].expand(-1, height, width))
        patches.append(painted[:, :, top : top + side_h, left : left + side_w])
    columns = max(1, round(len(order) ** 0.5))
    yield Samples(
        images=torch.cat(patches),
        columns=columns,
        captions=[str(int(k)) for k in order] if len(order) <= 64 else None,
        title=f"{len(order)} of {model.codes} codes, the most used first",
    )
