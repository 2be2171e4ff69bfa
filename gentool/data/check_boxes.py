"""What `gentool data check` says of pictures with boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gentool.data.boxes import BoxSet
from gentool.data.check import MOST_CLASSES, Facts, Row
from gentool.data.sets import SPLITS

BOUNDS = (32.0**2, 96.0**2)  # COCO's areas of small, medium and large objects


def check_boxes(name: str, open_one: Callable[[str], BoxSet]) -> Facts:
    """Pictures, boxes, their sizes and classes, and what was left out."""
    rows: list[Row] = []
    bad: dict[str, None] = {}
    classes: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        data = open_one(split)
        bad.update(dict.fromkeys(data.notes))
        counts = np.zeros(len(data.classes), np.int64)
        empty = crowds = 0
        areas: list[float] = []
        for index in range(len(data)):
            target = data.target(index)
            counts += np.bincount(target.labels[~target.crowd], minlength=len(counts))
            areas += target.area[~target.crowd].tolist()
            crowds += int(target.crowd.sum())
            empty += not len(target.labels)
        if not len(data):
            continue
        for number, label in enumerate(data.classes):
            classes.setdefault(label, {})[split] = int(counts[number])
        sizes = [data.size(i) for i in range(len(data))]
        small, medium = (int(np.count_nonzero(np.array(areas) < bound)) for bound in BOUNDS)
        rows.append(
            {
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
        )
    tables = [[_shown(row) for row in rows]]
    sentences = []
    if len(classes) > MOST_CLASSES:
        totals = [sum(own.values()) for own in classes.values()]
        sentences.append(f"{len(classes)} classes of {min(totals):,} to {max(totals):,} boxes (--json lists them).")
    else:
        tables.append([{"class": label} | {s: f"{n:,}" for s, n in own.items()} for label, own in classes.items()])
    return Facts(tables, sentences, list(bad), {"name": name, "splits": rows, "classes": classes})


def _shown(row: Row) -> Row:
    sides = row["sides"]
    return {k: f"{v:,}" if isinstance(v, int) else v for k, v in row.items()} | {"sides": f"{sides[0]} to {sides[1]}"}
