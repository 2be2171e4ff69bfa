"""`--map`: the report of a detector's scores, and of files of results (`--predictions`). Without torch: a file of COCO's size
is scored before torch would be imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gentool.data.ground_truth import GroundTruth
from gentool.errors import UsageError
from gentool.evaluating import Curve, HeatMap, Predictions, Report, Scalar

from .average_precision import RECALLS, THRESHOLDS, Floats, Found, Scores, Truth, evaluate, mean
from .breakdown import KINDS, Breakdown, break_down
from .results import read_results

MOST_CLASSES = 20  # in the picture of the confusion matrix
SIZES = ("small", "medium", "large")


def truth_of(written: GroundTruth) -> Truth:
    """A split's boxes as they are scored against."""
    pictures = len(written.image_ids)
    return Truth(pictures, written.image, written.label, written.boxes, written.area, written.crowd)


def to_sides(boxes: Floats) -> Floats:
    """x1 y1 x2 y2 -> x y width height."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)


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
