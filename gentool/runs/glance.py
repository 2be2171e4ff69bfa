"""A look at a run's log that costs the same for a hundred lines and for a million: the newest values, and a few between."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gentool.runs.metrics import Row, key_rank, open_regular, parse_line, read_metrics

POINTS = 24  # of a sparkline
_STRIDE = 4096  # bytes read at each place: a line or more
_TAIL = 64  # lines at the end: what is rare (validation) is among them


@dataclass(frozen=True)
class Glance:
    """The newest values, and one metric over the whole run in `POINTS` points or fewer."""

    last: Row
    name: str = ""
    values: tuple[float, ...] = ()


def read_glance(path: Path) -> Glance:
    """The glance at a run folder's log; empty where there is none."""
    last = read_metrics(path, last=_TAIL).last()
    name = train_metric(last)
    if not name:
        return Glance(last)
    rows = spread_rows(path / "metrics.jsonl", POINTS)
    values = tuple(row[name] for row in rows if row.get(name) is not None and row[name] == row[name])
    return Glance(last, name, values)


def train_metric(row: Row) -> str:
    """The metric whose course says most while a run trains: its first training loss, else its first metric."""
    names = [name for name in row if name not in ("step", "t") and not name.startswith(("validation/", "lr/"))]
    return min(names, key=key_rank, default="")


def spread_rows(path: Path, count: int) -> list[Row]:
    """About `count` rows evenly spread over the bytes of a log, the first and the newest among them."""
    file = open_regular(path)
    if file is None:
        return []
    rows: list[Row] = []
    with file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size <= count * _STRIDE:
                lines = file.read(size).split(b"\n")
                at = sorted({round(i * (len(lines) - 1) / max(count - 1, 1)) for i in range(count)})
                found = [lines[i] for i in at]
                found += [lines[-2]] if len(lines) > 1 else []
            else:
                found = []
                for i in range(count):
                    start = i * (size - _STRIDE) // (count - 1)
                    lines = os.pread(file.fileno(), _STRIDE, start).split(b"\n")
                    found.append(
                        lines[0]
                        if i == 0
                        else lines[-2]
                        if i == count - 1 and len(lines) > 1
                        else lines[1 % len(lines)]
                    )
        except OSError:
            return []
    for line in found:
        row = parse_line(line)
        if row is not None and (not rows or row["step"] > rows[-1]["step"]):
            rows.append(row)
    return rows
