"""Samplers are generators: they yield `Partial`s as they go and end with `Samples`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

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


@dataclass
class Samples:
    """Finished samples. images: float32 (n, C, H, W) in [-1, 1]; labels: int64 (n,) they were conditioned on;
    detections: what was found on each of the images, `classes` the names of their labels, and sizes: int64 (n, 2), where
    an image (height, width) is the top left part of its canvas.

    `columns` lays a picture out (None: near square); `captions` has one string an item; `rows` and `title` say what
    the axes of a view mean.
    """

    images: Tensor | None = None
    labels: Tensor | None = None
    text: list[str] | None = None
    detections: list[Detections] | None = None
    classes: tuple[str, ...] = ()
    sizes: Tensor | None = None
    columns: int | None = None
    captions: list[str] | None = None
    title: str = ""
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
) -> Iterator[Partial | Samples]:
    """Samples in chunks, so that memory does not grow with n; each chunk ends with a `Samples`.

    label: a class index for a conditional model; None draws the classes in turn.
    """
    import torch

    from gentool.randomness import Step, derive_seed, seed_default_generator
    from gentool.registry import registry

    sampler = registry().load(spec.factory)
    conditional = bool(getattr(model, "conditional", False))
    classes = len(model.info.classes)
    before = 0
    sizes = [n] if spec.view else parts_of(n, chunk)
    for number, size in enumerate(sizes):
        labels = None
        if conditional:
            first = torch.arange(before, before + size, device=device)
            labels = first % classes if label is None else torch.full_like(first, label)
        step = Step(seed=seed, index=number, total=len(sizes), device=device, stream=stream)
        seed_default_generator(derive_seed(seed, stream, number), torch.device(device))
        with torch.no_grad():
            yield from sampler(model, size, step=step, labels=labels, **options)
        before += size
