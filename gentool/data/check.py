"""Reading a whole data set to say what is in it: `gentool data check`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from gentool.data.find import Where
from gentool.data.kinds import kind_of
from gentool.data.sets import SPLITS, ImageSet, open_split, whole

MOST_CLASSES = 20  # shown with their counts
Row = dict[str, Any]


@dataclass
class Facts:
    """What a whole data set holds: tables to print, sentences, lines that cannot be used, and all of it as JSON. `listed`:
    the tables say already what cannot be used."""

    tables: list[list[Row]]
    sentences: list[str]
    bad: list[str]
    json: dict[str, Any]
    listed: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**self.json, "bad": self.bad}


def check_dataset(text: str, where: Where) -> Facts:
    """Read every split of a data set. What cannot be read is listed, not refused."""
    kind = kind_of(text)
    where = dataclasses.replace(where, skip_bad=True)
    found: Facts = kind.load(kind.check)(text, lambda split: open_split(text, split, where))
    return found


# -- pictures ----------------------------------------------------------------------------------------------------------


@dataclass
class SplitFacts:
    """One split. `low`, `high`, `mean` and `std` are of all its pixels, grey values taken as 0 … 1."""

    split: str
    count: int
    image: tuple[int, int, int]
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 0.0
    classes: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0  # examples equal to one before them in this split


def check_images(name: str, open_one: Callable[[str], Any]) -> Facts:
    """Counts by class, range, mean, duplicates, and pictures of validation or test that training has too."""
    parts: list[SplitFacts] = []
    bad: dict[str, None] = {}
    seen: dict[bytes, str] = {}
    shared = 0
    for split in SPLITS:
        opened = open_one(split)
        found, digests = _facts(whole(opened))
        parts.append(found)
        for digest in digests:
            shared += seen.setdefault(digest, split) == "train" and split != "train"
        bad.update(dict.fromkeys(getattr(opened, "notes", ())))
    sentences = []
    tables = [[_row(part) for part in parts if part.count]]
    names = list(parts[0].classes)
    if len(names) > MOST_CLASSES:
        counts = [sum(part.classes[name] for part in parts) for name in names]
        sentences.append(f"{len(names)} classes of {min(counts):,} to {max(counts):,} examples (--json lists them).")
    elif names:
        tables.append([{"class": name} | {p.split: f"{p.classes[name]:,}" for p in parts if p.count} for name in names])
    if shared:
        sentences.append(f"{shared:,} different picture(s) of validation or test are in training too.")
    splits = [dataclasses.asdict(part) for part in parts]
    return Facts(tables, sentences, list(bad), {"name": name, "splits": splits, "shared": shared})


def _row(part: SplitFacts) -> Row:
    return {
        "split": part.split,
        "examples": f"{part.count:,}",
        "picture": "x".join(map(str, part.image)),
        "min": f"{part.low:.3f}",
        "max": f"{part.high:.3f}",
        "mean": f"{part.mean:.4f}",
        "std": f"{part.std:.4f}",
        "duplicates": f"{part.duplicates:,}",
    }


def _facts(made: ImageSet) -> tuple[SplitFacts, set[bytes]]:
    images = made.images
    channels, height, width = images.shape[1:]
    facts = SplitFacts(made.split, len(made), (channels, height, width))
    if not len(made):
        return facts, set()
    # Exact whole-number sums by the histogram of grey values.
    histogram = torch.bincount(images.flatten(), minlength=256).double()
    grey = torch.arange(256, dtype=torch.float64) / 255
    share = histogram / histogram.sum()
    facts.mean = float((share * grey).sum())
    facts.std = float((share * (grey - facts.mean) ** 2).sum().sqrt())
    there = torch.nonzero(histogram)
    facts.low, facts.high = float(grey[there.min()]), float(grey[there.max()])
    if made.labels is not None:
        counts = Counter(made.labels.tolist())
        facts.classes = {name: counts.get(i, 0) for i, name in enumerate(made.classes)}
    rows = images.flatten(1).numpy()
    digests = {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows}
    facts.duplicates = len(made) - len(digests)
    return facts, digests
