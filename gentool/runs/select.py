"""Filters and orders over runs: ``status=done``, ``model:gan``, ``best<0.5``, ``age<2h``, ``loss<0.3``, ``--sort -size``.

One language for the command line and for the filter of the terminal application: terms ``KEY SIGN VALUE`` that all have to
hold. ``=`` and ``!=`` take the whole text (``*`` and ``?`` match), ``:`` a part of it, ``<`` and its like numbers with their
units. A bare word is looked for in a run's name, model, data, preset, status and tags.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gentool.errors import UsageError, did_you_mean
from gentool.runs.metrics import Row, key_rank
from gentool.runs.reader import STATUSES, RunView
from gentool.show.text import safe_text

_PART = re.compile(r"\s*([^=<>!:]+?)\s*(!=|<=|>=|=|<|>|:)\s*(.*?)\s*", re.DOTALL)
_WORD = re.compile(r'(?:"[^"]*"?|\S)+')
_UNITS = {
    "age": {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31557600.0},
    "size": {"b": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
    "": {"k": 1e3, "m": 1e6, "g": 1e9},
}
_UNITS["seconds"] = _UNITS["age"]

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
    "cpu": lambda run: run.cpu_seconds,
    "best": lambda run: run.best["value"] if run.best else None,
    "metric": lambda run: run.key[1] if run.key else None,
    "size": lambda run: run.size,
    "tag": lambda run: run.marks.tags,
    "pinned": lambda run: run.marks.pinned,
}
CHEAP = frozenset(KEYS) - {"metric", "size"}  # known from run.json and what lies beside it


def value(run: RunView, key: str) -> Any:
    """What a key means for a run: one of `KEYS`, a metric's last value, or a config key; None where it has none."""
    if key in KEYS:
        return KEYS[key](run)
    if key in run.last:
        return run.last[key]
    return run.config.get(key)


def figure(run: RunView, key: str) -> Any:
    """The like of `value` for an order: ``loss`` is the figure, not its name, and ``fid`` is ``validation/fid``."""
    if key in KEYS and key != "loss":
        return KEYS[key](run)
    found = short_metric(run.last, key)
    return found if found is not None else run.config.get(key)


def short_metric(row: Row, key: str) -> float | None:
    """The last value of a metric by its name or by the last part of it (the one that says most where several have it)."""
    if key in row:
        return row[key]
    names = [name for name in row if name.rpartition("/")[2] == key and not name.startswith("lr/")]
    return row[min(names, key=key_rank)] if names else None


# -- terms -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """One condition. `key` is "" for a bare word."""

    key: str
    sign: str
    holds: Callable[[RunView], bool]

    @property
    def cheap(self) -> bool:
        """Whether run.json alone tells, not the log or the config."""
        return not self.key or (self.key in CHEAP and not (self.key == "loss" and self.sign in "<=>="))


def parse_term(text: str) -> Term:
    """``KEY=VALUE``, ``KEY:TEXT``, ``KEY<NUMBER`` or a bare word as a condition; `UsageError` where it is none."""
    match = _PART.fullmatch(text)
    if match is None:
        word = _unquoted(text).lower()
        return Term("", "", lambda run: _anywhere(run, word))
    key, sign, wanted = match.groups()
    shown, wanted = safe_text(text)[:60], _unquoted(wanted)
    if not wanted:
        raise UsageError(f"--filter takes KEY=VALUE (or : != < > <= >=), not '{shown}': --filter status=done.")
    if key == "status" and sign in ("=", "!=") and not any(fnmatch.fnmatchcase(s, wanted.lower()) for s in STATUSES):
        raise UsageError(f"--filter {shown}: no run has that status.{did_you_mean(safe_text(wanted)[:40], STATUSES)}")
    if sign == ":":
        return Term(key, sign, lambda run: _contains(value(run, key), wanted))
    number = _number(wanted, key)
    if sign in ("=", "!="):
        return Term(key, sign, lambda run: _equal(value(run, key), wanted, number) == (sign == "="))
    if number is None:
        raise UsageError(f"--filter {shown}: {sign} needs a number.")
    return Term(key, sign, lambda run: _ordered(figure(run, key), sign, number))


@dataclass(frozen=True)
class Query:
    """A line of terms as it is typed: what cannot be a term (yet) is left out, and `problem` says why."""

    terms: tuple[Term, ...] = ()
    problem: str = ""

    @property
    def cheap(self) -> bool:
        return all(term.cheap for term in self.terms)

    def holds(self, run: RunView) -> bool:
        return all(term.holds(run) for term in self.terms)


def parse_query(text: str) -> Query:
    """A line of terms apart by spaces, ``"`` around those that have some."""
    terms, problem = [], ""
    for word in _WORD.findall(text):
        try:
            terms.append(parse_term(word))
        except UsageError as error:
            problem = problem or str(error).removeprefix("--filter ")
    return Query(tuple(terms), problem)


def select(runs: Sequence[RunView], filters: Sequence[str], words: Sequence[str] = ()) -> list[RunView]:
    """The runs that pass every filter, which is no bare word, and every word, which may be one."""
    terms = [_signed(text) for text in filters] + [parse_term(text) for text in words]
    chosen = list(runs)
    for term in terms:
        if chosen and term.key and term.key not in KEYS and all(figure(run, term.key) is None for run in chosen):
            _refuse(term.key, chosen)
        chosen = [run for run in chosen if term.holds(run)]
    return chosen


def _signed(text: str) -> Term:
    term = parse_term(text)
    if not term.sign:
        raise UsageError(
            f"--filter takes KEY=VALUE (or : != < > <= >=), not '{safe_text(text)[:60]}': --filter status=done."
        )
    return term


def _unquoted(text: str) -> str:
    return text.replace('"', "")


def _number(text: str, key: str = "") -> float | None:
    """A number, with the units of its key: 2h, 10MB, 20k."""
    try:
        return float(text)
    except ValueError:
        pass
    match = re.fullmatch(r"([-+.\deE]+?)\s*([a-zA-Z]+)", text)
    unit = _UNITS.get(key, _UNITS[""]).get(match.group(2).lower()) if match else None
    if match is None or unit is None:
        return None
    try:
        return float(match.group(1)) * unit
    except ValueError:
        return None


def _equal(found: Any, wanted: str, number: float | None) -> bool:
    if isinstance(found, bool):
        return str(found).lower() == {"yes": "true", "no": "false"}.get(wanted.lower(), wanted.lower())
    if isinstance(found, tuple):
        return any(_equal(one, wanted, number) for one in found)
    if isinstance(found, int | float) and number is not None:
        return abs(found - number) <= 1e-9 * max(abs(found), abs(number))
    return found is not None and fnmatch.fnmatchcase(str(found).lower(), wanted.lower())


def _contains(found: Any, wanted: str) -> bool:
    if isinstance(found, tuple):
        return any(_contains(one, wanted) for one in found)
    if isinstance(found, bool | int | float):
        return _equal(found, wanted, _number(wanted))
    return found is not None and fnmatch.fnmatchcase(str(found).lower(), f"*{wanted.lower()}*")


def _anywhere(run: RunView, word: str) -> bool:
    parts = (run.name, run.model, run.data, run.preset, run.status, *run.marks.tags)
    return any(word in part.lower() for part in parts)


def _ordered(found: Any, sign: str, number: float) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return {"<": found < number, ">": found > number, "<=": found <= number, ">=": found >= number}[sign]


# -- orders ------------------------------------------------------------------------------------------------------------


def order(runs: Sequence[RunView], key: str) -> list[RunView]:
    """Runs by a key, rising; ``-KEY`` falling. Runs without a value come last, equal ones stay in their order."""
    name = key.removeprefix("-")
    found = [(run, value(run, name)) for run in runs]
    if runs and all(v is None or v != v for _, v in found) and name not in KEYS:
        _refuse(name, runs)
    return _ordered_by(found, key.startswith("-"))


def arranged(runs: Iterable[RunView], query: Query, sort: str, falls: bool) -> list[RunView]:
    """The runs that a query keeps: pinned ones first, then by a key, the newest first where that says nothing."""
    kept = [run for run in runs if query.holds(run)]
    kept.sort(key=lambda run: (run.started or 0.0, run.name), reverse=not (sort == "age" and falls))
    if sort != "age":
        kept = _ordered_by([(run, figure(run, sort)) for run in kept], falls)
    kept.sort(key=lambda run: not run.marks.pinned)
    return kept


def _ordered_by(found: Sequence[tuple[RunView, Any]], falls: bool) -> list[RunView]:
    """Runs by a value of each; those without one last, equal ones in their order."""
    have = [(run, v) for run, v in found if v is not None and v == v]
    numbers = all(isinstance(v, int | float) for _, v in have)
    have.sort(key=lambda one: one[1] if numbers else str(one[1]), reverse=falls)
    return [run for run, _ in have] + [run for run, v in found if v is None or v != v]


def _refuse(key: str, runs: Sequence[RunView]) -> None:
    known = {*KEYS}
    for run in runs[:50]:
        known |= {*run.last, *run.config}
    hint = did_you_mean(safe_text(key)[:60], known)
    if not hint:
        hint = f" There is: {', '.join(KEYS)}, any metric and any config key."
    raise UsageError(f"No run here has '{safe_text(key)[:60]}'.{hint}")
