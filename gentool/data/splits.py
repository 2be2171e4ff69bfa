"""The splits of a data set: their names, who belongs to which, and opening one. Light: what a split is made of decides what
is imported."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from gentool.data.find import Where
from gentool.errors import UsageError

T = TypeVar("T")

SPLITS = ("train", "validation", "test")
WORDS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}  # in names of files
HELD_OUT = 20  # below so many pictures all are for training


def check_split(split: str) -> str:
    if split not in SPLITS:
        from gentool.errors import did_you_mean
        from gentool.show.text import safe_text

        raise UsageError(f"There is no split '{safe_text(split)[:40]}'.{did_you_mean(split, SPLITS)}")
    return split


def name_hash(name: str) -> float:
    """A file's place in [0, 1), from its name alone."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "big") / 2**64


def home_of(place: float, count: int) -> str:
    """The split of a picture by its `name_hash`, where its data set of `count` pictures has no splits: 80 % are for
    training, 10 % for validation and 10 % for the test; of fewer than 20 all are for training."""
    return "train" if count < HELD_OUT or place >= 0.2 else "test" if place < 0.1 else "validation"


def part_of(parts: Mapping[str, T | None], split: str) -> T | None:
    """What a data set has for a split; where it has no test, validation is it. None: nothing."""
    own = parts.get(split)
    return parts.get("validation") if own is None and split == "test" else own


def open_split(text: str, split: str, where: Where) -> Any:
    """One split of the data set that ``"mnist"`` or ``"folder:PATH"`` names, as its kind has it."""
    from gentool.registry import registry

    check_split(split)
    spec, argument = registry().find_dataset(text)
    return registry().load(spec.factory)(argument, split, where)
