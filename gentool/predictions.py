"""`gentool eval MODEL --predictions FILE`: scores a file of results, written by any program, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gentool.config import build_dataclass, check_data, data_config
from gentool.data.find import where_of
from gentool.data.ground_truth import open_truth
from gentool.data.splits import check_split
from gentool.errors import UsageError, did_you_mean
from gentool.evaluating import Predictions, Report
from gentool.registry import registry
from gentool.show.text import safe_text
from gentool.specs import EvaluatorSpec, ModelSpec


def choose(model: str, names: Sequence[str]) -> tuple[ModelSpec, list[EvaluatorSpec]]:
    """The family whose evaluators score the file, and those named (none: those of its own that can score a file)."""
    reg = registry()
    known = reg.names("model")
    if model not in known and not any(model in spec.aliases for spec in reg.all("model")):
        raise UsageError(
            f"With --predictions a model's name says which evaluators there are; '{safe_text(model)[:80]}' is none."
            f"{did_you_mean(model, known)}"
        )
    spec = reg.find("model", model)
    can = [found.name for found in reg.fitting("evaluator", spec) if found.predictions]
    chosen = [reg.find_fitting("evaluator", name, spec) for name in names or [n for n in spec.evaluators if n in can]]
    remedy = f"; --{' or --'.join(can)} can score a file" if can else ""
    for found in chosen:
        if not found.predictions:
            raise UsageError(f"--{found.name} scores a model, not a file of predictions{remedy}.")
    if not chosen:
        raise UsageError(f"No evaluator of '{spec.name}' scores a file of predictions unasked{remedy}.")
    return spec, chosen


def score_file(
    model: ModelSpec,
    spec: EvaluatorSpec,
    options: Mapping[str, Any],
    path: Path,
    data: str | None,
    split: str | None,
    limit: int | None,
    data_changes: Mapping[str, Any],
) -> Report:
    """One evaluator over a file. data: a set's name (None: the model's default), split: of it (None: the usual one)."""
    if not path.is_file():
        raise UsageError(f"--predictions {safe_text(str(path))}: there is no such file.")
    config = build_dataclass(spec.config, options, f"--set {spec.name}.*")
    name = check_data(data or model.dataset, model)
    settings = build_dataclass(data_config(name), {**data_changes, "name": name}, "--set data.*")
    which = check_split(split or spec.split)
    where = where_of(settings, fetch=data is not None)
    found = Predictions(path, name, which, limit, lambda: open_truth(name, which, where))
    report: Report = registry().load(spec.predictions)(config, found)
    return report
