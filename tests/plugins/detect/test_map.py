"""Average precision against pycocotools, hotcoco and the definitions, on random and on adversarial detections."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from gentool_detect.average_precision import AREAS, MOST, Found, Truth, evaluate, voc_ap
from hypothesis import given, settings
from hypothesis import strategies as st

coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")


def pycoco(truth: Truth, found: Found, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(precision (T, R, K, A) at 100 detections, recall (T, K, A, M)) by pycocotools; -1 made NaN."""
    with contextlib.redirect_stdout(io.StringIO()):
        made = coco.COCO()
        made.dataset = {
            "images": [{"id": i} for i in range(truth.pictures)],
            "categories": [{"id": k} for k in range(classes)],
            "annotations": [
                {
                    "id": j + 1,  # pycocotools takes a match with box 0 for none
                    "image_id": int(truth.image[j]),
                    "category_id": int(truth.label[j]),
                    "bbox": truth.boxes[j].tolist(),
                    "area": float(truth.area[j]),
                    "iscrowd": int(truth.crowd[j]),
                }
                for j in range(len(truth.image))
            ],
        }
        made.createIndex()
        rows = [
            {
                "image_id": int(found.image[j]),
                "category_id": int(found.label[j]),
                "bbox": found.boxes[j].tolist(),
                "score": float(found.scores[j]),
            }
            for j in range(len(found))
        ]
        results = made.loadRes(rows) if rows else coco.COCO()
        score = cocoeval.COCOeval(made, results, "bbox")
        score.evaluate()
        score.accumulate()
    precision, recall = score.eval["precision"][..., 2], score.eval["recall"]
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)


def truth_of(pictures: int, rows: list[tuple]) -> Truth:
    """From rows (picture, class, (x, y, w, h), area, crowd)."""
    image, label, boxes, area, crowd = zip(*rows) if rows else ((), (), (), (), ())
    return Truth(
        pictures, np.array(image, np.int64), np.array(label, np.int64), np.array(boxes, float).reshape(-1, 4),
        np.array(area, float), np.array(crowd, bool),
    )  # fmt: skip


def found_of(rows: list[tuple]) -> Found:
    """From rows (picture, class, (x, y, w, h), score)."""
    image, label, boxes, scores = zip(*rows) if rows else ((), (), (), ())
    return Found(
        np.array(image, np.int64),
        np.array(label, np.int64),
        np.array(boxes, float).reshape(-1, 4),
        np.array(scores, float),
    )


def assert_agrees(truth: Truth, found: Found, classes: int) -> None:
    scores = evaluate(truth, found, classes)
    precision, recall = pycoco(truth, found, classes)
    np.testing.assert_allclose(scores.precision, precision, rtol=0, atol=1e-9)
    np.testing.assert_allclose(scores.recall, recall, rtol=0, atol=1e-9)
    voc07, voc10 = voc_by_loops(truth, found, classes)
    np.testing.assert_allclose(scores.voc07, voc07, rtol=0, atol=1e-9)
    np.testing.assert_allclose(scores.voc10, voc10, rtol=0, atol=1e-9)


def voc_by_loops(truth: Truth, found: Found, classes: int) -> tuple[list[float], list[float]]:
    """VOC's own procedure, one detection after the other, among the 100 best of a class and picture."""
    eleven, area = [], []
    for k in range(classes):
        objects = int(((truth.label == k) & ~truth.crowd).sum())
        rows = [j for j in np.argsort(-found.scores, kind="stable") if found.label[j] == k]
        rows.sort(key=lambda j: (-found.scores[j], found.image[j]))
        seen, used, marks = dict.fromkeys(range(truth.pictures), 0), set(), []
        for j in rows:
            seen[found.image[j]] += 1
            if seen[found.image[j]] > 100:
                continue
            best, most = -1, 0.0
            for g in range(len(truth.image)):
                if truth.image[g] == found.image[j] and truth.label[g] == k:
                    (x, y, w, h), (u, v, m, n) = found.boxes[j], truth.boxes[g]
                    wide, high = min(x + w, u + m) - max(x, u), min(y + h, v + n) - max(y, v)
                    common = wide * high if wide > 0 and high > 0 else 0.0
                    iou = common / (w * h + m * n - common) if common else 0.0
                    if iou > most:
                        best, most = g, iou
            if most >= 0.5 and truth.crowd[best]:
                continue
            marks.append(most >= 0.5 and best not in used)
            if most >= 0.5:
                used.add(best)
        if not objects:
            eleven.append(np.nan)
            area.append(np.nan)
            continue
        tp = np.cumsum(marks) if marks else np.zeros(0)
        recall, precision = tp / objects, tp / np.arange(1, len(tp) + 1)
        eleven.append(float(np.mean([max(precision[recall >= r], default=0.0) for r in np.arange(11) / 10])))
        levels = sorted(set(recall))
        steps = np.diff([0.0, *levels])
        area.append(sum(d * max(precision[recall >= r]) for d, r in zip(steps, levels)))
    return eleven, area


# Coarse coordinates and few scores: equal overlaps, equal scores and overlaps of exactly a threshold all the time.
side = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 32.0, 40.0, 96.0, 100.0])
corner = st.sampled_from([0.0, 1.0, 2.0, 10.0])
box = st.tuples(corner, corner, side, side)
place = st.tuples(st.integers(0, 2), st.integers(0, 2))
truths = st.lists(
    st.tuples(place, box, st.sampled_from([None, None, 5.0, 1024.0, 9216.0]), st.booleans(), st.booleans()), max_size=12
)
detections = st.lists(st.tuples(place, box, st.sampled_from([0.0, 0.25, 0.5, 0.5, 1.0])), max_size=25)


@settings(max_examples=150, deadline=None)
@given(truths, detections, st.lists(st.tuples(st.integers(0, 11), st.sampled_from([0.1, 0.5, 0.9])), max_size=10))
def test_agrees_with_pycocotools_on_adversarial_input(boxes, rows, copies):
    """Ties of every sort, crowds, empty classes and pictures, boxes without area, no detections, no truth."""
    truth = truth_of(3, [(i, k, b, b[2] * b[3] if a is None else a, c and d) for (i, k), b, a, c, d in boxes])
    rows = [(i, k, b, s) for (i, k), b, s in rows]
    rows += [(*boxes[j][0], boxes[j][1], s) for j, s in copies if j < len(boxes)]  # right ones, several to a box
    assert_agrees(truth, found_of(rows), 3)


def scattered(pictures: int, classes: int, seed: int, each: int = 20) -> tuple[Truth, Found]:
    """Random truth with crowds, and detections of which half are a box moved a little."""
    rng = np.random.default_rng(seed)
    n = pictures * 6
    size = np.exp(rng.normal(3.7, 1, (n, 2)))
    boxes = np.concatenate((rng.random((n, 2)) * 300, size), 1)
    area = size.prod(1) * rng.uniform(0.4, 1, n)
    truth = Truth(pictures, rng.integers(0, pictures, n), rng.integers(0, classes, n), boxes, area, rng.random(n) < 0.1)
    m = pictures * each
    copy = rng.integers(0, n, m)
    moved = boxes[copy] + rng.normal(size=(m, 4)) * np.tile(size[copy], 2) * rng.choice([0.02, 0.1, 0.3], (m, 1))
    moved[:, 2:] = np.abs(moved[:, 2:])
    label = np.where(rng.random(m) < 0.8, truth.label[copy], rng.integers(0, classes, m))
    image = np.where(rng.random(m) < 0.8, truth.image[copy], rng.integers(0, pictures, m))
    return truth, Found(image, label, moved, rng.random(m).round(2))


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools_on_random_input(seed):
    truth, found = scattered(12, 4, seed)
    assert_agrees(truth, found, 5)  # one class has no objects
    assert 0.1 < evaluate(truth, found, 5).ap() < 0.9


def test_more_detections_than_are_allowed():
    """250 of one class on a picture, of which the 100 best count, and 10 and 1 for recall; the overlaps are crossed."""
    truth, found = scattered(2, 1, 9, each=250)
    assert np.bincount(found.image).min() > 200
    assert_agrees(truth, found, 1)


def test_hotcoco_agrees():
    hotcoco = pytest.importorskip("hotcoco")
    truth, found = scattered(12, 4, 11)
    annotations = [
        {
            "id": j + 1,
            "image_id": int(i),
            "category_id": int(k),
            "bbox": b.tolist(),
            "area": float(a),
            "iscrowd": int(c),
        }
        for j, (i, k, b, a, c) in enumerate(zip(truth.image, truth.label, truth.boxes, truth.area, truth.crowd))
    ]
    rows = [
        {"image_id": int(i), "category_id": int(k), "bbox": b.tolist(), "score": float(s)}
        for i, k, b, s in zip(found.image, found.label, found.boxes, found.scores)
    ]
    images = [{"id": i, "width": 900, "height": 900, "file_name": f"{i}.jpg"} for i in range(12)]
    made = hotcoco.COCO(
        {"images": images, "annotations": annotations, "categories": [{"id": k, "name": str(k)} for k in range(4)]}
    )
    score = hotcoco.COCOeval(made, made.load_res(rows), "bbox")
    score.run()
    ours = evaluate(truth, found, 4)
    mine = [ours.ap(), ours.ap(0.5), ours.ap(0.75), *(ours.ap(area=a) for a in list(AREAS)[1:])]
    mine += [ours.ar(m) for m in MOST] + [ours.ar(area=a) for a in list(AREAS)[1:]]
    np.testing.assert_allclose(mine, score.stats, rtol=0, atol=1e-9)


def test_nothing_at_all():
    nothing, empty = truth_of(3, []), found_of([])
    scores = evaluate(nothing, empty, 2)
    assert np.isnan([scores.ap(), scores.ar(), *scores.voc07]).all()
    one = truth_of(1, [(0, 1, (0, 0, 50, 50), 2500, False)])
    scores = evaluate(one, empty, 2)
    assert (scores.ap(), scores.ar(), scores.ap(area="medium"), scores.ap(label=1)) == (0, 0, 0, 0)
    assert np.isnan([scores.ap(area="small"), scores.ap(label=0)]).all()


def test_worked_example():
    """Three objects; a hit, a miss, a hit: precision 1 to recall 1/3, 2/3 to recall 2/3."""
    box = (0.0, 0.0, 50.0, 50.0)
    truth = truth_of(3, [(i, 0, box, 2500, False) for i in range(3)])
    found = found_of([(0, 0, box, 0.9), (1, 0, (200, 0, 50, 50), 0.8), (2, 0, box, 0.7)])
    scores = evaluate(truth, found, 1)
    assert scores.ap(0.5) == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)  # recalls 0 .. 0.33, 0.34 .. 0.66 of 101
    assert scores.voc07[0] == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert scores.voc10[0] == pytest.approx(1 / 3 + 2 / 9)
    assert scores.ar(100) == pytest.approx(2 / 3)
    assert voc_ap(np.array([True, False, True]), 3) == (pytest.approx(6 / 11), pytest.approx(5 / 9))


def test_voc_duplicates_differ_from_coco():
    """Two objects that overlap; both detections like the first best. COCO hands the second its second choice."""
    truth = truth_of(1, [(0, 0, (0, 0, 40, 40), 1600, False), (0, 0, (10, 0, 40, 40), 1600, False)])
    found = found_of([(0, 0, (0, 0, 40, 40), 0.9), (0, 0, (2, 0, 40, 40), 0.8)])
    scores = evaluate(truth, found, 1)
    assert scores.recall[0, 0, 0, 2] == 1
    assert scores.voc10[0] == pytest.approx(0.5)
