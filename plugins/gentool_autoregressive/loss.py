"""Objectives of models with an exact likelihood.

nll   van den Oord et al. 2016a, "Pixel Recurrent Neural Networks", section 5.1: -log p(x)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gentool import Batch, Phase, Step, UsageError

if TYPE_CHECKING:
    from .configs import NllConfig


class NegativeLogLikelihood:
    """L = -log p(x) / D in nats per dimension, D the number of pixels times channels; the mean over the batch."""

    def __init__(self, config: NllConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.images is None:
            raise UsageError("This objective needs pictures: choose an image data set with --data.")
        x, labels = batch.images, batch.labels if model.conditional else None
        nll = -model.log_prob(x, labels).mean()
        per_dim = nll / x[0].numel()
        yield Phase("model", per_dim, {"nll": nll.detach(), "bits/dim": per_dim.detach() / math.log(2)})


class OrderAgnostic:
    """L = -log p_m(x) / D with m the step's turn among the components (Germain et al. 2015, section 4.2 and 4.3).

    Validation, in eval mode, takes the mixture of all components instead: what is reported at test time.
    """

    def __init__(self, config: NllConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.images is None:
            raise UsageError("This objective needs pictures: choose an image data set with --data.")
        x, labels = model.quantise(batch.images), batch.labels if model.conditional else None
        if model.training:
            nll = -model.log_prob_of(step.index % len(model.components), x, labels).mean()
        else:
            nll = -model.log_prob_levels(x, labels).mean()
        per_dim = nll / x[0].numel()
        yield Phase("model", per_dim, {"nll": nll.detach(), "bits/dim": per_dim.detach() / math.log(2)})
