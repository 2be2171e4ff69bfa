"""Reading a whole data set to say what is in it: `gentool data check`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch

from gentool.data.find import Where
from gentool.data.sets import SPLITS, ImageSet, open_dataset, whole


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


@dataclass
class Facts:
    """A data set. `shared`: pictures of validation or test that training has too; `bad`: files that were left out."""

    name: str
    splits: list[SplitFacts]
    shared: int
    bad: list[str]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_dataset(text: str, where: Where) -> Facts:
    """Read every split of a data set. Files that cannot be read are listed, not refused."""
    where = dataclasses.replace(where, skip_bad=True)
    facts: list[SplitFacts] = []
    bad: dict[str, None] = {}
    seen: dict[bytes, str] = {}
    shared = 0
    for split in SPLITS:
        opened = open_dataset(text, split, where)
        made = whole(opened)
        found, digests = _facts(made)
        facts.append(found)
        for digest in digests:
            shared += seen.setdefault(digest, split) == "train" and split != "train"
        bad.update(dict.fromkeys(getattr(opened, "notes", ())))
    return Facts(text, facts, shared, list(bad))


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
