"""From a data set to batches: the one face that the trainer, the evaluators and the command line see, whatever the kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch

from gentool.data.batch import Batch, DataInfo
from gentool.data.config import AnyData
from gentool.data.find import say_on_stderr, where_of
from gentool.data.kinds import kind_named
from gentool.data.sets import open_split

if TYPE_CHECKING:
    from gentool.sampling import Samples


class Pipeline(Protocol):
    """The batches of a data set; a split is read when it is first used.

    Made as ``(open_split, config, device, seed, vocabularies)``: `open_split(name)` gives a split as its factory made it;
    vocabularies, where given, are those of a trained model and are used instead of new ones.
    Everything random is a function of (seed, step, rank): there is no state to save.
    """

    config: Any
    device: torch.device
    seed: int

    @property
    def info(self) -> DataInfo:
        """What a model has to know of these data."""

    def split(self, name: str) -> Any:
        """A split after the transforms that are made once."""

    def has(self, split: str) -> bool:
        """Whether a split has any examples."""

    def count(self, split: str) -> int:
        """How many examples a split has (of a text: windows)."""

    @property
    def nbytes(self) -> int:
        """Bytes of the splits opened so far."""

    @property
    def summary(self) -> str:
        """What an example is, in a few words: ``1x28x28``, ``128 of 65 characters``."""

    def fingerprint(self) -> str:
        """16 hex digits that change when the training examples do. A resumed run repeats its course only on data of the
        same fingerprint."""

    def check(self, info: DataInfo) -> None:
        """`UsageError` where a model made for `info` cannot read these data."""

    def train_batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of a training step (counted from 0) for one of `world` ranks, each of which takes `size` examples."""

    def batches(self, split: str, size: int, limit: int | None = None) -> Iterator[Batch]:
        """A split once, always in the same order; at most `limit` examples (None or 0: all)."""

    def preview(self, split: str, n: int) -> Samples:
        """The first n examples as a model sees them, to be looked at."""


def open_pipeline(
    config: AnyData,
    device: torch.device | str = "cpu",
    seed: int = 0,
    *,
    fetch: bool = False,
    say: Callable[[str], None] = say_on_stderr,
    vocabularies: Mapping[str, Mapping[str, Any]] | None = None,
) -> Any:
    """The pipeline of a config. fetch: a named set that is not found may be downloaded, as the user named it.

    Errors (`UsageError`): an unknown name, a set that is not there, files that are not what they should be.
    """
    from gentool.registry import registry

    spec, argument = registry().find_dataset(config.name)
    name = f"{spec.name}:{argument}" if spec.prefix else spec.name  # not an alias
    config = dataclasses.replace(config, name=name)
    where = where_of(config, fetch=fetch, say=say)
    kind = kind_named(spec.kind)
    return kind.load(kind.pipeline)(lambda split: open_split(name, split, where), config, device, seed, vocabularies)
