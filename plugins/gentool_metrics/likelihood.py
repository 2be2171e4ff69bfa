"""Exact likelihood: nats per picture and bits per dimension. Each figure names the pixels it is over."""

from __future__ import annotations

import math
from typing import Any

import torch

from gentool.data.batch import Batch
from gentool.errors import GentoolError
from gentool.evaluating import Context, Report, Scalar
from gentool.sampling import Samples
from gentool_metrics.running import RunningMean

BINARISED = {
    "stochastic": "stochastic binarisation, drawn once with a fixed seed",
    "fixed": "static binarisation: one draw for each picture, training's too, by a fixed seed (not Larochelle's file)",
}


def describe_pixels(context: Context) -> str:
    """What the likelihood is over: the model's own words, and how the data was binarised, if it was."""
    model: Any = context.model
    said = str(model.protocol()) if callable(getattr(model, "protocol", None)) else ""
    words = [said] if said else []
    binarize = str(context.info.extra.get("binarize", ""))
    if binarize and binarize != "none":
        words.append(BINARISED.get(binarize, f"binarised by {binarize}"))
    elif not said:
        words.append(f"{context.info.levels} levels a pixel")
    return "; ".join(words)


def labels_for(context: Context, batch: Batch) -> torch.Tensor | None:
    """The labels, for a model that is conditioned on them."""
    return batch.labels if getattr(context.model, "conditional", False) else None


class Likelihood:
    """Streams -log p(x); `scale` turns nats per picture into the unit."""

    name = "nll"
    title = "NLL"
    unit = "nats"

    def __init__(self, config: object, context: Context) -> None:
        self.context = context
        self.nats = RunningMean()

    def scale(self) -> float:
        return 1.0

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        model: Any = self.context.model
        with torch.no_grad():
            nats = -model.log_prob(batch.images, labels_for(self.context, batch))
        if not torch.isfinite(nats).all():
            raise GentoolError(
                f"{self.context.model_name} gives a picture of {self.context.dataset} no finite likelihood; train it "
                "further, or check that the data are binarised as in training."
            )
        self.nats.add(nats)

    def merge(self, other: Likelihood) -> None:
        self.nats.merge(other.nats)

    def compute(self) -> Report:
        scale, error = self.scale(), self.nats.standard_error
        conditional = " given its class" if getattr(self.context.model, "conditional", False) else ""
        pixels = describe_pixels(self.context)
        return Report(
            name=self.name,
            scalars=[Scalar(self.title, self.nats.mean * scale, self.unit, None if error is None else error * scale)],
            protocol=f"exact -log p(x){conditional}, {self.context.dataset} {self.context.split}, "
            f"N={self.nats.n} pictures, {pixels}",
        )


class NegativeLogLikelihood(Likelihood):
    """Nats per picture."""


class BitsPerDim(Likelihood):
    """-log2 p(x) / (C·H·W)."""

    name = "bits-per-dim"
    title = "bits/dim"
    unit = "bits/dim"

    def scale(self) -> float:
        image = self.context.info.image
        assert image is not None  # an image model has one
        return 1 / (math.prod(image) * math.log(2))
