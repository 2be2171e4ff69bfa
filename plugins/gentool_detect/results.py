"""Detections of any detector, in COCO's results format: [{"image_id", "category_id", "bbox": [x, y, w, h], "score"}, ...]."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gentool.errors import UsageError
from gentool.show.text import safe_text

from .average_precision import Found

LARGEST = 1e7  # pixels: beyond that a number is no coordinate
MEMORY = 8  # bytes of memory that reading takes for each of the file


class Row(msgspec.Struct, gc=False):
    """One detection; other fields (a mask, key points) are passed over."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


def read_results(path: Path, images: dict[int | str, int], categories: dict[int, int], memory: int) -> Found:
    """The detections of a file, as places in `images` and `categories` (from the data set's own ids).

    memory: the bytes this machine has.

    Errors (`UsageError`): what is no list of detections, holds none, or names pictures or categories that are not there.
    """
    name = safe_text(str(path))
    size = path.stat().st_size
    if size * MEMORY > memory:
        raise UsageError(f"'{name}' is {size / 2**30:.1f} GiB, and to read it would take more memory than there is.")
    rows = _decode(path.read_bytes(), name)
    if not rows:
        raise UsageError(f"'{name}' holds no detections at all.")
    n = len(rows)
    image = np.fromiter((images.get(row.image_id, -1) for row in rows), np.int64, n)
    label = np.fromiter((categories.get(row.category_id, -1) for row in rows), np.int64, n)
    boxes = np.fromiter(chain.from_iterable(row.bbox for row in rows), np.float64, 4 * n).reshape(n, 4)
    scores = np.fromiter((row.score for row in rows), np.float64, n)

    def refuse(bad: Any, what: Callable[[Row], str], rest: str) -> None:
        if bad.any():
            first = int(bad.argmax())
            raise UsageError(
                f"'{name}': {int(bad.sum()):,} of {n:,} detections {what(rows[first])} (the first is entry {first}){rest}."
            )

    refuse(~np.isfinite(scores), lambda row: f"have the score {row.score}", "")
    refuse(
        ~(np.abs(boxes) <= LARGEST).all(1), lambda row: f"have a box like {_numbers(row.bbox)}, which is no place", ""
    )
    refuse((boxes[:, 2:] < 0).any(1), lambda row: f"have a box of negative size like {_numbers(row.bbox)}",
           "; bbox is [x, y, width, height]")  # fmt: skip
    refuse(image < 0, lambda row: f"are of pictures that the data set has not, like image_id {_shown(row.image_id)}",
           f"; its ids are {_some(images)}")  # fmt: skip
    refuse(label < 0, lambda row: f"are of categories that the data set has not, like category_id {row.category_id}",
           f"; its ids are {_some(categories)}")  # fmt: skip
    return Found(image, label, boxes, scores)


def _decode(data: bytes, name: str) -> list[Row]:
    """The rows, or one sentence about why there are none."""
    wanted = '[{"image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, ...]'
    try:
        return msgspec.json.decode(data, type=list[Row])
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        if not where:
            hint = ' (it has "annotations": is it the ground truth?)' if b'"annotations"' in data else ""
            raise UsageError(f"'{name}' is no list of detections{hint}; COCO's results format is {wanted}.") from None
        entry, _, field = where.strip("`").removeprefix("[").partition("]")
        what = what[0].lower() + what[1:].replace("`", "")
        said = ": ".join(word for word in (field.strip("."), what) if word)
        raise UsageError(f"'{name}': entry {entry} is no detection ({safe_text(said)}); wanted is {wanted}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        strange = [word.decode() for word in (b"NaN", b"Infinity") if word in data]
        hint = f": it holds {strange[0]}, which JSON has not and no score or box may be" if strange else ""
        raise UsageError(f"'{name}' is not JSON{hint or f' ({safe_text(str(error))})'}.") from None
    except RecursionError:
        raise UsageError(f"'{name}' is nested too deeply to be a list of detections.") from None


def _numbers(box: Iterable[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


def _shown(value: int | str) -> str:
    return str(value) if isinstance(value, int) else f"'{safe_text(value)[:60]}'"


def _some(ids: Iterable[int | str]) -> str:
    words = [_shown(value) for value in ids]
    return ", ".join(words[:3]) + (f", ... {words[-1]}" if len(words) > 3 else "")
