"""The kinds of error, their costs and the confusion matrix, on pictures whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from gentool_detect.average_precision import Found, Truth, evaluate, mean
from gentool_detect.breakdown import KINDS, break_down

BOX = np.array([10.0, 10, 40, 40])
HALF = np.array([30.0, 10, 40, 40])  # IoU 1/3 with BOX
FAR = np.array([200.0, 200, 40, 40])


def pictures(*lists: list[tuple], crowd: tuple[int, ...] = ()) -> tuple[Truth, Found]:
    """Each picture has BOX of class 0 and what is found on it: (class, box, score)."""
    n = len(lists)
    truth = Truth(
        n, np.arange(n), np.zeros(n, np.int64), np.tile(BOX, (n, 1)), np.full(n, 1600.0), np.isin(np.arange(n), crowd)
    )
    rows = [(i, *row) for i, rows in enumerate(lists) for row in rows]
    image, label, boxes, scores = zip(*rows) if rows else ((), (), (), ())
    return truth, Found(
        np.array(image, np.int64), np.array(label, np.int64), np.array(boxes).reshape(-1, 4), np.array(scores, float)
    )


ONE_OF_EACH = [
    [(0, BOX, 0.9), (0, BOX, 0.85)],  # a hit and its duplicate
    [(0, HALF, 0.8)],  # localisation
    [(1, BOX, 0.7)],  # class
    [(0, FAR, 0.6)],  # background, and the object missed
    [(1, HALF, 0.5)],  # both, and missed
]


def test_every_kind_is_told():
    truth, found = pictures(*ONE_OF_EACH)
    made = break_down(truth, evaluate(truth, found, 2))
    assert made.counts == {"localisation": 1, "class": 1, "duplicate": 1, "background": 1, "both": 1, "missed": 2}


def test_a_cost_is_the_ap_of_the_mended_detections():
    """Each cost against an evaluation of detections in which that one kind is mended by hand."""
    truth, found = pictures(*ONE_OF_EACH)
    base = evaluate(truth, found, 2).ap(0.5)
    costs = break_down(truth, evaluate(truth, found, 2)).costs
    mended = {
        "localisation": [ONE_OF_EACH[0], [(0, BOX, 0.8)], *ONE_OF_EACH[2:]],
        "class": [*ONE_OF_EACH[:2], [(0, BOX, 0.7)], *ONE_OF_EACH[3:]],
        "duplicate": [[(0, BOX, 0.9)], *ONE_OF_EACH[1:]],
        "background": [*ONE_OF_EACH[:3], [], ONE_OF_EACH[4]],
        "both": [*ONE_OF_EACH[:4], []],
    }
    for kind, lists in mended.items():
        assert costs[kind] == pytest.approx(evaluate(*pictures(*lists), 2).ap(0.5) - base, abs=1e-9), kind
    truth, found = pictures(*ONE_OF_EACH, crowd=(3, 4))  # missed: as if the two were not asked for
    rest = Found(*(x[found.image < 3] for x in (found.image, found.label, found.boxes, found.scores)))
    expected = evaluate(truth, rest, 2).ap(0.5) - base  # what is found on the two comes last: it costs nothing here
    assert costs["missed"] == pytest.approx(expected, abs=1e-9)


def test_a_second_error_on_one_object_does_not_mend_it_twice():
    truth, found = pictures([(0, HALF, 0.8), (0, HALF, 0.7), (0, HALF + 2, 0.75)], [(0, BOX, 0.9), (0, HALF, 0.95)])
    made = break_down(truth, evaluate(truth, found, 1))
    assert made.counts["localisation"] == 4
    mended = pictures([(0, BOX, 0.8)], [(0, BOX, 0.9)])
    base = evaluate(truth, found, 1).ap(0.5)
    assert made.costs["localisation"] == pytest.approx(evaluate(*mended, 1).ap(0.5) - base, abs=1e-9)


def test_confusion():
    truth, found = pictures(*ONE_OF_EACH, [(1, BOX, 0.3)])
    scores = evaluate(truth, found, 2)
    #                                                     said 0, said 1, not found
    assert break_down(truth, scores, 0.0).confusion.tolist() == [[1, 2, 3], [0, 0, 0], [3, 1, 0]]
    assert break_down(truth, scores, 0.65).confusion.tolist() == [[1, 1, 4], [0, 0, 0], [2, 0, 0]]


def test_best_f1():
    truth, found = pictures([(0, BOX, 0.9)], [(0, BOX, 0.5)], [(0, FAR, 0.5)], [(0, FAR, 0.4)])
    made = break_down(truth, evaluate(truth, found, 1))
    assert (made.best_f1, made.best_score) == (pytest.approx(2 * 2 / (3 + 4)), 0.5)


def test_crowds_are_neither_right_nor_wrong():
    truth, found = pictures([(0, BOX, 0.9), (0, BOX, 0.8)], [(0, BOX, 0.7)], crowd=(0,))
    made = break_down(truth, evaluate(truth, found, 1))
    assert not any(made.counts.values())
    assert made.confusion.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("lists", [[], [[], []]])
def test_nothing_found(lists):
    truth, found = pictures(*lists)
    made = break_down(truth, evaluate(truth, found, 1))
    assert made.counts == dict.fromkeys(KINDS, 0) | {"missed": len(lists)}
    assert made.best_f1 == 0
    assert int(made.confusion.sum()) == len(lists)


def test_nothing_to_be_found():
    truth, found = pictures()
    found = Found(np.array([0]), np.array([0]), BOX[None], np.array([0.5]))
    truth.pictures = 1
    made = break_down(truth, evaluate(truth, found, 1))
    assert made.counts["background"] == 1
    assert np.isnan(list(made.costs.values())).all()


def test_the_parts_agree_on_random_input():
    rng = np.random.default_rng(0)
    n, m = 200, 900
    truth_boxes = np.concatenate((rng.random((n, 2)) * 200, rng.random((n, 2)) * 60 + 10), 1)
    truth = Truth(20, rng.integers(0, 20, n), rng.integers(0, 3, n), truth_boxes, truth_boxes[:, 2] * truth_boxes[:, 3],
                  rng.random(n) < 0.05)  # fmt: skip
    copy = rng.integers(0, n, m)
    moved = truth_boxes[copy] * (1 + 0.1 * rng.normal(size=(m, 4)))
    found = Found(truth.image[copy], rng.integers(0, 3, m), np.abs(moved), rng.random(m))
    scores = evaluate(truth, found, 3)
    made = break_down(truth, scores, 0.0)
    hits = int(((scores.matched >= 0) & ~scores.ignored).sum())
    wrong = sum(made.counts[kind] for kind in KINDS[:-1])
    assert hits + wrong + int(scores.ignored.sum()) == m
    assert int(np.trace(made.confusion)) == hits
    assert int(made.confusion[:, :-1].sum()) == hits + wrong
    assert int(made.confusion[:-1].sum()) == int((~truth.crowd).sum())
    assert all(cost >= -1e-12 for cost in made.costs.values())
    assert mean(np.array(list(made.costs.values()))) > 0
