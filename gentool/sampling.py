"""Samplers are generators: they yield `Partial`s as they go and end with `Samples`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from gentool.data.batch import Batch
    from gentool.evaluating import HeatMap
    from gentool.specs import SamplerSpec


@dataclass
class Partial:
    """Progress: `done` of `total` units of work, and what is to be seen so far (images (n, C, H, W), or text)."""

    done: int
    total: int
    images: Tensor | None = None
    text: list[str] | None = None


@dataclass
class Detections:
    """What was found on one picture, best first. boxes: float32 (K, 4), x1 y1 x2 y2 in pixels of the picture that was
    given; scores: float32 (K,) in [0, 1]; labels: int64 (K,), indices of `DataInfo.classes`."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Origin:
    """Where a picture that was given came from: what it is called, its id in its data set (or its file's name), and its
    own (height, width), before it was resized for the model; `path` where it is a file."""

    name: str
    image_id: int | str
    size: tuple[int, int]
    path: Path | None = None


@dataclass
class Given:
    """Pictures that a sampler starts from, as a batch of the model's kind of data, and where each came from."""

    batch: Batch
    origins: list[Origin]
    own: bool = False  # a user's: what there is on them is not known


@dataclass
class Samples:
    """Finished samples. images: float32 (n, C, H, W) in [-1, 1]; labels: int64 (n,) they were conditioned on;
    detections: what was found on each of the images, `classes` the names of their labels, and sizes: int64 (n, 2), where
    an image (height, width) is the top left part of its canvas. Of samples that started from pictures, `origins` are these,
    and `truth` is what there is on them, where that is known.

    `columns` lays a picture out (None: near square); `captions` has one string an item; `title` says what a view shows;
    detections of a score of at least `least` are drawn. heatmaps: what a model looked at as it made them, by kind
    ({"attention": […]}), one map an item; a preview keeps them beside what was made, under the kind's name.
    """

    images: Tensor | None = None
    labels: Tensor | None = None
    text: list[str] | None = None
    detections: list[Detections] | None = None
    classes: tuple[str, ...] = ()
    sizes: Tensor | None = None
    origins: list[Origin] | None = None
    truth: list[Detections] | None = None
    least: float = 0.3
    columns: int | None = None
    captions: list[str] | None = None
    title: str = ""
    heatmaps: dict[str, list[HeatMap]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        for items in (self.images, self.text, self.labels):
            if items is not None:
                return len(items)
        return 0


def parts_of(total: int, size: int) -> list[int]:
    """Chunk sizes that sum to `total`, none above `size`."""
    return [min(size, total - start) for start in range(0, total, size)]


def draw(
    model: Any,
    spec: SamplerSpec,
    options: Mapping[str, Any],
    n: int,
    *,
    seed: int,
    device: Any,
    label: int | None = None,
    chunk: int = 250,
    stream: str = "sample",
    given: Iterable[Given] | None = None,
) -> Iterator[Partial | Samples]:
    """Samples in chunks, so that memory does not grow with n; each chunk ends with a `Samples`.

    label: a class index for a conditional model; None draws the classes in turn. given: n pictures for a sampler that
    starts from pictures (`SamplerSpec.pictures`), already in chunks.
    """
    import torch

    from gentool.errors import UsageError
    from gentool.randomness import Step, derive_seed, seed_default_generator
    from gentool.registry import registry

    if spec.pictures == "must" and given is None:
        raise UsageError(f"The sampler '{spec.name}' starts from pictures; name some: --image FILE.")
    sampler = registry().load(spec.factory)
    conditional = bool(getattr(model, "conditional", False))
    classes = len(model.info.classes)
    before = 0
    sizes = [n] if spec.view else parts_of(n, chunk)
    plain: Iterable[tuple[int, Given | None]] = ((size, None) for size in sizes)
    chunks = plain if given is None else ((len(item.batch), item) for item in given)
    for number, (size, start) in enumerate(chunks):
        labels = None
        if conditional:
            first = torch.arange(before, before + size, device=device)
            labels = first % classes if label is None else torch.full_like(first, label)
        step = Step(seed=seed, index=number, total=max(number + 1, len(sizes)), device=device, stream=stream)
        seed_default_generator(derive_seed(seed, stream, number), torch.device(device))
        more = {} if not spec.pictures else {"given": None if start is None else start.batch}
        with torch.no_grad():
            for event in sampler(model, size, step=step, labels=labels, **more, **options):
                yield _with_origins(event, model, start) if isinstance(event, Samples) else event
        before += size


def truth_of(batch: Batch) -> list[Detections]:
    """The boxes of a batch as if they had been detected, with a score of 1; crowds are left out."""
    found = []
    for boxes, labels, crowd in zip(batch.extra["boxes"], batch.extra["box_labels"], batch.extra["crowd"]):
        own = (labels >= 0) & ~crowd
        found.append(Detections(boxes[own], boxes.new_ones(int(own.sum())), labels[own]))
    return found


def _with_origins(made: Samples, model: Any, start: Given | None) -> Samples:
    """What the host knows of samples and their sampler need not repeat: class names, and what they started from."""
    if made.detections is not None and not made.classes:
        made.classes = tuple(model.info.classes)
        if "category_ids" in model.info.extra:
            made.extra.setdefault("category_ids", list(model.info.extra["category_ids"]))
    if start is not None and made.origins is None and len(made) == len(start.origins):
        made.origins = start.origins
        if made.sizes is None:
            made.sizes = start.batch.extra.get("size")
        if made.detections is not None and made.truth is None and "boxes" in start.batch.extra and not start.own:
            made.truth = truth_of(start.batch)
    return made
