"""Samplers: every one decodes latent vectors z."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gentool import Partial, Samples, Step


@torch.no_grad()
def prior(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, temperature: float = 1.0
) -> Iterator[Partial | Samples]:
    """z ~ N(0, temperature^2 I), and the decoder's mean picture of it."""
    z = temperature * step.noise(n, model.latent)
    yield Samples(images=model.decode(z, labels), labels=labels)
