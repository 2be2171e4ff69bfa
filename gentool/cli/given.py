"""Pictures that a sampler starts from: those of `--image`, or some of a split."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gentool.cli.common import say

if TYPE_CHECKING:
    from gentool.runs.source import Source
    from gentool.sampling import Given
    from gentool.specs import SamplerSpec

PICTURES = 16  # of a split, where nobody says how many


def given_for(
    opened: Source,
    spec: SamplerSpec,
    device: Any,
    *,
    image: Sequence[str] | None = None,
    data: str | None = None,
    n: int | None = None,
    quiet: bool = False,
) -> tuple[Iterator[Given] | None, int | None]:
    """(pictures for a sampler or None, how many samples that makes; None: as many as the caller likes).

    `image`: files and folders; with n, these in turn. `data`: a data set or SET:SPLIT instead.
    """
    from gentool.errors import UsageError

    if not spec.pictures:
        if image or data:
            raise UsageError(f"'{spec.name}' starts from no pictures; leave {'--image' if image else '--data'} out.")
        return None, n
    if image:
        return from_files(opened, device, image, n)
    if spec.pictures == "may" and data is None:
        return None, n
    return from_data(opened, device, data, n or PICTURES, quiet=quiet)


def from_files(opened: Source, device: Any, words: Sequence[str], n: int | None) -> tuple[Iterator[Given], int]:
    """The pictures of files and folders as the model's data settings make them."""
    from gentool.config import build_dataclass
    from gentool.data.given import picture_files
    from gentool.data.kinds import kind_of
    from gentool.errors import UsageError

    files = picture_files(words, say)
    if n is not None:
        files = list(itertools.islice(itertools.cycle(files), n))
    settings = dict(opened.meta.get("data", {}))
    kind = kind_of(str(settings.get("name") or opened.spec.dataset))
    if not kind.given:
        raise UsageError(f"'{opened.spec.name}' was not trained on pictures; leave --image out.")
    config = build_dataclass(kind.config, settings, "the checkpoint's data settings")
    return kind.load(kind.given)(files, config, opened.info, device), len(files)


def from_data(opened: Source, device: Any, data: str | None, n: int, *, quiet: bool) -> tuple[Iterator[Given], int]:
    """The first n pictures of the test split (or of the one that is named); where the data that a model was trained on
    are not here, those that its checkpoint carries."""
    from gentool.cli.eval import split_of
    from gentool.data.given import carried, from_split
    from gentool.errors import UsageError
    from gentool.scoring import Scorer
    from gentool.show.text import safe_text

    name, split = split_of(data)
    try:
        pipeline = Scorer(opened, device, data=name, split=split).pipeline
        split = split or next(filter(pipeline.has, ("test", "validation")), "train")
        n = min(n, pipeline.count(split))
    except UsageError as error:
        n = min(n, len(opened.info.extra.get("examples", ())))
        if data is not None or not n:
            raise
        say(f"{error} Here are {n} pictures that the checkpoint carries; --image FILE takes yours.", quiet=quiet)
        return carried(opened.info, n, device), n
    say(
        f"The first {n} picture(s) of {safe_text(pipeline.config.name)}, {split}; --image FILE takes yours.",
        quiet=quiet,
    )
    return from_split(pipeline, split, n), n
