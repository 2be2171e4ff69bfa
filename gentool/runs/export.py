"""A run's metrics for other programs: CSV, and TensorBoard events (an extra)."""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gentool.errors import UsageError
from gentool.runs.files import disk_error
from gentool.runs.metrics import Row, iter_metrics, key_rank
from gentool.runs.reader import RunView
from gentool.show.text import safe_text

_FIRST = ("step", "t")


def merged_rows(path: Path) -> Iterator[Row]:
    """The rows of a log, one a step: lines of the same step joined, steps that a resumed run did again taken as done last.

    Two passes over the file and a constant memory, whatever its length.
    """
    cuts: list[tuple[int, float]] = []  # (row number, step) where the log goes back
    before = -math.inf
    for number, row in enumerate(iter_metrics(path)):
        if row["step"] < before:
            cuts.append((number, row["step"]))
        before = row["step"]
    # What a later cut does again is void from the earliest step any later cut names.
    void = [math.inf] * (len(cuts) + 1)
    for i in range(len(cuts) - 1, -1, -1):
        void[i] = min(void[i + 1], cuts[i][1])
    passed = 0
    pending: Row = {}
    for number, row in enumerate(iter_metrics(path)):
        while passed < len(cuts) and number >= cuts[passed][0]:
            passed += 1
        if row["step"] >= void[passed]:
            continue
        if pending and row["step"] != pending["step"]:
            yield pending
            pending = {}
        pending.update(row)
    if pending:
        yield pending


def metric_names(path: Path) -> list[str]:
    """Every metric that a log names, in the order of `Metrics.names`."""
    found: dict[str, None] = {}
    for row in iter_metrics(path):
        found.update(dict.fromkeys(row))
    return sorted((name for name in found if name not in _FIRST), key=key_rank)


def write_csv(run: RunView, file: IO[str]) -> int:
    """The metrics as CSV: step, t, then one column a metric; empty where a step has no value, "nan" for NaN. Gives the rows."""
    path = run.path / "metrics.jsonl"
    names = [*_FIRST, *metric_names(path)]
    table = csv.writer(file, lineterminator="\n")
    table.writerow([safe_text(name) for name in names])
    count = 0
    for row in merged_rows(path):
        table.writerow([_cell(row.get(name)) for name in names])
        count += 1
    return count


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def export_csv(run: RunView, target: Path) -> int:
    """`write_csv` to a file that appears whole or not at all."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            count = write_csv(run, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise disk_error(error, target) from error
    return count


def export_tensorboard(run: RunView, folder: Path) -> tuple[Path, int]:
    """Scalars and sample pictures as TensorBoard events in ``folder/<run>``; gives that folder and the number of rows.

    Needs the extra "tensorboard". A folder that already holds events is refused: they would be shown twice.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise UsageError("--tensorboard needs an extra: pip install 'gentool[tensorboard]' (or use --csv).") from None
    target = folder / run.name
    if target.is_dir() and any(target.glob("events.out.tfevents.*")):
        raise UsageError(f"'{safe_text(target)}' already holds events; name another folder, or remove it first.")
    begun = run.started or 0.0
    count = 0
    try:
        writer = EventFileWriter(str(target))
        try:
            for row in merged_rows(run.path / "metrics.jsonl"):
                values = [Summary.Value(tag=safe_text(n), simple_value=v) for n, v in row.items() if n not in _FIRST]
                when = begun + row.get("t", 0.0)
                writer.add_event(Event(wall_time=when, step=int(row["step"]), summary=Summary(value=values)))
                count += 1
            for path in run.samples:
                value = _picture(path, Summary)
                if value is not None:
                    step = int(path.stem) if path.stem.isascii() and path.stem.isdigit() else run.step or 0
                    writer.add_event(Event(wall_time=path.stat().st_mtime, step=step, summary=Summary(value=[value])))
        finally:
            writer.close()
    except OSError as error:
        raise disk_error(error, target) from error
    return target, count


def _picture(path: Path, summary: Any) -> Any:
    """A PNG as a summary value, or None where it is none."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            channels = len(picture.getbands())
        data = path.read_bytes()
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    tag = "samples" if path.stem.isdigit() else safe_text(path.stem)
    image = summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=data)
    return summary.Value(tag=tag, image=image)
