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
    pictures, 256 for 8-bit ones, K for a grid of codes; `classes` the class names, in label order. `vocabularies` are
    tokenizers as JSON values, by role: "text" of a text, "source" and "target" of pairs (`gentool.data.tokens`).
    """

    name: str = ""
    image: tuple[int, int, int] | None = None
    levels: int = 256
    classes: tuple[str, ...] = ()
    vocabularies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
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
            vocabularies={str(role): dict(v) for role, v in dict(data.get("vocabularies", {})).items()},
            extra=dict(data.get("extra", {})),
        )


@dataclass
class Batch:
    """One batch on the device. Fields a data set does not have are None.

    images: float32 (N, C, H, W) in [-1, 1]; labels: int64 (N,); index: int64 (N,), place in the split; rows: the same
    where these are consecutive, known without asking the device.

    Text: tokens int64 (N, T+1), of which `inputs` are the first T and `targets` the last. Each row goes on where the row
    of that `index` ended in the batch before, unless `fresh`, bool (N,), says that its stream begins here: then what a
    model carries along has to start anew. mask: bool (N, T), False where a target is only filled in.

    Pairs: `extra` has "source" int64 (N, S), every row ending with <end>, and "target" int64 (N, T+1) from <start> to
    <end>, filled with <pad>; "source_length" and "target_length", int64 (N,), count these marks. mask: bool (N, T) of
    target[:, 1:].

    Boxes: images hold each picture at the top left of a canvas, the rest 0; `extra` has "size", int64 (N, 2), height and
    width of the picture in it; "boxes", float32 (N, M, 4), x1 y1 x2 y2 in pixels of the canvas; "box_labels", int64
    (N, M), -1 where a box is only filled in; "crowd", bool (N, M), a region of many that is not to be scored; "area",
    float32 (N, M), of the object in the original picture; "scale", float32 (N, 2), pixels of the canvas for one of the
    original, in x and y.

    Further fields live in `extra`, every one a tensor with the examples first.
    """

    images: Tensor | None = None
    labels: Tensor | None = None
    index: Tensor | None = None
    rows: range | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    fresh: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> Tensor:
        """What a model of text reads: int64 (N, T)."""
        assert self.tokens is not None
        return self.tokens[:, :-1]

    @property
    def targets(self) -> Tensor:
        """What it is to predict: int64 (N, T), -100 where the mask is False (`cross_entropy` leaves these out)."""
        assert self.tokens is not None
        targets = self.tokens[:, 1:]
        return targets if self.mask is None else targets.masked_fill(~self.mask, -100)

    @property
    def terms(self) -> int:
        """How many terms a mean over this batch has: the targets that count, or the examples. Means of batches are
        averaged with these weights."""
        return len(self) if self.mask is None else int(self.mask.sum())

    def __len__(self) -> int:
        for tensor in (self.images, self.labels, self.index, self.tokens, *self.extra.values()):
            if tensor is not None:
                return len(tensor)
        return 0

    def map(self, change: Any) -> Batch:
        """The batch with `change` applied to every tensor."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("extra", "rows")}
        return Batch(
            **{name: None if tensor is None else change(tensor) for name, tensor in own.items()},
            rows=self.rows,
            extra={key: change(value) for key, value in self.extra.items()},
        )

    def chunk(self, parts: int) -> list[Batch]:
        """Equal consecutive parts (the last may be smaller), for gradient accumulation."""
        size = -(-len(self) // parts)
        starts = range(0, len(self), size)
        made = [self.map(lambda t, s=s: t[s : s + size]) for s in starts]
        for part, start in zip(made, starts, strict=True):
            part.rows = None if self.rows is None else self.rows[start : start + size]
        return made
