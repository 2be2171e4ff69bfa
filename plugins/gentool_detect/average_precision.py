"""Average precision of detections: COCO's and PASCAL VOC's, vectorised over pictures, thresholds and sizes.

How a detector is scored, for one class and one overlap threshold t:

1. sort all its detections of that class, over all pictures, by falling score;
2. hand each in turn the ground-truth box of its picture and class with the largest IoU, if that is at least t and the box
   was not handed out before: then it is a true positive, otherwise a false positive;
3. after each detection, precision is the share of true positives so far and recall the share of the ground truth found
   so far: average precision (AP) is the area under precision as a function of recall.

mAP is the mean over classes, and COCO's AP also over t = 0.50, 0.55, ..., 0.95.

Where the two differ. COCO (Lin et al. 2014) lets a detection take the best box *still free*, reads precision (made
non-increasing from the right) at 101 recalls, keeps the 100 best detections of a class and picture, and leaves out what
is not to be judged: a crowd region takes any number of detections, and a box outside the range of areas in question takes
one, without these counting for or against; nor does an unmatched detection outside the range. VOC (Everingham et al. 2010)
looks at the best box *alone*: if that is taken the detection is a duplicate. VOC's AP is the mean at 11 recalls (2007) or
the whole area (2010). COCO's figures agree with pycocotools to the last digits, ties of scores and overlaps included.

Only pairs of a detection and a box of the same picture and class with IoU >= the least threshold are ever held; they are
few, and all thresholds and areas are matched at once, detection by detection of rank 0, 1, ... in all pictures together.
Only NumPy is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MOST = (1, 10, 100)  # detections of a class on a picture
CHUNK = 1 << 18  # overlaps computed at a time
ROUND = 1 << 13  # detections matched at a time
TINY = np.spacing(1)


@dataclass
class Truth:
    """The ground truth of `pictures` pictures. image: int64 (G,) in [0, pictures), in the order in which equal scores are
    to be read; label: int64 (G,); boxes: float64 (G, 4), x y width height; area: (G,) of the object, for its size class;
    crowd: bool (G,), not to be judged."""

    pictures: int
    image: Ints
    label: Ints
    boxes: Floats
    area: Floats
    crowd: Bools


@dataclass
class Found:
    """Detections: image and label as in `Truth`, boxes x y width height, scores: float64 (D,)."""

    image: Ints
    label: Ints
    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: Ints) -> Found:
        return Found(self.image[index], self.label[index], self.boxes[index], self.scores[index])


@dataclass
class Scores:
    """What COCO's evaluation gives; NaN where a class has no object in the range of areas (pycocotools: -1).

    precision: (T, R, K, A) at 101 recalls; recall: (T, K, A, M), the share found with at most M detections; objects:
    (K, A), how many are to be found; voc07, voc10: (K,), VOC's AP at 0.5. `found`, sorted by class and falling score, with
    `matched` (D,): the index of the box that each was handed at 0.5 regardless of area, or -1, and `ignored` (D,).
    """

    precision: Floats
    recall: Floats
    objects: Ints
    voc07: Floats
    voc10: Floats
    found: Found
    matched: Ints
    ignored: Bools
    thresholds: Floats = field(default_factory=lambda: THRESHOLDS)
    areas: tuple[str, ...] = tuple(AREAS)
    most: tuple[int, ...] = MOST

    def ap(self, threshold: float | None = None, area: str = "all", label: int | None = None) -> float:
        """Mean precision over recalls, the classes that have objects, and thresholds (None: all); NaN without objects."""
        part = self.precision[self._at(threshold), :, :, self.areas.index(area)]
        return mean(part if label is None else part[:, :, label])

    def ar(self, most: int = 100, area: str = "all", label: int | None = None) -> float:
        """Mean recall over thresholds and classes with at most so many detections of a class on a picture."""
        part = self.recall[:, :, self.areas.index(area), self.most.index(most)]
        return mean(part if label is None else part[:, label])

    def _at(self, threshold: float | None) -> slice:
        if threshold is None:
            return slice(None)
        at = int(np.abs(self.thresholds - threshold).argmin())
        return slice(at, at + 1)


def mean(values: Floats) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


@dataclass
class _Pairs:
    """Detections and boxes of one picture and class that overlap, sorted by detection, then overlap, then box: the last
    of a detection's is the one that COCO's search would settle on."""

    found: Ints  # (P,)
    truth: Ints
    iou: Floats

    def where(self, keep: Bools) -> _Pairs:
        return _Pairs(self.found[keep], self.truth[keep], self.iou[keep])


def evaluate(
    truth: Truth,
    found: Found,
    classes: int,
    *,
    thresholds: Floats = THRESHOLDS,
    areas: Sequence[tuple[float, float]] = tuple(AREAS.values()),
    most: Sequence[int] = MOST,
) -> Scores:
    """Score detections against the ground truth of `classes` classes. `most` is increasing; its last is what AP allows."""
    found, rank = _sorted(found, classes, most[-1])
    ranges = np.asarray(areas)
    lost = truth.crowd[:, None] | (truth.area[:, None] < ranges[:, 0]) | (truth.area[:, None] > ranges[:, 1])  # (G, A)
    objects = np.stack([np.bincount(truth.label[~lost[:, a]], minlength=classes) for a in range(len(ranges))], 1)
    size = found.boxes[:, 2] * found.boxes[:, 3]
    outside = (size[:, None] < ranges[:, 0]) | (size[:, None] > ranges[:, 1])  # (D, A)

    pairs = overlaps(truth, found, classes, min(float(thresholds.min()), 0.5))
    rows, taken = _match(pairs, rank, truth.crowd, lost, thresholds)  # rows (M,) of found, taken (M, T, A)
    precision, recall = _accumulate(found.label, rank, rows, taken, lost, outside, objects, most)
    half = int(np.abs(thresholds - 0.5).argmin())
    matched = np.full(len(found), -1)
    matched[rows] = taken[:, half, 0]
    ignored = (matched >= 0) & lost[matched, 0] if len(truth.image) else np.zeros(len(found), bool)
    voc07, voc10 = _voc(truth, found, pairs, np.bincount(truth.label[~truth.crowd], minlength=classes))
    return Scores(precision, recall, objects, voc07, voc10, found, matched, ignored, thresholds, most=tuple(most))


def _sorted(found: Found, classes: int, most: int) -> tuple[Found, Ints]:
    """The detections by class and falling score, the `most` best of each picture and class alone, and their ranks there.

    Equals stay by picture and, within one, in the order given.
    """
    order = np.argsort(found.image, kind="stable")
    order = order[np.argsort(-found.scores[order], kind="stable")]
    label = found.label[order]
    order = order[np.argsort(label.astype(np.int16) if classes < 1 << 15 else label, kind="stable")]
    group = found.image[order] * classes + found.label[order]
    by_group = np.argsort(group, kind="stable")
    ordered = group[by_group]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    rank = np.empty(len(order), np.int64)
    rank[by_group] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    keep = rank < most
    return found.take(order[keep]), rank[keep]


def overlaps(truth: Truth, found: Found, classes: int, least: float) -> _Pairs:
    """All pairs of one picture and class with IoU >= least (of a crowd: the share of the detection that lies in it)."""
    group = truth.image * classes + truth.label
    order = np.argsort(group, kind="stable")
    group = group[order]
    wanted = found.image * classes + found.label
    first = np.searchsorted(group, wanted, "left")
    count = np.searchsorted(group, wanted, "right") - first
    rows = np.flatnonzero(count)
    parts = [_Pairs(rows[:0], rows[:0], np.zeros(0))]
    ends = np.cumsum(count[rows])
    cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] if len(ends) else 0, CHUNK))
    for part in np.split(rows, np.unique(cuts)):
        n = count[part]
        d = np.repeat(part, n)
        g = order[np.repeat(first[part] - (np.cumsum(n) - n), n) + np.arange(n.sum())]
        iou = paired_iou(found.boxes[d], truth.boxes[g], truth.crowd[g])
        enough = iou >= least - 1e-9
        parts.append(_Pairs(d[enough], g[enough], iou[enough]))
    d, g, iou = (np.concatenate([getattr(p, name) for p in parts]) for name in ("found", "truth", "iou"))
    order = np.lexsort((g, iou, d))
    return _Pairs(d[order], g[order], iou[order])


def paired_iou(found: Floats, truth: Floats, crowd: Bools) -> Floats:
    """IoU of rows x y width height (P, 4); with a crowd, the share of the detection inside it. In COCO's order of
    operations, so that ties stay ties."""
    width = np.minimum(found[:, 2] + found[:, 0], truth[:, 2] + truth[:, 0]) - np.maximum(found[:, 0], truth[:, 0])
    height = np.minimum(found[:, 3] + found[:, 1], truth[:, 3] + truth[:, 1]) - np.maximum(found[:, 1], truth[:, 1])
    common = np.where((width > 0) & (height > 0), width * height, 0.0)
    own = found[:, 2] * found[:, 3]
    union = np.where(crowd, own, own + truth[:, 2] * truth[:, 3] - common)
    return np.divide(common, union, out=np.zeros_like(common), where=common > 0)


def _match(pairs: _Pairs, rank: Ints, crowd: Bools, lost: Bools, thresholds: Floats) -> tuple[Ints, NDArray[np.int32]]:
    """Step 2 for all thresholds T and areas A: (the rows of detections with any pair (M,), the box handed to each, or -1:
    (M, T, A)).

    Detections of one rank belong to different pictures or classes and cannot want the same box: each round takes one
    rank. Of a detection's free boxes the last pair wins (`_Pairs`), those to be judged before those that are not.
    """
    floor = np.minimum(thresholds, 1 - 1e-10)
    rows, starts = np.unique(pairs.found, return_index=True)
    taken = np.full((len(rows), len(thresholds), lost.shape[1]), -1, np.int32)
    if not len(rows):
        return rows, taken
    counts = np.diff(starts, append=len(pairs.found))
    used = np.zeros((len(lost), len(thresholds), lost.shape[1]), bool)
    order = np.argsort(rank[rows], kind="stable")
    rounds = np.split(order, np.flatnonzero(np.diff(rank[rows][order])) + 1)
    for which in (part for one in rounds for part in np.split(one, range(ROUND, len(one), ROUND))):
        n = counts[which]
        begin = np.cumsum(n) - n
        place = np.repeat(starts[which] - begin, n) + np.arange(n.sum())
        box = pairs.truth[place]
        free = (pairs.iou[place][:, None] >= floor)[:, :, None] & ~(used[box] & ~crowd[box][:, None, None])
        # An eligible pair's worth: its place among the detection's, and more than any of those if it is to be judged.
        worth = (np.arange(len(place)) - np.repeat(begin, n) + 1)[:, None] + np.where(lost[box], 0, n.max() + 1)
        worth = worth.astype(np.int32)
        best = np.maximum.reduceat(np.where(free, worth[:, None, :], 0), begin, axis=0)  # (W, T, A)
        at = begin[:, None, None] + (best - 1) % (n.max() + 1)
        hit = best > 0
        chosen = np.where(hit, box[np.where(hit, at, 0)], -1)
        taken[which] = chosen
        _, t, a = np.nonzero(hit)
        used[chosen[hit], t, a] = True
    return rows, taken


def _accumulate(
    label: Ints,
    rank: Ints,
    rows: Ints,
    taken: NDArray[np.int32],
    lost: Bools,
    outside: Bools,
    objects: Ints,
    most: Sequence[int],
) -> tuple[Floats, Floats]:
    """Step 3 for every class, threshold and area: precision (T, R, K, A) and recall (T, K, A, M).

    Precision is only needed where recall grows: at true positives. The number of detections judged up to there is that
    of all inside the range of areas, corrected by the matched ones (`shift`).
    """
    (classes, ranges), t = objects.shape, taken.shape[1]
    precision = np.full((t, len(RECALLS), classes, ranges), np.nan)
    recall = np.full((t, classes, ranges, len(most)), np.nan)
    begins = np.searchsorted(label, np.arange(classes + 1))  # found is sorted by class
    splits = np.searchsorted(rows, begins)
    for a in range(ranges):
        judged = np.concatenate(([0], np.cumsum(~outside[:, a])))
        hit = taken[:, :, a] >= 0
        judgeable = ~lost[:, a][taken[:, :, a]] if len(lost) else hit
        true = hit & judgeable
        out = outside[rows, a][:, None]
        shift = (true & out).astype(np.int32) - (hit & ~judgeable & ~out)
        for k in np.flatnonzero(objects[:, a]):
            part = slice(splits[k], splits[k + 1])
            seen = judged[rows[part] + 1] - judged[begins[k]]
            shifts = np.cumsum(shift[part], 0)
            for i in range(t):
                at = np.flatnonzero(true[part, i])
                precision[i, :, k, a] = sampled(seen[at] + shifts[at, i], int(objects[k, a]), RECALLS)
                recall[i, k, a] = [np.count_nonzero(rank[rows[part][at]] < m) / objects[k, a] for m in most]
    return precision, recall


def _voc(truth: Truth, found: Found, pairs: _Pairs, objects: Ints) -> tuple[Floats, Floats]:
    """VOC's AP at IoU 0.5 of each class, by 11 points (2007) and by area (2010); crowds are VOC's "difficult" boxes: a
    detection whose best box is one is not judged."""
    iou = pairs.iou.copy()
    crowd = np.flatnonzero(truth.crowd[pairs.truth])
    d, g = pairs.found[crowd], pairs.truth[crowd]
    iou[crowd] = paired_iou(found.boxes[d], truth.boxes[g], np.zeros(len(g), bool))
    starts = np.flatnonzero(np.diff(pairs.found, prepend=-1))
    most = np.maximum.reduceat(iou, starts) if len(starts) else iou
    best = np.flatnonzero(iou == np.repeat(most, np.diff(starts, append=len(iou))))
    best = best[np.diff(pairs.found[best], prepend=-1) > 0]  # of equal overlaps the first box
    best = best[iou[best] >= 0.5]
    d, g = pairs.found[best], pairs.truth[best]
    judged, true = np.ones(len(found), bool), np.zeros(len(found), bool)
    judged[d[truth.crowd[g]]] = False
    true[d[np.unique(g, return_index=True)[1]]] = True  # found is sorted by class and score: the first has the box
    voc07, voc10 = np.full(len(objects), np.nan), np.full(len(objects), np.nan)
    begins = np.searchsorted(found.label, np.arange(len(objects) + 1))
    for k in np.flatnonzero(objects):
        part = slice(begins[k], begins[k + 1])
        voc07[k], voc10[k] = voc_ap(true[part][judged[part]], int(objects[k]))
    return voc07, voc10


def sampled(judged: Ints, objects: int, recalls: Floats) -> Floats:
    """Precision at some recalls, from how many detections were judged up to each true positive.

    The precision at recall r is the largest at any recall >= r; beyond the last true positive it is 0.
    """
    tp = np.arange(1, len(judged) + 1)
    envelope = np.maximum.accumulate((tp / (judged + TINY))[::-1])[::-1]
    place = np.searchsorted(tp / objects, recalls, "left")
    made: Floats = np.append(envelope, 0.0)[np.minimum(place, len(judged))]
    return made


def voc_ap(true: Bools, objects: int) -> tuple[float, float]:
    """(11-point AP of VOC 2007, area of VOC 2010) of detections by falling score and the number of objects to be found.

    2007: the mean precision at recalls 0, 0.1, ..., 1; 2010: the integral of precision over recall, both of the
    precision made non-increasing as in `sampled`.
    """
    at = np.flatnonzero(true)
    area = sampled(at + 1, objects, np.arange(1, len(at) + 1) / objects).sum() / objects
    return float(sampled(at + 1, objects, np.arange(11) / 10).mean()), float(area)
