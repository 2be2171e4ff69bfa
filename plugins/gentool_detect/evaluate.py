"""What is particular to scoring detectors: mean average precision, how well proposals cover the objects, and, of detectors
of one object, class and place.

The definitions are in `average_precision`, the kinds of error in `breakdown`. All boxes are scored in pixels of the
original pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gentool.data.batch import Batch
from gentool.data.ground_truth import of_examples
from gentool.errors import UsageError
from gentool.evaluating import Context, Curve, Report, Scalar
from gentool.sampling import Detections, Samples

from .average_precision import THRESHOLDS, Floats, Found
from .boxes import iou
from .report import report, to_sides, truth_of

# -- mAP --------------------------------------------------------------------------------------------------------------


class MeanAveragePrecision:
    """`--map`: runs the model's `detect` on each batch, and scores what it found."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context
        self.examples = context.examples()
        self.found: dict[int, tuple[Floats, Floats, Any]] = {}  # picture -> boxes x1 y1 x2 y2, scores, labels

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        model: Any = self.context.model
        detections = model.detect(
            batch.images,
            batch.extra["size"],
            threshold=self.config.threshold,
            nms=self.config.nms,
            soft=self.config.soft,
            limit=self.config.limit,
        )
        for index, scale, found in zip(_indices(batch), batch.extra["scale"].double(), detections, strict=True):
            boxes = found.boxes.double() / scale.repeat(2)
            rows = (boxes.cpu().numpy(), found.scores.double().cpu().numpy(), found.labels.cpu().numpy())
            self.found[index] = rows

    def merge(self, other: MeanAveragePrecision) -> None:
        self.found |= other.found

    def compute(self) -> Report:
        pictures = sorted(self.found)
        rows = [self.found[index] for index in pictures]
        found = Found(
            image=np.repeat(np.arange(len(rows)), [len(scores) for _, scores, _ in rows]),
            label=np.concatenate([np.zeros(0, np.int64), *(labels for _, _, labels in rows)]),
            boxes=to_sides(np.concatenate([np.zeros((0, 4)), *(boxes for boxes, _, _ in rows)])),
            scores=np.concatenate([np.zeros(0), *(scores for _, scores, _ in rows)]),
        )
        context = self.context
        where = (
            f"{context.dataset} {context.split}, N={len(pictures):,}, at most {self.config.limit} detections a picture"
        )
        written = of_examples(self.examples, pictures)
        return report(truth_of(written), found, written.classes, where, self.config)


def _indices(batch: Batch) -> list[int]:
    assert batch.index is not None
    return [int(index) for index in batch.index]


def _objects(batch: Batch, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (M, 4) in pixels of the canvas and labels of the objects on picture `row` that are to be found."""
    own = (batch.extra["box_labels"][row] >= 0) & ~batch.extra["crowd"][row]
    return batch.extra["boxes"][row][own], batch.extra["box_labels"][row][own]


# -- proposals --------------------------------------------------------------------------------------------------------


@dataclass
class _Covered:
    """For each object the best IoU with the first n proposals of its picture: (objects, len(numbers))."""

    best: list[torch.Tensor]
    count: list[int]


class ProposalRecall:
    """`--proposal-recall`: the share of objects that some of a picture's first n proposals cover (Hosang et al. 2016)."""

    def __init__(self, config: Any, context: Context) -> None:
        self.context = context
        self.numbers = [1, 3, 10, 30, 100, 300, 1000, 2000]
        self.covered = _Covered([], [])

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        model: Any = self.context.model
        proposals: list[torch.Tensor] = model.propose(batch.images, batch.extra["size"])
        for row, found in enumerate(proposals):
            boxes, _ = _objects(batch, row)
            best = torch.zeros(len(boxes), len(self.numbers))
            if len(boxes) and len(found):
                running = iou(found.float(), boxes).cummax(0).values  # (P, M)
                at = torch.tensor(self.numbers).clamp(max=len(found)) - 1
                best = running.cpu()[at].T
            self.covered.best.append(best)
            self.covered.count.append(len(found))

    def merge(self, other: ProposalRecall) -> None:
        self.covered.best += other.covered.best
        self.covered.count += other.covered.count

    def compute(self) -> Report:
        context = self.context
        best = torch.cat(self.covered.best).double().numpy()
        if not len(best):
            raise UsageError(f"There is no object to be covered in {context.dataset} {context.split}.")
        most = max(self.covered.count)
        numbers = [n for n in self.numbers if n < most] + [
            next((n for n in self.numbers if n >= most), self.numbers[-1])
        ]
        best = best[:, : len(numbers)]
        recalls = {t: (best >= t).mean(0) for t in (0.5, 0.7)}
        average = np.mean([(best >= t).mean(0) for t in THRESHOLDS], 0)
        lines = {"IoU 0.5": recalls[0.5], "IoU 0.7": recalls[0.7], "average": average}
        x = [float(np.log10(n)) for n in numbers]
        return Report(
            name="proposal-recall",
            scalars=[
                Scalar("recall at IoU 0.5", float(recalls[0.5][-1])),
                Scalar("recall at IoU 0.7", float(recalls[0.7][-1])),
                Scalar("average recall", float(average[-1]), note="IoU 0.50 to 0.95"),
                Scalar("proposals a picture", float(np.mean(self.covered.count))),
            ],
            protocol=f"{context.dataset} {context.split}, N={len(self.covered.count):,}, {len(best):,} objects",
            table=[
                {"proposals": f"first {n:,}", **{name: round(float(line[i]), 4) for name, line in lines.items()}}
                for i, n in enumerate(numbers)
            ],
            curves=[Curve(name, x, line.tolist()) for name, line in lines.items()],
            axes=("log10 of the proposals a picture", "recall"),
        )


# -- one object -------------------------------------------------------------------------------------------------------


class Localisation:
    """`--localisation`: the best detection of each picture against its object (the largest, where there are several)."""

    def __init__(self, config: Any, context: Context) -> None:
        self.context = context
        self.rows: list[tuple[bool, float]] = []  # class right, IoU
        self.empty = 0

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        model: Any = self.context.model
        detections: list[Detections] = model.detect(batch.images, batch.extra["size"], threshold=0.0, limit=1)
        for row, found in enumerate(detections):
            boxes, labels = _objects(batch, row)
            if not len(boxes):
                self.empty += 1
                continue
            largest = int((boxes[:, 2:] - boxes[:, :2]).prod(1).argmax())
            if not len(found):
                self.rows.append((False, 0.0))
                continue
            overlap = iou(found.boxes[:1].float(), boxes[largest : largest + 1])
            self.rows.append((bool(found.labels[0] == labels[largest]), float(overlap)))

    def merge(self, other: Localisation) -> None:
        self.rows += other.rows
        self.empty += other.empty

    def compute(self) -> Report:
        context = self.context
        if not self.rows:
            raise UsageError(f"There is no object to be found in {context.dataset} {context.split}.")
        right, overlap = (np.array(column, np.float64) for column in zip(*self.rows))
        n = len(right)

        def share(hits: Any) -> tuple[float, str, float]:
            p = float(hits.mean())
            return 100 * p, "%", 100 * (p * (1 - p) / n) ** 0.5

        levels = np.linspace(0, 1, 51)
        skipped = f", {self.empty:,} pictures without an object left out" if self.empty else ""
        return Report(
            name="localisation",
            scalars=[
                Scalar("accuracy", *share(right)),
                Scalar("mean IoU", float(overlap.mean()), "", float(overlap.std() / n**0.5)),
                Scalar("class and IoU 0.5", *share(right * (overlap >= 0.5))),
                Scalar("IoU 0.5", *share(overlap >= 0.5)),
                Scalar("IoU 0.75", *share(overlap >= 0.75)),
            ],
            protocol=f"{context.dataset} {context.split}, N={n:,}, the best detection of a picture{skipped}",
            curves=[Curve("share of pictures", levels.tolist(), [float((overlap >= t).mean()) for t in levels])],
            axes=("IoU at least", "share"),
        )
