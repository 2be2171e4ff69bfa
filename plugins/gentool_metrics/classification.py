"""Accuracy of a classifier with its standard error, each class alone, and what is taken for what."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gentool.data.batch import Batch
from gentool.errors import UsageError
from gentool.evaluating import Context, Report, Scalar
from gentool.sampling import Samples

MOST_MISTAKES = 3  # named in a class's row


class Accuracy:
    """Counts every (true, predicted) pair of classes; the class predicted is that of the largest logit."""

    def __init__(self, config: object, context: Context) -> None:
        self.context = context
        self.classes = context.info.classes
        self.counts: Tensor = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64)

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        if batch.labels is None:
            raise UsageError(
                f"'{self.context.dataset}' has no labels to hold the model's against; choose a set that has."
            )
        model: Any = self.context.model
        with torch.no_grad():
            predicted = model.logits(batch.images).argmax(1)
        pairs = (batch.labels * len(self.classes) + predicted).cpu()
        self.counts += torch.bincount(pairs, minlength=self.counts.numel()).view_as(self.counts)

    def merge(self, other: Accuracy) -> None:
        self.counts += other.counts

    def compute(self) -> Report:
        right, there, said = self.counts.diagonal(), self.counts.sum(1), self.counts.sum(0)
        n = int(there.sum())
        share = float(right.sum()) / n
        return Report(
            name="accuracy",
            scalars=[Scalar("accuracy", 100 * share, "%", 100 * (share * (1 - share) / n) ** 0.5)],
            protocol=f"{self.context.dataset} {self.context.split}, N={n:,}, the largest logit",
            table=[
                {
                    "class": name,
                    "examples": int(there[i]),
                    "recall": percent(right[i], there[i]),
                    "precision": percent(right[i], said[i]),
                    "most often taken for": self._mistakes(i),
                }
                for i, name in enumerate(self.classes)
            ],
            extra={"classes": list(self.classes), "confusion": self.counts.tolist()},
        )

    def _mistakes(self, true: int) -> str:
        row = self.counts[true].clone()
        row[true] = 0
        order = row.argsort(descending=True, stable=True)[:MOST_MISTAKES].tolist()
        return ", ".join(f"{self.classes[i]} ({int(row[i])})" for i in order if row[i])


def percent(part: Tensor, whole: Tensor) -> str:
    """``97.8 %``, or a dash where there is nothing to divide by."""
    return f"{100 * int(part) / int(whole):.1f} %" if whole else "-"
