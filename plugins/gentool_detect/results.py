"""Detections of any detector, in COCO's results format: [{"image_id", "category_id", "bbox": [x, y, w, h], "score"}, ...]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gentool.errors import UsageError
from gentool.show.text import safe_text

from .average_precision import Found

LARGEST = 1e7  # pixels: beyond that a number is no coordinate
MEMORY = 2  # bytes of memory that reading takes for each of the file
PIECE = 4 << 20  # bytes of the file whose rows exist at a time


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
    parts = [_columns(rows, images, categories) for rows in _pieces(path, name)]
    image, label, boxes, scores = (np.concatenate(column) for column in zip(*parts))
    n = len(scores)
    if not n:
        raise UsageError(f"'{name}' holds no detections at all.")

    def refuse(bad: Any, what: str, rest: str = "", shown: Callable[[int], str] = lambda first: "") -> None:
        if bad.any():
            first = int(bad.argmax())
            raise UsageError(
                f"'{name}': {int(bad.sum()):,} of {n:,} detections {what}{shown(first)} (the first is entry {first}){rest}."
            )

    def box(first: int) -> str:
        return "[" + ", ".join(f"{value:g}" for value in boxes[first]) + "]"

    refuse(~(np.abs(boxes) <= LARGEST).all(1), "have a box beyond any picture, like ", shown=box)
    refuse((boxes[:, 2:] < 0).any(1), "have a box of negative size like ", "; bbox is [x, y, width, height]", box)

    def image_id(first: int) -> str:
        return _shown(_entry(path, name, first).image_id)

    def category_id(first: int) -> str:
        return _shown(_entry(path, name, first).category_id)

    has_not = "that the data set has not, like"
    refuse(image < 0, f"are of pictures {has_not} image_id ", f"; its ids are {_some(images)}", image_id)
    refuse(label < 0, f"are of categories {has_not} category_id ", f"; its ids are {_some(categories)}", category_id)
    return Found(image, label, boxes, scores)


def _columns(rows: list[Row], images: dict[int | str, int], categories: dict[int, int]) -> tuple[Any, ...]:
    """(places in images, places in categories, boxes, scores) of rows; -1 for what is in neither."""
    n = len(rows)
    return (
        np.fromiter((images.get(row.image_id, -1) for row in rows), np.int64, n),
        np.fromiter((categories.get(row.category_id, -1) for row in rows), np.int64, n),
        np.fromiter(chain.from_iterable(row.bbox for row in rows), np.float64, 4 * n).reshape(n, 4),
        np.fromiter((row.score for row in rows), np.float64, n),
    )


def _pieces(path: Path, name: str) -> Iterator[list[Row]]:
    """The rows of a file, some megabytes of it at a time: rows as objects take several times the memory of the file.

    It is cut where an object of the list seems to end. If a piece is no list then (the cut fell into something nested, or
    the file is bad), what is left is read as a whole, which also finds the words for what is wrong.
    """
    decoder = msgspec.json.Decoder(list[Row])
    with path.open("rb") as stream:
        left = stream.read(PIECE)
        done = 0
        while more := stream.read(PIECE):
            cut = max(left.rfind(b"}, {"), left.rfind(b"},{"))
            try:
                rows = decoder.decode(_opened(left[: cut + 1], done) + b"]") if cut > 0 else None
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                rows = None
            if rows is None:  # begin anew where nothing was given out yet, so that entries are counted from the first
                yield _decode(path.read_bytes(), name)[done:]
                return
            yield rows
            done += len(rows)
            left = left[cut + 2 :] + more
    try:
        yield decoder.decode(_opened(left, done))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        yield _decode(path.read_bytes(), name)[done:]


def _opened(piece: bytes, done: int) -> bytes:
    return b"[" + piece if done else piece


def _entry(path: Path, name: str, number: int) -> Row:
    return next(islice(chain.from_iterable(_pieces(path, name)), number, None))


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


def _shown(value: int | str) -> str:
    return str(value) if isinstance(value, int) else f"'{safe_text(value)[:60]}'"


def _some(ids: Iterable[int | str]) -> str:
    words = [_shown(value) for value in ids]
    return ", ".join(words[:3]) + (f", ... {words[-1]}" if len(words) > 3 else "")
