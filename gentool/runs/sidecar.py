"""What a detector found on pictures, as `gentool.detections.write_sidecar` wrote it: read and checked. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gentool.data.pictures import from_jpeg

FORMAT = "gentool detections 1"
MOST_BYTES = 64 << 20
MOST_BOXES = 100_000  # of a picture


@dataclass(frozen=True)
class Boxes:
    """boxes: float64 (K, 4), x1 y1 x2 y2 in pixels of the picture in the file; scores: float64 (K,); labels: int64 (K,),
    each of a class."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Entry:
    """One picture, uint8 (H, W, 3); `size` is the (height, width) of the original. truth: None where it is not known."""

    name: str
    image_id: int | str
    size: tuple[int, int]
    image: NDArray[np.uint8]
    found: Boxes
    truth: Boxes | None


@dataclass(frozen=True)
class Sidecar:
    """The whole file; texts are as they stand in it. least: the score from which boxes were drawn, in [0, 1]; columns: of
    the grid that was drawn (None: near square)."""

    pictures: Sequence[Entry]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]  # of each class; none where they are not known
    least: float
    columns: int | None
    title: str


def parse(data: bytes) -> Sidecar:
    """A sidecar by its bytes, of which there are at most `MOST_BYTES`. `ValueError` says why they are none."""
    try:
        about = json.loads(data) if len(data) <= MOST_BYTES else None
        if not isinstance(about, dict) or about.get("format") != FORMAT or not about["pictures"]:
            raise ValueError("it is of no format that is known")
        classes = tuple(str(name) for name in about["classes"])
        columns = about.get("columns")
        return Sidecar(
            pictures=[_entry(entry, len(classes)) for entry in about["pictures"]],
            classes=classes,
            category_ids=tuple(int(i) for i in about.get("category_ids") or ()),
            least=min(max(float(about.get("least", 0.3)), 0.0), 1.0),
            columns=columns if isinstance(columns, int) and columns > 0 else None,
            title=str(about.get("title", "")),
        )
    except (TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _entry(entry: Any, classes: int) -> Entry:
    image = np.ascontiguousarray(from_jpeg(entry["jpeg"]).transpose(1, 2, 0))
    size = int(entry["size"][0]), int(entry["size"][1])
    if min(size) < 1:
        raise ValueError("a picture has no pixels")
    scale = np.array([image.shape[1] / size[1], image.shape[0] / size[0]] * 2)
    truth, key = entry.get("truth"), entry["image_id"]
    return Entry(
        name=str(entry["name"]),
        image_id=key if isinstance(key, int | str) else str(key),
        size=size,
        image=image,
        found=_boxes(entry["boxes"], entry["scores"], entry["labels"], scale, classes),
        truth=None
        if truth is None
        else _boxes(truth["boxes"], [1.0] * len(truth["labels"]), truth["labels"], scale, classes),
    )


def _boxes(boxes: Any, scores: Any, labels: Any, scale: NDArray[np.float64], classes: int) -> Boxes:
    made = Boxes(
        np.array(boxes, dtype=np.float64).reshape(-1, 4) * scale,
        np.array(scores, dtype=np.float64).reshape(-1),
        np.array(labels, dtype=np.int64).reshape(-1),
    )
    if not len(made.boxes) == len(made.scores) == len(made.labels) or len(made.labels) > MOST_BOXES:
        raise ValueError("boxes, scores and labels are not equally many")
    if not np.isfinite(made.boxes).all() or not np.isfinite(made.scores).all():
        raise ValueError("a box is not finite")
    if ((made.labels < 0) | (made.labels >= classes)).any():
        raise ValueError("a label is of no class")
    return made
