"""The boxes of a data set as they are written, for scoring: no picture is opened, nothing is mended or left out. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gentool.data.find import Where, open_regular
from gentool.errors import UsageError
from gentool.show.text import safe_text


@dataclass(frozen=True)
class GroundTruth:
    """One split. image_ids and category_ids: the data set's own, in the order in which `image` and `label`, int64 (G,),
    count them; boxes: float64 (G, 4), x y width height; area: (G,) of the objects; crowd: bool (G,)."""

    image_ids: tuple[int | str, ...]
    category_ids: tuple[int, ...]
    classes: tuple[str, ...]
    image: NDArray[np.int64]
    label: NDArray[np.int64]
    boxes: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    source: str = ""  # the file they stand in, where it is one

    def first(self, count: int | None) -> GroundTruth:
        """That of the first `count` pictures alone (None: all)."""
        if count is None or count >= len(self.image_ids):
            return self
        own = self.image < count
        parts = (self.image[own], self.label[own], self.boxes[own], self.area[own], self.crowd[own])
        return GroundTruth(self.image_ids[:count], self.category_ids, self.classes, *parts, source=self.source)


def open_truth(text: str, split: str, where: Where) -> GroundTruth:
    """That of the data set which ``"scenes"`` or ``"coco:PATH"`` names."""
    from gentool.data.splits import open_split
    from gentool.registry import registry

    spec, argument = registry().find_dataset(text)
    written = registry().load(spec.truth)(argument, split, where) if spec.truth else None
    return written or of_examples(open_split(text, split, where))


def of_examples(examples: Any, pictures: Sequence[int] | None = None) -> GroundTruth:
    """That of a `gentool.data.boxes.BoxSet`, as it is trained on; of some pictures, numbered as they come, or all."""
    chosen = range(len(examples)) if pictures is None else pictures
    targets = [examples.target(i) for i in chosen]
    boxes = np.concatenate([np.zeros((0, 4)), *(target.boxes for target in targets)])
    return GroundTruth(
        image_ids=tuple(examples.image_id(i) for i in chosen),
        category_ids=tuple(examples.category_ids),
        classes=tuple(examples.classes),
        image=np.repeat(np.arange(len(targets)), [len(target.labels) for target in targets]),
        label=np.concatenate([np.zeros(0, np.int64), *(target.labels for target in targets)]),
        boxes=np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1),
        area=np.concatenate([np.zeros(0), *(target.area for target in targets)]),
        crowd=np.concatenate([np.zeros(0, bool), *(target.crowd for target in targets)]),
    )


class _Image(msgspec.Struct, gc=False):
    id: int | str


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str = ""


class _Annotation(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool = 0


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = []


def read_coco(path: Path) -> GroundTruth:
    """The annotations of a file in COCO's format. Pictures and categories are in order of their ids, as pycocotools has
    them; the area of a box that tells none is its own.

    Errors (`UsageError`): what is not in this format, and what cannot be scored: boxes of pictures or categories that are
    not listed, boxes that are no numbers.
    """
    name = safe_text(str(path))
    try:
        with open_regular(path) as stream:
            data = msgspec.json.decode(stream.read(), type=_File)
    except OSError as error:
        raise UsageError(f"'{name}' cannot be read: {error.strerror or error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = " ".join(safe_text(str(error)).replace("`", "").split())[:160]
        raise UsageError(
            f"'{name}' cannot be scored against: {why}; `gentool data check coco:PATH` looks closer."
        ) from None
    images = sorted({image.id for image in data.images}, key=lambda key: (isinstance(key, str), key))
    categories = {category.id: category.name or str(category.id) for category in data.categories}
    category_ids = sorted(categories)
    rows, n = data.annotations, len(data.annotations)
    place, number = {key: i for i, key in enumerate(images)}, {key: i for i, key in enumerate(category_ids)}
    image = np.fromiter((place.get(row.image_id, -1) for row in rows), np.int64, n)
    label = np.fromiter((number.get(row.category_id, -1) for row in rows), np.int64, n)
    for values, what in ((image, "pictures"), (label, "categories")):
        if (values < 0).any():
            raise UsageError(
                f"'{name}' cannot be scored against: {int((values < 0).sum()):,} of its {n:,} boxes are of {what} that it "
                "does not list; `gentool data check` names them."
            )
    boxes = np.array([row.bbox for row in rows], np.float64).reshape(n, 4)
    own = boxes[:, 2] * boxes[:, 3]
    area = np.fromiter((np.nan if row.area is None else row.area for row in rows), np.float64, n)
    return GroundTruth(
        image_ids=tuple(images),
        category_ids=tuple(category_ids),
        classes=tuple(categories[key] for key in category_ids),
        image=image,
        label=label,
        boxes=boxes,
        area=np.where(np.isnan(area), own, area),
        crowd=np.fromiter((bool(row.iscrowd) for row in rows), bool, n),
        source=path.name,
    )
