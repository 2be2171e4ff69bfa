"""The splits of a data set, and opening one by name. Light: what a split is made of decides what is imported."""

from __future__ import annotations

from typing import Any

from gentool.data.find import Where
from gentool.errors import UsageError

SPLITS = ("train", "validation", "test")


def check_split(split: str) -> str:
    if split not in SPLITS:
        from gentool.errors import did_you_mean
        from gentool.show.text import safe_text

        raise UsageError(f"There is no split '{safe_text(split)[:40]}'.{did_you_mean(split, SPLITS)}")
    return split


def open_split(text: str, split: str, where: Where) -> Any:
    """One split of the data set that ``"mnist"`` or ``"folder:PATH"`` names, as its kind has it."""
    from gentool.registry import registry

    check_split(split)
    spec, argument = registry().find_dataset(text)
    return registry().load(spec.factory)(argument, split, where)
