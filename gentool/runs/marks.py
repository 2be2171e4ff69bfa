"""What a person says of a run: tags and a pin, in a file of its own beside run.json, which is the trainer's. Light."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gentool.errors import UsageError
from gentool.runs.files import replace_file

FILE = "marks.json"
MOST = 16  # tags of a run
_TAG = re.compile(r"[\w.+-]{1,24}")


@dataclass(frozen=True)
class Marks:
    """The tags of a run in their order, and whether it is pinned."""

    tags: tuple[str, ...] = ()
    pinned: bool = False


def read_marks(run: Path) -> Marks:
    """The marks of a run folder; none where the file is missing or is not what we write."""
    from gentool.runs.reader import read_small

    text, problem = read_small(run / FILE)
    if problem:
        return Marks()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Marks()
    if not isinstance(found, dict):
        return Marks()
    tags = found.get("tags")
    good = [tag for tag in tags if isinstance(tag, str) and _TAG.fullmatch(tag)] if isinstance(tags, list) else []
    return Marks(tuple(dict.fromkeys(good))[:MOST], found.get("pinned") is True)


def write_marks(run: Path, marks: Marks) -> Marks:
    """Keep the marks of a run, and give them. `GentoolError` where the folder cannot be written."""
    if marks == Marks():
        try:
            (run / FILE).unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"The marks of '{run.name}' cannot be removed: {error.strerror}.") from None
        return marks
    text = json.dumps({"tags": list(marks.tags), "pinned": marks.pinned})
    replace_file(run / FILE, text.encode(), sync=False)
    return marks


def parse_tags(text: str) -> tuple[str, ...]:
    """Tags as they are typed, apart by spaces or commas. `UsageError` for what no tag can be."""
    tags = tuple(dict.fromkeys(word.removeprefix("#") for word in re.split(r"[\s,]+", text.strip()) if word))
    return checked(tags)


def checked(tags: Iterable[str]) -> tuple[str, ...]:
    found = tuple(tags)
    for tag in found:
        if not _TAG.fullmatch(tag):
            raise UsageError("A tag has 1 to 24 letters, digits or _.+-: baseline, beta-4.")
    if len(found) > MOST:
        raise UsageError(f"A run takes at most {MOST} tags.")
    return found
