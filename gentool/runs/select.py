"""Filters and orders over runs: ``status=done``, ``model=vae*``, ``best<0.5``, ``optim.model.lr=0.001``, ``--sort -size``."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from gentool.errors import UsageError, did_you_mean
from gentool.runs.reader import STATUSES, RunView
from gentool.show.text import safe_text

_PART = re.compile(r"\s*([^=<>!]+?)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)

KEYS: dict[str, Callable[[RunView], Any]] = {
    "id": lambda run: run.name,
    "name": lambda run: run.meta.get("name"),
    "model": lambda run: run.model,
    "data": lambda run: run.data,
    "preset": lambda run: run.preset,
    "loss": lambda run: run.loss,
    "status": lambda run: run.status,
    "step": lambda run: run.step,
    "total": lambda run: run.total,
    "started": lambda run: run.started,
    "age": lambda run: None if run.started is None else time.time() - run.started,
    "seconds": lambda run: run.seconds,
    "best": lambda run: run.best["value"] if run.best else None,
    "metric": lambda run: run.key[1] if run.key else None,
    "size": lambda run: run.size,
}


def value(run: RunView, key: str) -> Any:
    """What a key means for a run: one of `KEYS`, a metric's last value, or a config key; None where it has none."""
    if key in KEYS:
        return KEYS[key](run)
    if key in run.last:
        return run.last[key]
    return run.config.get(key)


def select(runs: Sequence[RunView], filters: Sequence[str]) -> list[RunView]:
    """The runs that pass every filter ``KEY=VALUE`` (also != < > <= >=; ``*`` and ``?`` match in text)."""
    tests = [_test(text) for text in filters]
    chosen = list(runs)
    for key, test in tests:
        found = [(run, value(run, key)) for run in chosen]
        if chosen and key not in KEYS and all(v is None for _, v in found):
            _refuse(key, chosen)
        chosen = [run for run, v in found if test(v)]
    return chosen


def _test(text: str) -> tuple[str, Callable[[Any], bool]]:
    shown = safe_text(text)[:60]
    match = _PART.fullmatch(text)
    if match is None or not match.group(3):
        raise UsageError(f"--filter takes KEY=VALUE (or != < > <= >=), not '{shown}': --filter status=done.")
    key, sign, wanted = match.groups()
    if key == "status" and sign in ("=", "!=") and not any(fnmatch.fnmatchcase(s, wanted.lower()) for s in STATUSES):
        raise UsageError(f"--filter {shown}: no run has that status.{did_you_mean(safe_text(wanted)[:40], STATUSES)}")
    number = _number(wanted)
    if sign in ("=", "!="):
        return key, lambda found: _equal(found, wanted, number) == (sign == "=")
    if number is None:
        raise UsageError(f"--filter {shown}: {sign} needs a number.")
    return key, lambda found: _ordered(found, sign, number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _equal(found: Any, wanted: str, number: float | None) -> bool:
    if isinstance(found, bool):
        return str(found).lower() == wanted.lower()
    if isinstance(found, int | float) and number is not None:
        return abs(found - number) <= 1e-9 * max(abs(found), abs(number))
    return found is not None and fnmatch.fnmatchcase(str(found).lower(), wanted.lower())


def _ordered(found: Any, sign: str, number: float) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return {"<": found < number, ">": found > number, "<=": found <= number, ">=": found >= number}[sign]


def order(runs: Sequence[RunView], key: str) -> list[RunView]:
    """Runs by a key, rising; ``-KEY`` falling. Runs without a value come last, equal ones stay in their order."""
    name = key.removeprefix("-")
    found = [(run, value(run, name)) for run in runs]
    have = [(run, v) for run, v in found if v is not None and v == v]
    if not have and runs and name not in KEYS:
        _refuse(name, runs)
    numbers = all(isinstance(v, int | float) for _, v in have)
    by = sorted(have, key=lambda one: one[1] if numbers else str(one[1]), reverse=key.startswith("-"))
    return [run for run, _ in by] + [run for run, v in found if v is None or v != v]


def _refuse(key: str, runs: Sequence[RunView]) -> None:
    known = {*KEYS}
    for run in runs[:50]:
        known |= {*run.last, *run.config}
    hint = did_you_mean(safe_text(key)[:60], known)
    if not hint:
        hint = f" There is: {', '.join(KEYS)}, any metric and any config key."
    raise UsageError(f"No run here has '{safe_text(key)[:60]}'.{hint}")
