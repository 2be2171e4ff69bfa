"""Gibbs sampling, and the view of the hidden units' weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gentool import Partial, Samples, Step


def gibbs(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, sweeps: int = 500, mean: bool = True
) -> Iterator[Partial | Samples]:
    """Alternate v and h from noise for `sweeps` steps: images (n, C, H, W), shown ten times on the way."""
    generator = step.generator("gibbs")
    v = torch.bernoulli(torch.full((n, model.dims), 0.5, device=model.a.device), generator=generator)
    p = v
    part = max(1, sweeps // 10)
    for done in range(0, sweeps, part):
        v, p = model.gibbs(v, generator, min(part, sweeps - done))
        yield Partial(min(done + part, sweeps), sweeps, images=model.images(p))
    yield Samples(images=model.images(p if mean else v))


def filters(model: Any, n: int, *, step: Step, labels: Tensor | None = None) -> Iterator[Samples]:
    """The weights of the n hidden units with the largest norm, each scaled to [-1, 1]."""
    strongest = model.W.norm(dim=0).topk(min(n, model.W.shape[1])).indices
    w = model.W.t()[strongest]
    yield Samples(images=(w / w.abs().amax(1, keepdim=True)).unflatten(1, model.info.image), title="weights")
