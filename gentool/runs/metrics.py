"""Reading metrics.jsonl: a torn last line, lines of garbage and a gigabyte of them do no harm. Light."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gentool.evaluating import Curve

Row = dict[str, float]  # "step" (a whole number), "t" in seconds, and one number a metric
LONGEST = 1 << 20  # bytes of a line; a longer one is garbage
BLOCK = 1 << 18
RARE = b'"validation/'  # such lines come once in hundreds: thinning counts them apart


@dataclass
class Metrics:
    """What a log holds: rows in rising order of step, and how many lines could not be read."""

    rows: list[Row] = field(default_factory=list)
    garbage: int = 0
    lines: int = 0  # whole lines read or passed over

    def names(self) -> list[str]:
        """The metrics' names: losses first, then the others, learning rates last."""
        found = {name: None for row in self.rows for name in row if name not in ("step", "t")}
        return sorted(found, key=key_rank)

    def series(self, name: str) -> Curve:
        """One metric against the step."""
        rows = [row for row in self.rows if name in row]
        return Curve(name, [row["step"] for row in rows], [row[name] for row in rows])

    def last(self) -> Row:
        """The newest value of every metric, with the newest step and time."""
        newest: Row = {}
        for row in self.rows:
            newest.update(row)
        return newest


def key_rank(name: str) -> tuple[int, str]:
    """Where a metric stands in a list of them: the validation loss, losses, validation, others, rates."""
    checked, loss = name.startswith("validation/"), name.endswith("/loss")
    order = (checked and loss, loss, checked, not name.startswith("lr/"))
    return (order.index(True) if True in order else len(order)), name


def key_metric(names: Iterable[str]) -> str | None:
    """The metric that says most about a run: the validation loss, or else the first loss, or else the first of all."""
    return min(names, key=key_rank, default=None)


def parse_line(line: bytes) -> Row | None:
    """One line of the log, or None where it is garbage. Values that are no numbers are left out; null is NaN."""
    try:
        found = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not _number(found.get("step")):
        return None
    row: Row = {}
    for name, value in found.items():
        if value is None:
            row[name] = math.nan
        elif _number(value):
            try:
                row[name] = int(value) if name == "step" else float(value)
            except (OverflowError, ValueError):  # a whole number past the floats, a step that is infinite
                return None
    return row if abs(row["step"]) < 1 << 53 else None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_metrics(path: Path | str, last: int | None = None, thin: int | None = None) -> Metrics:
    """A metrics log (or the run folder it lies in). Missing or unreadable: no rows.

    `last`: only the newest so many lines, read from the end. `thin`: about so many rows (at most twice), evenly taken,
    the first and the newest among them, validation lines counted apart; a gigabyte takes seconds and is never
    held. Neither: all rows.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "metrics.jsonl"
    file = open_regular(path)
    if file is None:
        return Metrics()
    with file:
        try:
            if last is not None:
                return _parse(_tail(file, last))
            if thin is not None:
                return _thinned(file, thin)
            return _parse(_lines(file))
        except OSError:
            return Metrics()


def iter_metrics(path: Path) -> Iterator[Row]:
    """Every row in the order of the file, one at a time, for logs of any length; garbage is passed over."""
    file = open_regular(path)
    if file is None:
        return
    with file:
        for line in _lines(file):
            row = parse_line(line)
            if row is not None:
                yield row


def open_regular(path: Path) -> IO[bytes] | None:
    """A regular file for reading, or None: a pipe or a device of that name must not hang the reader."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb", buffering=BLOCK)


def _blocks(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Lines without their newlines, a block at a time; one that is too long is cut (and so is garbage).

    A last line without its newline counts only if it is whole: a record cut short never parses, for its brace is last.
    """
    rest = b""
    while block := file.read(BLOCK):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()[: LONGEST + 1]
        yield lines
    if rest and parse_line(rest) is not None:
        yield [rest]


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    for lines in _blocks(file):
        yield from lines


def _tail(file: IO[bytes], last: int) -> list[bytes]:
    """The last so many lines, read backwards in blocks (of at most 64 MB in all)."""
    end = file.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    newlines = 0
    while end > 0 and newlines <= last and len(blocks) < 1024:
        start = max(0, end - BLOCK)
        file.seek(start)
        block = file.read(end - start)
        newlines += block.count(b"\n")
        blocks.append(block)
        end = start
    lines = b"".join(reversed(blocks)).split(b"\n")
    torn = lines.pop()
    if end > 0 and lines:
        lines = lines[1:]  # begins somewhere in the middle
    if torn and parse_line(torn) is not None:
        lines.append(torn)
    return lines[-last:] if last > 0 else []


class Thinner:
    """A log held in a bounded number of lines, whatever its length: every 2^k-th, k growing with the log, and so the rare
    ones. Between `most` and twice as many of each kind are kept; lines are fed in the order of the file.
    """

    def __init__(self, most: int) -> None:
        self.most = max(most, 2)
        self.stride = self.rare_stride = 1
        self.number = self.rare_seen = 0  # lines fed, those of them that are rare
        self.kept: dict[int, bytes] = {}
        self.rare: dict[int, bytes] = {}
        self.newest = b""
        self._rows: dict[int, Row | None] = {}  # those of the kept lines that were parsed

    def feed(self, lines: list[bytes]) -> None:
        """The next lines, without their newlines."""
        number, most = self.number, self.most
        for i in range(-number % self.stride, len(lines), self.stride):
            self.kept[number + i] = lines[i]
        while len(self.kept) > 2 * most:
            self.stride *= 2
            self.kept = {at: line for at, line in self.kept.items() if at % self.stride == 0}
        for i in [i for i, line in enumerate(lines) if RARE in line]:
            if self.rare_seen % self.rare_stride == 0:
                self.rare[number + i] = lines[i]
            self.rare_seen += 1
            if len(self.rare) > 2 * most:
                self.rare_stride *= 2
                self.rare = dict(list(self.rare.items())[::2])
        self.number += len(lines)
        self.newest = lines[-1] if lines else self.newest

    def metrics(self) -> Metrics:
        """What is held, the newest line with it."""
        chosen = self.kept | self.rare
        if self.number:
            chosen[self.number - 1] = self.newest
        known = self._rows
        self._rows = {at: known[at] if at in known else parse_line(chosen[at]) for at in sorted(chosen)}
        metrics = _gather(self._rows.values())
        metrics.lines = self.number
        return metrics


def _thinned(file: IO[bytes], most: int) -> Metrics:
    thinner = Thinner(most)
    for lines in _blocks(file):
        thinner.feed(lines)
    return thinner.metrics()


def _parse(lines: Iterable[bytes]) -> Metrics:
    return _gather(map(parse_line, lines))


def _gather(rows: Iterable[Row | None]) -> Metrics:
    metrics = Metrics()
    for row in rows:
        metrics.lines += 1
        if row is None:
            metrics.garbage += 1
            continue
        # A run that was cut and resumed may do steps again: what it says last holds.
        if metrics.rows and metrics.rows[-1]["step"] > row["step"]:
            while metrics.rows and metrics.rows[-1]["step"] >= row["step"]:
                metrics.rows.pop()
        metrics.rows.append(row)
    return metrics
