"""Batches of pairs of sentences, alike in length and filled up to the longest of the batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool.data import tokens
from gentool.data.batch import Batch, DataInfo
from gentool.data.config import PairsConfig
from gentool.data.sets import check_split
from gentool.errors import UsageError
from gentool.randomness import derive_seed
from gentool.sampling import Samples
from gentool.show.text import safe_text

Pair = tuple[str, str]
ROLES = ("source", "target")
EXAMPLES, LONGEST_EXAMPLE = 16, 300  # sentences and characters of one that every checkpoint carries
POOL = 100  # batches are cut from so many batches' worth of examples in order of length


@dataclass(frozen=True)
class PairSet:
    """One split of pairs (source, target), in the named languages."""

    name: str
    split: str
    pairs: Sequence[Pair] = field(repr=False)
    languages: tuple[str, str] = ("source", "target")
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True)
class Side:
    """One side of a split, its marks included: row i is flat[begin[i] : begin[i] + length[i]], int32."""

    flat: Tensor
    begin: Tensor
    length: Tensor

    @staticmethod
    def of(rows: Sequence[Sequence[int]], device: torch.device) -> Side:
        length = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        flat = torch.tensor([i for row in rows for i in row], dtype=torch.int32)
        return Side(flat.to(device), (length.cumsum(0) - length).to(device), length.to(device))

    def take(self, index: Tensor, pad: int) -> tuple[Tensor, Tensor]:
        """(int64 (N, longest), int64 (N,)): rows filled up with `pad`, and their lengths."""
        length = self.length[index]
        column = torch.arange(int(length.max()), device=index.device)
        inside = column < length[:, None]
        places = (self.begin[index][:, None] + column).clamp_(max=len(self.flat) - 1)
        return self.flat[places].long().masked_fill_(~inside, pad), length


@dataclass(frozen=True)
class Sentences:
    """A split as text and as token ids; `pairs` have the sides, the spaces and the case that the settings ask for.

    `order`: the pairs that batches are made of, int64 on the CPU: in training those that are not too long.
    """

    pairs: list[Pair] = field(repr=False)
    source: Side
    target: Side
    order: Tensor

    def __len__(self) -> int:
        return len(self.order)


class PairPipeline:
    """The batches of a set of pairs (`gentool.data.pipeline.Pipeline`)."""

    def __init__(
        self,
        open_split: Callable[[str], PairSet],
        config: PairsConfig,
        device: torch.device | str,
        seed: int,
        vocabularies: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.seed = seed
        self._open = open_split
        self._opened: dict[str, PairSet] = {}
        self._pairs: dict[str, list[Pair]] = {}
        self._sentences: dict[str, Sentences] = {}
        self._tokenizers = {r: tokens.from_json(vocabularies[r]) for r in ROLES} if vocabularies else {}
        self._info: DataInfo | None = None
        self._epochs: dict[tuple[int, int], Tensor] = {}

    # -- what there is --------------------------------------------------------------------------------------------

    def tokenizer(self, role: str) -> tokens.Tokenizer:
        """The tokenizer of "source" or "target", learnt from the training pairs."""
        if not self._tokenizers:
            pairs = self._read("train")
            for side, name in enumerate(ROLES):
                columns = (0, 1) if self.config.joint else (side,)
                self._tokenizers[name] = tokens.learn(
                    self.config.tokens,
                    lambda columns=columns: (pair[c] for pair in pairs for c in columns),  # type: ignore[misc]
                    size=self.config.vocabulary,
                    min_frequency=self.config.min_frequency,
                    lower=self.config.lower,
                    marks=True,
                )
                if self.config.joint:
                    self._tokenizers = dict.fromkeys(ROLES, self._tokenizers[name])
                    break
        return self._tokenizers[role]

    @property
    def languages(self) -> tuple[str, str]:
        """The names of the source's and the target's language."""
        self._read("train")
        a, b = self._opened["train"].languages
        return (b, a) if self.config.reverse else (a, b)

    @property
    def info(self) -> DataInfo:
        """What a model has to know of these pairs."""
        if self._info is None:
            self._info = DataInfo(
                name=self.config.name,
                vocabularies={role: self.tokenizer(role).to_json() for role in ROLES},
                extra={"languages": list(self.languages), "lower": self.config.lower, "examples": self._examples()},
            )
        return self._info

    def _examples(self) -> list[str]:
        """Some source sentences that a model may show itself with where no data are: of the test split, if there is one."""
        pairs = self._read("test") or self._read("train")
        return [source for source, _ in pairs[:EXAMPLES] if len(source) <= LONGEST_EXAMPLE]

    def _read(self, name: str) -> list[Pair]:
        if name not in self._pairs:
            made = self._open(check_split(name))
            if not hasattr(made, "pairs"):
                raise UsageError(
                    f"The data set '{safe_text(self.config.name)}' gives a {type(made).__name__}, not pairs."
                )
            pairs = [self._normal(a, b) for a, b in made.pairs]
            if name == "train":
                pairs = pairs[: self.config.limit or None]
                if not pairs:
                    raise UsageError(f"The data set '{safe_text(self.config.name)}' has no pairs for training.")
            self._opened[name], self._pairs[name] = made, pairs
        return self._pairs[name]

    def _normal(self, source: str, target: str) -> Pair:
        if self.config.reverse:
            source, target = target, source
        source, target = " ".join(source.split()), " ".join(target.split())
        return (source.lower(), target.lower()) if self.config.lower else (source, target)

    def split(self, name: str) -> Sentences:
        """A split as text and token ids."""
        if name not in self._sentences:
            pairs = self._read(name)
            source, target = self.tokenizer("source"), self.tokenizer("target")
            assert source.end is not None
            assert target.start is not None
            assert target.end is not None
            left = [[*source.encode(a), source.end] for a, _ in pairs]
            right = [[target.start, *target.encode(b), target.end] for _, b in pairs]
            most = self.config.max_length if name == "train" else 0
            order = [i for i, (a, b) in enumerate(zip(left, right)) if not most or max(len(a) - 1, len(b) - 2) <= most]
            if name == "train" and not order:
                raise UsageError(
                    f"Every pair of '{safe_text(self.config.name)}' has over {most} tokens on a side; raise data.max_length."
                )
            self._sentences[name] = Sentences(
                pairs, Side.of(left, self.device), Side.of(right, self.device), torch.tensor(order, dtype=torch.int64)
            )
        return self._sentences[name]

    def has(self, split: str) -> bool:
        return self.count(split) > 0

    def count(self, split: str) -> int:
        """How many pairs batches are made of."""
        return len(self.split(split))

    @property
    def nbytes(self) -> int:
        return sum(side.flat.nbytes for made in self._sentences.values() for side in (made.source, made.target))

    @property
    def summary(self) -> str:
        sizes = " and ".join(f"{self.tokenizer(role).size:,}" for role in ROLES)
        return f"{' to '.join(self.languages)}, {sizes} {self.config.tokens}"

    def fingerprint(self) -> str:
        vocabularies = [self.tokenizer(role).to_json() for role in ROLES]
        digest = hashlib.blake2b(json.dumps(vocabularies, sort_keys=True).encode(), digest_size=8)
        data = self.split("train")
        for tensor in (data.order, data.source.flat, data.source.length, data.target.flat, data.target.length):
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def check(self, info: DataInfo) -> None:
        """A model reads by its own vocabularies; words that these lack become <unk>."""
        if not set(ROLES) <= set(info.vocabularies):
            raise UsageError(f"'{safe_text(self.config.name)}' has pairs, but the model was trained on something else.")
        trained = list(info.extra.get("languages", ()))
        if trained and trained != list(self.languages):
            raise UsageError(
                f"'{safe_text(self.config.name)}' goes from {safe_text(' to '.join(self.languages))}, but the model was "
                f"trained from {safe_text(' to '.join(trained))}; --set data.reverse=true swaps the sides."
            )

    # -- training -------------------------------------------------------------------------------------------------

    def train_batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """Pairs alike in length; every pair comes at most once in an epoch of len // (size·world) steps.

        The examples of an epoch are drawn from (seed, epoch), cut into pools, put in order of length within each, cut
        into batches, and the batches shuffled: a function of the step alone.
        """
        data = self.split("train")
        whole = size * world
        per_epoch = max(1, len(data) // whole)
        epoch, place = divmod(step, per_epoch)
        if (epoch, whole) not in self._epochs:
            while len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch, whole] = self._plan(data, epoch, per_epoch, whole)
        rows = self._epochs[epoch, whole][place]
        return self._batch(data, rows[rank * size : (rank + 1) * size])

    def _plan(self, data: Sentences, epoch: int, batches: int, size: int) -> Tensor:
        """The pairs of each batch of an epoch: int64 (batches, size)."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "pairs", epoch))
        every = data.order[torch.randperm(len(data), generator=generator)]
        drawn = every.repeat(-(-size // len(every)))[: batches * size].numpy()  # few pairs: some come again
        source, target = data.source.length.cpu().numpy()[drawn], data.target.length.cpu().numpy()[drawn]
        # Every other pool runs from long to short, so that a batch across two of them is still alike in length.
        pool = np.arange(len(drawn)) // (POOL * size)
        turn = np.where(pool % 2, -1, 1)
        ordered = drawn[np.lexsort((turn * source, turn * target, pool))]
        shuffled = torch.randperm(batches, generator=generator)
        return torch.from_numpy(ordered).view(batches, size)[shuffled]

    def _batch(self, data: Sentences, index: Tensor) -> Batch:
        index = index.to(self.device)
        pads = [self.tokenizer(role).pad or 0 for role in ROLES]
        source, source_length = data.source.take(index, pads[0])
        target, target_length = data.target.take(index, pads[1])
        mask = torch.arange(1, target.shape[1], device=self.device) < target_length[:, None]
        extra = {"source": source, "target": target, "source_length": source_length, "target_length": target_length}
        return Batch(index=index, mask=mask, extra=extra)

    # -- a split in order -------------------------------------------------------------------------------------------

    def batches(self, split: str, size: int, limit: int | None = None) -> Iterator[Batch]:
        """A split once, in order of length (`Batch.index` gives the place in ``split(name).pairs``).

        limit: only the first so many pairs of the split (None or 0: all).
        """
        data = self.split(split)
        first = data.order[: limit or None].numpy()
        lengths = (data.target.length.cpu().numpy()[first], data.source.length.cpu().numpy()[first])
        places = torch.from_numpy(first[np.lexsort(lengths)])
        for start in range(0, len(places), size):
            yield self._batch(data, places[start : start + size])

    def preview(self, split: str, n: int) -> Samples:
        """The first pairs of a split; of training the first batch that a run of this seed would train on."""
        data = self.split(split)
        count = min(n, len(data))
        rows = self.train_batch(0, count).index if split == "train" else data.order[:count]
        assert rows is not None
        return Samples(text=[f"{a}\t{b}" for a, b in (data.pairs[i] for i in rows.tolist())])
