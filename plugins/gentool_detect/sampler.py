"""Sampling from a detector: running it on pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from gentool import Batch, Partial, Samples, Step


def detections(
    model: Any, n: int, *, step: Step, given: Batch, labels: Tensor | None = None, **options: object
) -> Iterator[Partial | Samples]:
    """The pictures that are given, with what is found on each; `options` are those of `detect`."""
    assert given.images is not None
    found = model.detect(given.images, given.extra["size"], **options)
    yield Samples(images=given.images, detections=found)
