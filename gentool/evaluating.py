"""Evaluators are streams: `update(batch, outputs)`, `merge(other)` across ranks, `compute() -> Report`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gentool.data.batch import Batch, DataInfo
    from gentool.data.ground_truth import GroundTruth
    from gentool.randomness import Step
    from gentool.sampling import Samples


@dataclass(frozen=True)
class Scalar:
    """One figure. `unit` such as "nats" or "bits/dim"; `error` a standard error where one is known.

    `note` says in a few words what the figure depends on or, where there is none (`value` is NaN), why.
    """

    name: str
    value: float
    unit: str = ""
    error: float | None = None
    note: str = ""

    def text(self) -> str:
        """The figure as it is printed: ``0.8931 ± 0.0021 nats (at score 0.4)``, ``no objects of this size``."""
        note = f"({self.note})" if self.note else ""
        if math.isnan(self.value):
            return self.note or "no value"
        error = f" ± {self.error:.3g}" if self.error is not None else ""
        return " ".join(f"{self.value:.5g}{error} {self.unit} {note}".split())

    def to_json(self) -> dict[str, Any]:
        more = {"error": self.error, "note": self.note or None}
        return {"value": self.value, "unit": self.unit} | {key: v for key, v in more.items() if v is not None}


@dataclass(frozen=True)
class Curve:
    """One line of a plot."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """Images (n, C, H, W) in [-1, 1] laid out in `columns`."""

    name: str
    images: Tensor
    columns: int | None = None


@dataclass(frozen=True)
class HeatMap:
    """A table of numbers to be seen rather than read: values[i][j] at the word rows[i] and the word columns[j].

    `most` is the value of the darkest cell (None: the largest there is); `axes` says what rows and columns are.
    """

    name: str
    values: Sequence[Sequence[float]]
    rows: Sequence[str]
    columns: Sequence[str]
    title: str = ""
    axes: tuple[str, str] = ("", "")
    most: float | None = 1.0

    def shares(self) -> list[list[float]]:
        """The values as shares of `most`."""
        most = self.most or max((v for row in self.values for v in row if math.isfinite(v)), default=1.0) or 1.0
        return [[value / most for value in row] for row in self.values]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; what is not finite is null."""
        return asdict(self) | {"values": [[v if math.isfinite(v) else None for v in row] for row in self.values]}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> HeatMap:
        """What `to_json` gave, null as NaN; `KeyError`, `TypeError` or `ValueError` for anything else."""
        values = [[math.nan if value is None else float(value) for value in row] for row in given["values"]]
        rows, columns = ([str(word) for word in given[side]] for side in ("rows", "columns"))
        if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
            raise ValueError("a heat map has one value for each row and column")
        first, second = given["axes"]
        most = None if given["most"] is None else float(given["most"])
        return cls(str(given["name"]), values, rows, columns, str(given["title"]), (str(first), str(second)), most)


@dataclass
class Report:
    """What an evaluator found. `protocol` says in one line how: data, split, N, draws; every figure names it.

    `extra`: further plain JSON values, for `--json` alone.
    """

    name: str
    scalars: list[Scalar] = field(default_factory=list)
    protocol: str = ""
    curves: list[Curve] = field(default_factory=list)
    axes: tuple[str, str] = ("x", "y")
    log_y: bool = False
    pictures: list[Picture] = field(default_factory=list)
    heatmaps: list[HeatMap] = field(default_factory=list)
    table: list[dict[str, object]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Scalars, table and curves as plain JSON values (pictures go to files)."""
        return {
            "evaluator": self.name,
            "protocol": self.protocol,
            "scalars": {s.name: s.to_json() for s in self.scalars},
            "table": self.table,
            "curves": [{"name": c.name, "x": list(c.x), "y": list(c.y)} for c in self.curves],
            **({"heatmaps": [h.to_json() for h in self.heatmaps]} if self.heatmaps else {}),
            **({"extra": self.extra} if self.extra else {}),
        }


@dataclass(frozen=True)
class Context:
    """What an evaluator may use beside its stream: the model in eval mode, its data description, data and samples.

    `model_name` is for captions only. `batches(split)` goes through a split once, in order, with the run's transforms;
    `samples(n)` draws n samples by the model's sampler in chunks. `limit` is the user's `--limit` (None: all).
    `shared` is one mapping for all evaluators of a call: what is dear and the same for several is made once.
    """

    model: nn.Module
    model_name: str
    info: DataInfo
    step: Step
    device: torch.device
    dataset: str
    split: str
    limit: int | None
    open_batches: Any
    draw_samples: Any
    shared: dict[Any, Any] = field(default_factory=dict)
    open_split: Any = None

    def batches(self, split: str | None = None, *, limit: int | None = None) -> Iterator[Batch]:
        """The batches of a split (default: the evaluated one), at most `limit` examples."""
        return self.open_batches(split or self.split, limit)  # type: ignore[no-any-return]

    def examples(self, split: str | None = None) -> Any:
        """A split itself (default: the evaluated one), as its kind of data has it: `Batch.index` gives places in it.
        Pairs have their sentences in ``.pairs``."""
        return self.open_split(split or self.split)

    def samples(self, n: int) -> Iterator[Samples]:
        """n samples in chunks, memory bounded by the chunk."""
        return self.draw_samples(n)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Predictions:
    """What `EvaluatorSpec.predictions` scores: a file, against one split of a data set, of which `limit` examples count
    (None: all)."""

    path: Path
    dataset: str
    split: str
    limit: int | None
    open_truth: Callable[[], GroundTruth]

    def truth(self) -> GroundTruth:
        """The boxes of the whole split as they are written."""
        return self.open_truth()


class Evaluator(Protocol):
    """What `EvaluatorSpec.factory(config, context)` makes."""

    def update(self, batch: Batch, outputs: Samples | None) -> None: ...

    def merge(self, other: Any) -> None: ...

    def compute(self) -> Report: ...
