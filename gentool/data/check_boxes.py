"""What `gentool data check` says of pictures with boxes: every picture is decoded, every box is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gentool.data.boxes import BoxSet
from gentool.data.check import MOST_CLASSES, Facts, Row
from gentool.data.pictures import in_threads
from gentool.data.sets import SPLITS

BOUNDS = (32.0**2, 96.0**2)  # COCO's areas of small, medium and large objects


def check_boxes(name: str, open_one: Callable[[str], BoxSet]) -> Facts:
    """Pictures, boxes, their sizes and classes; what is wrong with how many, and who the first are; pictures of
    validation or test that training has too."""
    rows: list[Row] = []
    problems: list[Row] = []
    classes: dict[str, dict[str, int]] = {}
    trained: set[bytes] = set()
    shared: set[bytes] = set()
    for split in SPLITS:
        data = open_one(split)
        digests, broken = _pixels(data)
        problems += _problems(split, data, broken)
        if not len(data):
            continue
        if split == "train":
            trained = digests
        shared |= digests & trained if split != "train" else set()
        row, counts = _facts(split, data)
        rows.append(row)
        for label, count in zip(data.classes, counts):
            classes.setdefault(label, {})[split] = count
    tables = [[_shown(row) for row in rows]]
    sentences = []
    if len(classes) > MOST_CLASSES:
        totals = [sum(own.values()) for own in classes.values()]
        sentences.append(f"{len(classes)} classes of {min(totals):,} to {max(totals):,} boxes (--json lists them).")
    else:
        tables.append([{"class": label} | {s: f"{n:,}" for s, n in own.items()} for label, own in classes.items()])
    if shared:
        sentences.append(f"{len(shared):,} different picture(s) of validation or test are in training too.")
    problems = _merged(problems)
    if problems:
        tables.append([{**p, "number": f"{p['number']:,}", "first": "; ".join(p["first"][:2])} for p in problems])
    bad = [f"{p['problem']}: {p['number']:,} {p['what']} ({p['split']}; {'; '.join(p['first'])})" for p in problems]
    found = {"name": name, "splits": rows, "classes": classes, "shared": len(shared), "problems": problems}
    return Facts(tables, sentences, bad, found, listed=True)


def _pixels(data: BoxSet) -> tuple[set[bytes], dict[int, str]]:
    """(a digest of each picture, why those that cannot be decoded cannot). Rendered pictures are not looked at."""
    if not data.files:
        return set(), {}
    digests: set[bytes] = set()
    broken: dict[int, str] = {}
    for index, made in enumerate(in_threads(lambda i: _digest(data.decoded(i)), list(range(len(data))))):
        if isinstance(made, str):
            broken[index] = made
        else:
            digests.add(made)
    return digests, broken


def _digest(made: Any) -> bytes | str:
    return made if isinstance(made, str) else hashlib.blake2b(made.tobytes(), digest_size=16).digest()


def _problems(split: str, data: BoxSet, broken: dict[int, str]) -> list[Row]:
    found = [
        {
            "problem": kind,
            "number": count,
            "what": data.problems.done[kind],
            "split": split,
            "first": data.problems.first[kind],
        }
        for kind, count in data.problems.counts.items()
    ]
    if broken:
        first = [f"{data.file_name(i)}: {why}" for i, why in list(broken.items())[:5]]
        found.append(
            {"problem": "picture that cannot be decoded", "number": len(broken), "what": "taken as black, without boxes",
             "split": split, "first": first}
        )  # fmt: skip
    return found


def _merged(problems: list[Row]) -> list[Row]:
    """Where validation is the test as well, its problems are told once."""
    merged: list[Row] = []
    for row in problems:
        same = [old for old in merged if {**old, "split": ""} == {**row, "split": ""}]
        if same:
            same[0]["split"] += f", {row['split']}"
        else:
            merged.append(row)
    return merged


def _facts(split: str, data: BoxSet) -> tuple[Row, list[int]]:
    """(the row of a split, boxes of each class)."""
    counts = np.zeros(len(data.classes), np.int64)
    empty = crowds = 0
    areas: list[float] = []
    for index in range(len(data)):
        target = data.target(index)
        counts += np.bincount(target.labels[~target.crowd], minlength=len(counts))
        areas += target.area[~target.crowd].tolist()
        crowds += int(target.crowd.sum())
        empty += not len(target.labels)
    sizes = [data.size(i) for i in range(len(data))]
    small, medium = (int(np.count_nonzero(np.array(areas) < bound)) for bound in BOUNDS)
    row = {
        "split": split,
        "pictures": len(data),
        "sides": [min(min(s) for s in sizes), max(max(s) for s in sizes)],
        "boxes": len(areas),
        "small": small,
        "medium": medium - small,
        "large": len(areas) - medium,
        "crowds": crowds,
        "empty": empty,
    }
    return row, counts.tolist()


def _shown(row: Row) -> Row:
    sides = row["sides"]
    return {k: f"{v:,}" if isinstance(v, int) else v for k, v in row.items()} | {"sides": f"{sides[0]} to {sides[1]}"}
