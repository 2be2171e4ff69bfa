"""How pictures are drawn: one pass of the generator. And a walk through its latent space."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gentool import Samples, Step
from gentool.latents import slerp


def truncated(z: Tensor, threshold: float) -> Tensor:
    """Standard normal z, any shape, mapped monotonically onto the normal truncated to [-threshold, threshold].

    The truncation trick (Brock et al. 2019, section 3.1) without redrawing: quantiles are kept, so that one seed gives
    the same pictures at every threshold, only nearer to the mean. 0 leaves z as it is.
    """
    if threshold <= 0:
        return z
    share = math.erf(threshold / math.sqrt(2))  # of the prior within the threshold
    squeezed = torch.erfinv(share * torch.erf(z.double() / math.sqrt(2))) * math.sqrt(2)
    return squeezed.clamp(-threshold, threshold).to(z.dtype)


def generator(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, truncation: float = 0.0
) -> Iterator[Samples]:
    """n pictures G(z), z ~ N(0, I), truncated where asked."""
    z = truncated(step.noise(n, model.latent, purpose="latent"), truncation)
    yield Samples(images=model.generator(z, labels), labels=labels)


def latent_walk(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    walks: int = 6,
    columns: int = 10,
    truncation: float = 0.0,
) -> Iterator[Samples]:
    """`walks` rows of `columns` pictures: each row goes along a great circle from one latent vector to another."""
    ends = truncated(step.noise(2 * walks, model.latent, purpose="latent"), truncation)
    path = slerp(ends[:walks], ends[walks:], torch.linspace(0, 1, columns, device=ends.device))
    if labels is not None:
        labels = labels[torch.arange(walks, device=labels.device) % len(labels)].repeat_interleave(columns)
    yield Samples(
        images=model.decode(path.flatten(0, 1), labels),
        labels=labels,
        columns=columns,
        title="each row walks from one latent vector to another",
    )
