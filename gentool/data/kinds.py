"""The kinds of data sets. This is the one place that tells them apart: the rest asks a kind for its settings, its
pipeline and what can be said and shown of it. Light.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from gentool.data.config import AnyData, BoxesConfig, DataConfig, PairsConfig, TextConfig
from gentool.errors import UsageError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind. Objects are named as ``"module:attribute"`` and imported when used.

    pipeline: a class made as ``(open_split, config, device, seed, vocabularies)``, see `gentool.data.pipeline`.
    check: a function of a function that opens a split; gives `gentool.data.check.Facts` of the whole set.
    given: a function ``(files, config, info, device) -> Iterator[Given]``: pictures of a user's as a model of such data
    is given them.
    """

    name: str
    config: type[AnyData]  # of `data.*`
    pipeline: str
    check: str
    given: str = ""
    words: bool = False  # examples are text, not pictures

    def load(self, path: str) -> Any:
        module, _, attribute = path.partition(":")
        return getattr(importlib.import_module(module), attribute)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="images",
            config=DataConfig,
            pipeline="gentool.data.images:ImagePipeline",
            check="gentool.data.check:check_images",
            given="gentool.data.given:square_pictures",
        ),
        Kind(
            name="boxes",
            config=BoxesConfig,
            pipeline="gentool.data.boxes:BoxPipeline",
            check="gentool.data.check_boxes:check_boxes",
            given="gentool.data.given:whole_pictures",
        ),
        Kind(
            name="text",
            config=TextConfig,
            pipeline="gentool.data.text:TextPipeline",
            check="gentool.data.check_text:check_text",
            words=True,
        ),
        Kind(
            name="pairs",
            config=PairsConfig,
            pipeline="gentool.data.pairs:PairPipeline",
            check="gentool.data.check_text:check_pairs",
            words=True,
        ),
    )
}


def kind_named(name: str) -> Kind:
    if name not in KINDS:
        raise UsageError(f"There is no kind of data set '{name}'.{did_you_mean(name, KINDS)}")
    return KINDS[name]


def kind_of(text: str) -> Kind:
    """The kind of the data set that ``"mnist"`` or ``"folder:PATH"`` names."""
    from gentool.registry import registry

    return kind_named(registry().find_dataset(text)[0].kind)
