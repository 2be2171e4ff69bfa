"""`gentool sample MODEL --complete FILE --rows N`: a picture of which the upper rows are kept, and what was drawn below."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gentool.sampling import Given, Partial, Samples

SAMPLER = "completion"
TIMES = 8  # completions, where nobody says how many


def check_options(complete: str | None, rows: int | None, image: list[str] | None, data: str | None) -> None:
    """Refuse what contradicts itself, before anything is opened."""
    from gentool.errors import UsageError

    if complete is None and rows is not None:
        raise UsageError("--rows says how many rows of a picture are kept: name it with --complete FILE.")
    if complete is not None and (image or data):
        raise UsageError("--complete names the picture to start from; leave --image and --data out.")


def with_original(
    events: Iterator[Partial | Samples], first: Given, options: dict[str, Any]
) -> Iterator[Partial | Samples]:
    """The same events, the picture and what of it is given standing before the completions."""
    from gentool.sampling import Samples

    whole = first.batch.images
    assert whole is not None
    whole, height = whole[:1], whole.shape[2]
    rows = options["rows"] or height // 2
    part = whole.clone()
    part[:, :, rows:] = 0  # grey: neither of the two ends of a pixel's range
    began = False
    for event in events:
        if isinstance(event, Samples):
            if not began:
                began = True
                import torch

                yield Samples(
                    images=torch.cat([whole, part]),
                    captions=["picture", f"{rows} of {height} rows"],
                )
            event.captions = event.captions or [""] * len(event)
        yield event


def peek(given: Iterator[Given]) -> tuple[Given, Iterator[Given]]:
    """The first item, and all of them."""
    first = next(given)
    return first, itertools.chain([first], given)
