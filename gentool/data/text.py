"""Batches of a running text: rows are streams that go on from step to step, so that a model can carry its state along."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gentool.data import tokens
from gentool.data.batch import Batch, DataInfo
from gentool.data.config import TextConfig
from gentool.data.sets import check_split
from gentool.errors import UsageError
from gentool.randomness import derive_seed
from gentool.sampling import Samples
from gentool.show.text import safe_text

STREAMS = 16  # at most so many, side by side, when a split is read in order


@dataclass(frozen=True)
class TextSet:
    """One split of a text. `alphabet`: characters that the vocabulary has in any case; `extra` goes into the `DataInfo`.

    The usual splits are the first 90 % for training and the rest for both validation and test.
    """

    name: str
    split: str
    text: str = field(repr=False)
    alphabet: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class Stream:
    """A split as token ids: int32 (N,) on the device."""

    text: str = field(repr=False)
    ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)


class TextPipeline:
    """The batches of a text (`gentool.data.pipeline.Pipeline`).

    An example is a window: `window` tokens to read, each with the one after it to predict. In training, row r of R starts
    r/R of the way through the text and reads on window by window; at the end of the text it begins again at the first
    window, `fresh`. The windows of each pass are shifted by a draw of (seed, row, pass), so that they are not always cut
    at the same places.
    """

    def __init__(
        self,
        open_split: Callable[[str], TextSet],
        config: TextConfig,
        device: torch.device | str,
        seed: int,
        vocabularies: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.seed = seed
        self._open = open_split
        self._opened: dict[str, TextSet] = {}
        self._streams: dict[str, Stream] = {}
        self._tokenizer = tokens.from_json(vocabularies["text"]) if vocabularies and "text" in vocabularies else None
        self._info: DataInfo | None = None
        self._shifts: dict[tuple[int, int], int] = {}

    # -- what there is --------------------------------------------------------------------------------------------

    @property
    def tokenizer(self) -> tokens.Tokenizer:
        """Characters: all of the text's. Byte pairs: learnt from the training split (any text can be read)."""
        if self._tokenizer is None:
            train = self._text("train")
            kind = self.config.tokens
            texts = [train.text] if kind == "bpe" else [train.text, self._text("test").text, train.alphabet]
            self._tokenizer = tokens.learn(kind, lambda: texts, size=self.config.vocabulary, marks=False)
        return self._tokenizer

    @property
    def info(self) -> DataInfo:
        """What a model has to know of this text."""
        if self._info is None:
            extra = dict(self._text("train").extra)
            self._info = DataInfo(name=self.config.name, vocabularies={"text": self.tokenizer.to_json()}, extra=extra)
        return self._info

    def _text(self, name: str) -> TextSet:
        if name not in self._opened:
            made = self._open(check_split(name))
            if not isinstance(getattr(made, "text", None), str):
                raise UsageError(
                    f"The data set '{safe_text(self.config.name)}' gives a {type(made).__name__}, not a text."
                )
            if name == "train" and not made.text:
                raise UsageError(
                    f"The text of '{safe_text(self.config.name)}' is empty; there is nothing to learn from."
                )
            self._opened[name] = made
        return self._opened[name]

    def split(self, name: str) -> Stream:
        """A split as token ids."""
        if name not in self._streams:
            text = self._text(name).text
            if name == "train" and self.config.limit:
                text = text[: self.config.limit]
            ids = torch.tensor(self.tokenizer.encode(text), dtype=torch.int32)
            if name == "train":
                self._long_enough(len(ids))
            self._streams[name] = Stream(text, ids.to(self.device))
        return self._streams[name]

    def _long_enough(self, n: int) -> None:
        window = self.config.window
        if n < 2:
            why = "at least two are needed"
        elif n <= window:
            why = f"too few for a window of {window} and the token after it; use a longer text or --set data.window={n - 1}"
        else:
            return
        raise UsageError(f"The training text of '{safe_text(self.config.name)}' has {n} token{'s' * (n != 1)}, {why}.")

    def has(self, split: str) -> bool:
        return self.count(split) > 0

    def count(self, split: str) -> int:
        """How many windows a split has; the last may be shorter."""
        return max(0, -(-(len(self.split(split)) - 1) // self.config.window))

    @property
    def nbytes(self) -> int:
        return sum(stream.ids.nbytes for stream in self._streams.values())

    @property
    def summary(self) -> str:
        unit = "characters" if self.tokenizer.kind == "characters" else "byte-pair codes"
        return f"windows of {self.config.window}, {self.tokenizer.size:,} {unit}"

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(json.dumps(self.tokenizer.to_json(), sort_keys=True).encode(), digest_size=8)
        digest.update(self.split("train").ids.cpu().numpy().tobytes())
        return digest.hexdigest()

    def check(self, info: DataInfo) -> None:
        """A model reads what its own vocabulary has: words of another text that lack there are refused by `encode`."""
        if "text" not in info.vocabularies:
            raise UsageError(f"'{safe_text(self.config.name)}' is a text, but the model was trained on something else.")

    # -- training -------------------------------------------------------------------------------------------------

    def train_batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """The windows of a training step (counted from 0): rows rank·size … of size·world streams."""
        ids = self.split("train").ids
        window, n = self.config.window, len(ids)
        a_pass = max(1, (n - window) // window)  # windows in one
        slack = min(n - 1 - a_pass * window, window - 1)
        starts, fresh = [], []
        for row in range(rank * size, (rank + 1) * size):
            number, place = divmod(row * a_pass // (size * world) + step, a_pass)
            starts.append(self._shift(row, number, slack) + place * window)
            fresh.append(step == 0 or place == 0)
        return self._windows(ids, torch.tensor(starts), window, torch.tensor(fresh))

    def _shift(self, row: int, number: int, slack: int) -> int:
        if (row, number) not in self._shifts:
            if len(self._shifts) > 100_000:
                self._shifts.clear()
            self._shifts[row, number] = derive_seed(self.seed, "text", row, number) % (slack + 1)
        return self._shifts[row, number]

    def _windows(self, ids: Tensor, starts: Tensor, width: int, fresh: Tensor, mask: Tensor | None = None) -> Batch:
        places = starts[:, None] + torch.arange(width + 1)
        found = ids[places.clamp_(max=len(ids) - 1).to(ids.device)].long()
        if mask is None:
            mask = torch.ones(len(starts), width, dtype=torch.bool)
        index = torch.arange(len(starts), device=self.device)
        return Batch(tokens=found, mask=mask.to(self.device), fresh=fresh.to(self.device), index=index,
                     rows=range(len(starts)))  # fmt: skip

    # -- a split in order -------------------------------------------------------------------------------------------

    def batches(self, split: str, size: int, limit: int | None = None) -> Iterator[Batch]:
        """A split once, each of its tokens but the first predicted once, in min(size, 16) streams side by side.

        Each stream is a contiguous part of the text, so a carried state lacks context only where the streams begin.
        limit: at most so many windows from the beginning (None or 0: all).
        """
        ids = self.split(split).ids
        window = self.config.window
        total = max(0, len(ids) - 1)
        if limit:
            total = min(total, limit * window)
        if not total:
            return
        rows = max(1, min(size, STREAMS, total // window))
        length = -(-total // rows)
        begins = torch.arange(rows) * length
        ends = (begins + length).clamp(max=total)
        for at in range(0, length, window):
            width = min(window, length - at)
            mask = (begins + at)[:, None] + torch.arange(width) < ends[:, None]
            yield self._windows(ids, begins + at, width, torch.full((rows,), at == 0), mask)

    def preview(self, split: str, n: int) -> Samples:
        """Windows as text; of training the rows of the first step that a run of this seed would train on."""
        if split == "train":
            rows = list(self.train_batch(0, n).tokens)  # type: ignore[arg-type]
        else:
            ids, window = self.split(split).ids, self.config.window
            rows = [ids[i * window : (i + 1) * window + 1] for i in range(min(n, self.count(split)))]
        return Samples(text=[self.tokenizer.decode(row.tolist()) for row in rows])
