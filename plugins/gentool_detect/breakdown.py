"""What a detector gets wrong, and what each kind of error costs (after TIDE, Bolya et al. 2020).

A detection that found nothing at IoU 0.5 is, in this order,

    localisation  on an object of its class, but with IoU 0.1 to 0.5
    class         on an object of another class (IoU >= 0.5)
    duplicate     on an object of its class that a better-scored detection has
    background    on nothing (IoU < 0.1 with all there is)
    both          none of these: badly placed on an object of another class

and an object is `missed` if nothing found it and no localisation or class error is on it. The cost of a kind is the AP50
that mending it alone would add: localisation and class errors become hits where their object was still to be found (the
best-scored of them) and else are dropped, the others are dropped, missed objects are not asked for. Only NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gentool_detect.average_precision import CHUNK, RECALLS, Bools, Floats, Found, Ints, Scores, Truth, mean, sampled

KINDS = ("localisation", "class", "duplicate", "background", "both", "missed")
NEAR, HIT = 0.1, 0.5


@dataclass
class Breakdown:
    """By kind: how many, and the AP50 that mending it adds (NaN without objects). `best_f1` is over all classes, at IoU 0.5,
    reached by keeping the detections that score at least `best_score`; `confusion`, (K + 1, K + 1), counts true class by
    predicted class of those, the last row being detections of nothing, the last column objects not found."""

    counts: dict[str, int]
    costs: dict[str, float]
    best_f1: float
    best_score: float
    confusion: Ints


@dataclass
class _Nearest:
    """For each detection its best overlap (D,) with an object of its class and of any other, and with which."""

    same: Floats
    same_box: Ints
    other: Floats
    other_box: Ints


def break_down(truth: Truth, scores: Scores, score: float | None = None) -> Breakdown:
    """The errors behind `scores`. score: the least score for the confusion matrix (None: where F1 is largest)."""
    found, classes = scores.found, len(scores.objects)
    hit = (scores.matched >= 0) & ~scores.ignored
    wrong = np.flatnonzero(~hit & ~scores.ignored)
    near = _nearest(truth, found, wrong)
    kinds = _kinds(near)
    got = np.zeros(len(truth.image), bool)
    got[scores.matched[hit]] = True
    on = np.where(kinds == 0, near.same_box, np.where(kinds == 1, near.other_box, -1))  # the object an error is on
    excused = np.zeros(len(truth.image), bool)
    excused[on[on >= 0]] = True
    missed = ~got & ~excused & ~truth.crowd
    counts = {name: int(np.count_nonzero(kinds == i)) for i, name in enumerate(KINDS[:-1])} | {
        "missed": int(missed.sum())
    }
    f1, best = _best_f1(found, hit, scores.ignored, int(scores.objects[:, 0].sum()))
    least = best if score is None else score
    return Breakdown(
        counts=counts,
        costs=_costs(truth, scores, hit, wrong, kinds, on, got, missed),
        best_f1=f1,
        best_score=best,
        confusion=_confusion(truth, scores, hit, wrong, near, least, classes),
    )


def _nearest(truth: Truth, found: Found, rows: Ints) -> _Nearest:
    """`_Nearest` of the detections `rows`; overlaps below NEAR are 0. Crowds are nothing here."""
    objects = np.flatnonzero(~truth.crowd)
    objects = objects[np.argsort(truth.image[objects], kind="stable")]
    image = truth.image[objects]
    d, g = found.boxes, truth.boxes[objects]
    right, low = g[:, 0] + g[:, 2], g[:, 1] + g[:, 3]
    size = g[:, 2] * g[:, 3]
    first = np.searchsorted(image, found.image[rows], "left")
    count = np.searchsorted(image, found.image[rows], "right") - first
    made = _Nearest(np.zeros(len(rows)), np.full(len(rows), -1), np.zeros(len(rows)), np.full(len(rows), -1))
    ends = np.cumsum(count)
    cuts = np.unique(np.searchsorted(ends, np.arange(CHUNK, ends[-1] if len(ends) else 0, CHUNK)))
    for part in np.split(np.arange(len(rows)), cuts):
        n = count[part]
        place = np.repeat(part, n)  # in rows
        box = np.repeat(first[part] - (np.cumsum(n) - n), n) + np.arange(n.sum())  # in objects
        x, w = d[rows[place], 0], d[rows[place], 2]
        wide = np.minimum(x + w, right[box]) - np.maximum(x, g[box, 0])
        keep = np.flatnonzero(wide > 0)  # most end here
        place, box, wide = place[keep], box[keep], wide[keep]
        row = rows[place]
        y, h = d[row, 1], d[row, 3]
        common = wide * np.maximum(np.minimum(y + h, low[box]) - np.maximum(y, g[box, 1]), 0)
        union = d[row, 2] * h + size[box] - common
        iou = np.divide(common, union, out=np.zeros_like(common), where=common > 0)
        own = truth.label[objects[box]] == found.label[row]
        for which, best, at in ((own, made.same, made.same_box), (~own, made.other, made.other_box)):
            some = np.flatnonzero(which & (iou >= NEAR))
            order = some[np.argsort(iou[some], kind="stable")]  # of several writes to one place the last stays
            best[place[order]], at[place[order]] = iou[order], objects[box[order]]
    return made


def _kinds(near: _Nearest) -> Ints:
    """Which kind of error each wrong detection is: an index of KINDS."""
    conditions = [
        (near.same >= NEAR) & (near.same < HIT),
        near.other >= HIT,
        near.same >= HIT,
        np.maximum(near.same, near.other) < NEAR,
    ]
    return np.select(conditions, range(4), 4)


def _costs(
    truth: Truth, scores: Scores, hit: Bools, wrong: Ints, kinds: Ints, on: Ints, got: Bools, missed: Bools
) -> dict[str, float]:
    found, objects = scores.found, scores.objects[:, 0]
    judged = ~scores.ignored
    base = _ap50(found, hit, judged, objects)
    costs = {}
    for i, name in enumerate(KINDS[:-1]):
        mended, stays = hit.copy(), judged.copy()
        bad = wrong[kinds == i]
        stays[bad] = False
        label = found.label
        if name in ("localisation", "class"):
            order = np.argsort(-found.scores[bad], kind="stable")
            box = on[kinds == i][order]
            best = bad[order][np.unique(box, return_index=True)[1]]  # the best-scored on each object
            best = best[~got[np.unique(box)]]
            mended[best], stays[best] = True, True
            if name == "class":
                label = label.copy()
                label[best] = truth.label[np.unique(box)[~got[np.unique(box)]]]
        costs[name] = _ap50(Found(found.image, label, found.boxes, found.scores), mended, stays, objects) - base
    fewer = objects - np.bincount(truth.label[missed], minlength=len(objects))
    costs["missed"] = _ap50(found, hit, judged, fewer) - base
    return costs


def _ap50(found: Found, hit: Bools, judged: Bools, objects: Ints) -> float:
    """Mean AP at one threshold from which detections are hits; a class none of whose objects is asked for is left out."""
    rows = np.flatnonzero(judged)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    rows = rows[np.argsort(found.label[rows], kind="stable")]
    begins = np.searchsorted(found.label[rows], np.arange(len(objects) + 1))
    values = np.full(len(objects), np.nan)
    for k in np.flatnonzero(objects):
        at = np.flatnonzero(hit[rows[begins[k] : begins[k + 1]]])
        values[k] = sampled(at + 1, int(objects[k]), RECALLS).mean()
    return mean(values)


def _best_f1(found: Found, hit: Bools, ignored: Bools, objects: int) -> tuple[float, float]:
    """(the largest F1 of all detections that score at least s, that s); (0, 0) where nothing is found or to be found."""
    rows = np.flatnonzero(~ignored)
    if not len(rows) or not objects:
        return 0.0, 0.0
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    f1 = 2 * np.cumsum(hit[rows]) / (np.arange(1, len(rows) + 1) + objects)
    value = found.scores[rows]
    f1[:-1][value[:-1] == value[1:]] = -1  # a threshold takes all of equal scores
    best = int(f1.argmax())
    return float(f1[best]), float(value[best])


def _confusion(
    truth: Truth, scores: Scores, hit: Bools, wrong: Ints, near: _Nearest, least: float, classes: int
) -> Ints:
    """(K + 1, K + 1) as in `Breakdown`. A detection on the wrong class takes its object if no other has it."""
    found = scores.found
    right = np.flatnonzero(hit & (found.scores >= least))
    free = ~truth.crowd
    free[scores.matched[right]] = False
    rows = np.flatnonzero(found.scores[wrong] >= least)
    mixed = rows[near.other[rows] >= HIT]
    mixed = mixed[free[near.other_box[mixed]]]
    mixed = mixed[np.argsort(-found.scores[wrong[mixed]], kind="stable")]
    mixed = mixed[np.unique(near.other_box[mixed], return_index=True)[1]]
    confused = near.other_box[mixed]
    free[confused] = False
    nothing = wrong[np.setdiff1d(rows, mixed)]
    true = np.concatenate(
        (found.label[right], truth.label[confused], np.full(len(nothing), classes), truth.label[free])
    )
    said = np.concatenate((found.label[right], found.label[wrong[mixed]], found.label[nothing]))
    said = np.concatenate((said, np.full(int(free.sum()), classes)))
    return np.bincount(true * (classes + 1) + said, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)
