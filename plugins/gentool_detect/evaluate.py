"""What is particular to scoring detectors: mean average precision, how well proposals cover the objects, and, of detectors
of one object, class and place.

The definitions are in `average_precision`, the kinds of error in `breakdown`. All boxes are scored in pixels of the
original pictures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gentool.data.batch import Batch
from gentool.data.ground_truth import GroundTruth, of_examples
from gentool.errors import UsageError
from gentool.evaluating import Context, Curve, HeatMap, Predictions, Report, Scalar
from gentool.sampling import Detections, Samples

from .average_precision import RECALLS, THRESHOLDS, Floats, Found, Scores, Truth, evaluate, mean
from .boxes import iou
from .breakdown import KINDS, Breakdown, break_down
from .results import read_results

MOST_CLASSES = 20  # in the picture of the confusion matrix
SIZES = ("small", "medium", "large")


# -- mAP --------------------------------------------------------------------------------------------------------------


def truth_of(written: GroundTruth) -> Truth:
    """A split's boxes as they are scored against."""
    pictures = len(written.image_ids)
    return Truth(pictures, written.image, written.label, written.boxes, written.area, written.crowd)


def _to_sides(boxes: Floats) -> Floats:
    """x1 y1 x2 y2 -> x y width height."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)


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
            batch.images, batch.extra["size"], threshold=self.config.threshold, limit=self.config.limit
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
            boxes=_to_sides(np.concatenate([np.zeros((0, 4)), *(boxes for boxes, _, _ in rows)])),
            scores=np.concatenate([np.zeros(0), *(scores for _, scores, _ in rows)]),
        )
        context = self.context
        where = (
            f"{context.dataset} {context.split}, N={len(pictures):,}, at most {self.config.limit} detections a picture"
        )
        written = of_examples(self.examples, pictures)
        return report(truth_of(written), found, written.classes, where, self.config)


def score_results(config: Any, predictions: Predictions) -> Report:
    """`--map --predictions FILE`: scores COCO results; no model, no picture is opened."""
    whole = predictions.truth()
    written = whole.first(predictions.limit)
    images = {key: i for i, key in enumerate(whole.image_ids)}
    categories = {key: label for label, key in enumerate(whole.category_ids)}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = read_results(predictions.path, images, categories, memory)
    count = len(written.image_ids)
    if count < len(images):
        found = found.take(np.flatnonzero(found.image < count))
    where = (
        f"{predictions.dataset} {predictions.split}, N={count:,}, {len(found):,} detections of {predictions.path.name}"
    )
    return report(truth_of(written), found, written.classes, where, config)


def report(truth: Truth, found: Found, classes: Sequence[str], where: str, config: Any) -> Report:
    """Scores, their table by class, precision-recall curves, errors and confusions."""
    if not (~truth.crowd).any():
        raise UsageError(f"There is no object to be found in {where.partition(', ')[0]}: mAP has no value.")
    scores = evaluate(truth, found, len(classes))
    errors = break_down(truth, scores, config.score if config.score > 0 else None)
    return Report(
        name="map",
        scalars=[*_figures(scores), *_costs(errors)],
        protocol=f"{where}; COCO's protocol",
        table=[
            {
                "class": name,
                "objects": int(scores.objects[k, 0]),
                "AP": _rounded(scores.ap(label=k)),
                "AP50": _rounded(scores.ap(0.5, label=k)),
                "AP75": _rounded(scores.ap(0.75, label=k)),
                "AR@100": _rounded(scores.ar(label=k)),
                "VOC AP50": _rounded(scores.voc10[k]),
            }
            for k, name in enumerate(classes)
        ],
        curves=_curves(scores),
        axes=("recall", "precision"),
        heatmaps=[_confusion(errors, classes, config.score)],
        extra={
            "errors": {kind: {"count": errors.counts[kind], "AP50 lost": errors.costs[kind]} for kind in KINDS},
            "confusion": {"classes": list(classes), "counts": errors.confusion.tolist()},
        },
    )


def _figures(scores: Scores) -> list[Scalar]:
    """COCO's twelve, and VOC's two."""
    none = {size: "" if scores.objects[:, 1 + i].any() else "no objects of this size" for i, size in enumerate(SIZES)}
    return [
        Scalar("AP", scores.ap()),
        Scalar("AP50", scores.ap(0.5)),
        Scalar("AP75", scores.ap(0.75)),
        *(Scalar(f"AP {size}", scores.ap(area=size), note=none[size]) for size in SIZES),
        *(Scalar(f"AR@{most}", scores.ar(most)) for most in scores.most),
        *(Scalar(f"AR {size}", scores.ar(area=size), note=none[size]) for size in SIZES),
        Scalar("VOC 2007 AP50", mean(scores.voc07), note="11 points"),
        Scalar("VOC 2010 AP50", mean(scores.voc10), note="area"),
    ]


def _costs(errors: Breakdown) -> list[Scalar]:
    """The best F1, and the AP50 that each kind of error costs."""
    return [
        Scalar("best F1", errors.best_f1, note=f"at IoU 0.5 and score {errors.best_score:.3g}"),
        *(
            Scalar(f"AP50 lost: {kind}", max(0.0, errors.costs[kind]), note=f"{errors.counts[kind]:,}")
            for kind in KINDS
        ),
    ]


def _curves(scores: Scores) -> list[Curve]:
    """Precision at 101 recalls, the mean of the classes that have objects."""
    kept = scores.precision[:, :, scores.objects[:, 0] > 0, 0].mean(2)
    x = RECALLS.tolist()
    lines = {
        "IoU 0.50": kept[0],
        "IoU 0.75": kept[int(np.abs(THRESHOLDS - 0.75).argmin())],
        "0.50 to 0.95": kept.mean(0),
    }
    return [Curve(name, x, line.tolist()) for name, line in lines.items()]


def _confusion(errors: Breakdown, classes: Sequence[str], score: float) -> HeatMap:
    """The share of each class's objects found as each class; of many classes those that are confused most."""
    table = errors.confusion
    k = len(classes)
    wrong = table[:k].sum(1) - np.diag(table)[:k] + table[:, :k].sum(0) - np.diag(table)[:k]
    shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
    some = [*shown.tolist(), k]
    counts = table[np.ix_(some, some)]
    shares = counts / np.maximum(table[some].sum(1, keepdims=True), 1)
    least = score if score > 0 else errors.best_score
    which = "" if k <= MOST_CLASSES else f", the {MOST_CLASSES} classes of {k} that are mistaken most"
    names = [classes[i] for i in shown]
    return HeatMap(
        name="confusion",
        values=shares.tolist(),
        rows=[*names, "nothing there"],
        columns=[*names, "not found"],
        title=f"what objects are taken for, from score {least:.3g}{which}",
        axes=("object", "taken for"),
    )


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


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
