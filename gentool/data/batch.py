"""What a model sees of its data: a description that outlives the data (`DataInfo`) and one batch (`Batch`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What a model has to know of its data to be built; kept in every checkpoint, so that sampling needs no data.

    `image` is (C, H, W) after the declared transforms; `levels` how many values a pixel takes: 2 for binarised
    pictures, 256 for 8-bit ones, K for a grid of codes; `classes` the class names, in label order.
    """

    name: str = ""
    image: tuple[int, int, int] | None = None
    levels: int = 256
    classes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DataInfo:
        image = data.get("image")
        return cls(
            name=str(data.get("name", "")),
            image=(int(image[0]), int(image[1]), int(image[2])) if image else None,
            levels=int(data.get("levels", 256)),
            classes=tuple(str(c) for c in data.get("classes", ())),
            extra=dict(data.get("extra", {})),
        )


@dataclass
class Batch:
    """One batch on the device. Fields a data set does not have are None.

    images: float32 (N, C, H, W) in [-1, 1]; labels: int64 (N,); index: int64 (N,), place in the split.
    Further fields (tokens, boxes, ...) live in `extra`.
    """

    images: Tensor | None = None
    labels: Tensor | None = None
    index: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        for tensor in (self.images, self.labels, self.index, *self.extra.values()):
            if tensor is not None:
                return len(tensor)
        return 0

    def map(self, change: Any) -> Batch:
        """The batch with `change` applied to every tensor."""
        return Batch(
            images=None if self.images is None else change(self.images),
            labels=None if self.labels is None else change(self.labels),
            index=None if self.index is None else change(self.index),
            extra={key: change(value) for key, value in self.extra.items()},
        )

    def chunk(self, parts: int) -> list[Batch]:
        """Equal consecutive parts (the last may be smaller), for gradient accumulation."""
        size = -(-len(self) // parts)
        starts = range(0, len(self), size)
        return [self.map(lambda t, s=s: t[s : s + size]) for s in starts]
