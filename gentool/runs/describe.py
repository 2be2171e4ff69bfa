"""What `gentool runs show` and `gentool runs compare` print."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gentool.errors import UsageError, did_you_mean
from gentool.evaluating import Curve
from gentool.runs.metrics import Metrics, key_metric, key_rank, read_metrics
from gentool.runs.reader import RunView
from gentool.show import units
from gentool.show.scale import POINTS, running_mean
from gentool.show.tables import Column, pairs_text, print_json, print_table
from gentool.show.terminal import is_terminal, terminal_size
from gentool.show.text import safe_text, write

_ROWS = 4 * POINTS  # of a log that are read for a plot


def show_run(
    run: RunView,
    *,
    metrics: Sequence[str] = (),
    whole_config: bool = False,
    out: Path | None = None,
    images: str = "auto",
) -> None:
    """One run on stdout; `out` gets the plot as a PNG and its path is said last."""
    log = read_metrics(run.path, thin=_ROWS)
    curves = _curves(log, metrics) if len(log.rows) > 1 else []
    if out is not None and not curves:
        raise UsageError(f"The run {safe_text(run.name)} has no metrics to plot yet.")
    wide = terminal_size(sys.stdout)[0] - 1 if is_terminal(sys.stdout) else None
    write(safe_text(run.name) + "\n\n" + pairs_text(facts(run), width=wide))
    keys = run.config if whole_config else run.changed
    if keys:
        write("\nconfig" + ("" if whole_config else " (what is not a default)") + "\n")
        rows = [
            {"key": key, "value": shown_value(run.config[key]), "from": run.changed.get(key, "default")} for key in keys
        ]
        print_table(
            rows, [Column("key"), Column("value", shrink=True, align="left"), Column("from", priority=1, shrink=True)]
        )
    if log.rows:
        write("\n")
        print_table(_metric_rows(log, run), _METRIC_COLUMNS)
    if log.garbage:
        write(f"{log.garbage} line{'s' * (log.garbage > 1)} of metrics.jsonl could not be read and were passed over.\n")
    if curves:
        write("\n")
        _plot(curves, safe_text(run.name), out)
    if run.samples:
        _show_sample(run.samples[-1], images)
    write("\nnext\n" + "".join(f"  {line}\n" for line in next_commands(run)))
    if out is not None:
        print(safe_text(out))


def _time(run: RunView) -> str:
    """How long it trained: by the clock, and of CPU time where that is known."""
    clock = units.duration(run.seconds)
    return clock if run.cpu_seconds is None else f"{clock} ({units.duration(run.cpu_seconds)} of CPU time)"


def facts(run: RunView) -> list[tuple[str, object]]:
    meta = run.meta
    total = f" of {units.number(run.total)}" if run.total else ""
    kept = [str(saved.step) for saved in run.checkpoints if saved.whole]
    torn = [str(saved.step) for saved in run.checkpoints if not saved.whole]
    facts: list[tuple[str, object]] = [
        ("status", f"{run.status}: {run.reason}" if run.reason else run.status),
        (
            "model",
            run.model + (f", preset {run.preset}" if run.preset else "") + (f", loss {run.loss}" if run.loss else ""),
        ),
        ("data", run.data),
        ("steps", None if run.step is None else f"{units.number(run.step)}{total} in {_time(run)}"),
        ("started", _moment(run.started)),
        (
            "best",
            f"{run.best['name']} {units.number(run.best['value'])} at step {run.best['step']}" if run.best else None,
        ),
        ("checkpoints", (", ".join(kept[-8:]) or "none") + (f" (not whole: {', '.join(torn)})" if torn else "")),
        ("samples", f"{len(run.samples)}, the newest {run.samples[-1]}" if run.samples else None),
        ("size", units.size(run.size)),
        ("device", meta.get("device")),
        ("parameters", units.number(meta.get("parameters")) if meta.get("parameters") else None),
        ("versions", _versions(meta.get("versions"))),
        ("git", meta.get("git") or None),
        ("command", _command(meta.get("argv"))),
        ("folder", run.path),
    ]
    if run.config_problem:
        facts.append(("config", run.config_problem))
    return [(name, value) for name, value in facts if value not in (None, "")]


def _moment(when: float | None) -> str | None:
    if when is None:
        return None
    try:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    except (ValueError, OverflowError, OSError):
        return None
    return f"{stamp} ({units.age(time.time() - when)} ago)".replace("(now ago)", "(now)")


def _versions(found: object) -> str | None:
    return " ".join(f"{name} {version}" for name, version in found.items()) if isinstance(found, dict) else None


def _command(argv: object) -> str | None:
    return "gentool " + shlex.join(str(word) for word in argv) if isinstance(argv, list) and argv else None


def shown_value(value: object) -> str:
    """A value of a config as one would type it."""
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def next_commands(run: RunView) -> list[str]:
    name = safe_text(shlex.quote(str(run.path)))
    lines = []
    if run.status == "damaged" and not run.checkpoints:
        return [f"gentool runs rm {name}"]
    if run.status in ("interrupted", "stopped", "crashed", "failed") and run.checkpoints:
        lines.append(f"gentool resume {name}")
    elif run.status == "done" and run.total:
        lines.append(f"gentool resume {name} --steps {2 * run.total}")
    if run.checkpoints:
        lines += [f"gentool sample {name} -n 16", f"gentool eval {name}"]
    return [*lines, f"gentool runs export {name} --csv metrics.csv"]


# -- metrics and curves ------------------------------------------------------------------------------------------------

_METRIC_COLUMNS = [
    Column("metric", shrink=True, least=12),
    Column("last", align="right"),
    Column("lowest", align="right", priority=2),
    Column("at step", align="right", priority=3),
    Column("highest", align="right", priority=4),
    Column("points", align="right", priority=5),
]


def _metric_rows(log: Metrics, run: RunView) -> list[dict[str, Any]]:
    rows = []
    newest = {**log.last(), **run.last}
    for name in log.names():
        curve = log.series(name)
        known = [(y, x) for x, y in zip(curve.x, curve.y, strict=True) if y == y]
        low, at = min(known, default=(None, None))
        high = max(known, default=(None, None))[0]
        rows.append(
            {
                "metric": name,
                "last": newest[name],
                "lowest": low,
                "at step": at,
                "highest": high,
                "points": len(curve.x),
            }
        )
    return rows


def _curves(log: Metrics, wanted: Sequence[str]) -> list[Curve]:
    names = log.names()
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"No metric is called '{safe_text(name)[:60]}'.{did_you_mean(safe_text(name)[:60], names)}"
            )
    chosen = list(wanted) or [name for name in names if name.endswith("/loss")][:4] or names[:1]
    return [log.series(name) for name in reversed(chosen)]  # what matters most is drawn last, on top


def _plot(curves: Sequence[Curve], title: str, out: Path | None) -> None:
    from gentool.show.plots import plot_png, plot_terminal

    log_y = wants_log(curves)
    smooth = [running_mean(curve) for curve in curves]
    plot_terminal(smooth, ("step", ""), log_y=log_y, stream=sys.stdout)
    if out is not None:
        from gentool.show.grid import save_png

        save_png(plot_png(smooth, ("step", ""), log_y=log_y, title=title), out)


def wants_log(curves: Sequence[Curve]) -> bool:
    """Whether a log axis shows more: all positive, and over three powers of ten apart."""
    values = [y for curve in curves for y in curve.y if y == y]
    return bool(values) and min(values) > 0 and max(values) > 1000 * min(values)


def _show_sample(path: Path, images: str) -> None:
    from PIL import Image

    from gentool.show.terminal import show_image

    if path.suffix == ".txt":
        _show_text(path)
        return
    if images == "off" or not (is_terminal(sys.stdout) or images != "auto"):
        return
    try:
        with Image.open(path) as picture:
            picture.load()
            show_image(picture, mode=images, title=str(path.name))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        write(f"{safe_text(path.name)} cannot be read as a picture.\n", sys.stderr)


def _show_text(path: Path) -> None:
    """The first lines of a text that a model wrote."""
    from gentool.show.words import excerpt

    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(10_000)
    except OSError:
        return
    write(f"\n{safe_text(path.name)}\n{excerpt(text, 12, 80)}\n")


# -- several runs ------------------------------------------------------------------------------------------------------


def differing_keys(runs: Sequence[RunView]) -> list[str]:
    """The config keys in which runs differ, in order; one that a run lacks differs too."""
    keys = sorted({key for run in runs for key in run.config})
    return [key for key in keys if len({repr(run.config.get(key)) for run in runs}) > 1]


def compare_runs(
    runs: Sequence[RunView], *, metrics: Sequence[str] = (), out: Path | None = None, as_json: bool = False
) -> None:
    """Several runs beside each other on stdout, each under a letter."""
    letters = [chr(ord("A") + i) for i in range(len(runs))]
    logs = [read_metrics(run.path, thin=_ROWS) for run in runs]
    differ = differing_keys(runs)
    names = sorted({name for log in logs for name in log.names()}, key=key_rank)
    last = [{**log.last(), **run.last} for log, run in zip(logs, runs, strict=True)]
    if as_json:
        print_json(
            {
                "runs": [run.to_json() for run in runs],
                "costs": [run_costs(run) for run in runs],
                "config": {key: [run.config.get(key) for run in runs] for key in differ},
                "metrics": {name: [one.get(name) for one in last] for name in names},
            }
        )
        return
    curves = _overlaid(letters, runs, logs, metrics)
    if out is not None and not curves:
        raise UsageError("These runs share no metric to plot; name one with --metric.")
    columns = [Column(letter, align="right", shrink=True, least=9) for letter in letters]
    overview = [Column("run", " "), Column("id", "run", shrink=True, least=22), Column("status", priority=1),
                Column("step", align="right", priority=2), Column("time", align="right", priority=3),
                Column("cpu", "CPU time", align="right", priority=4)]  # fmt: skip
    print_table(
        [
            {"run": letter, "id": run.name, "status": run.status, "step": run.step}
            | {"time": units.duration(run.seconds), "cpu": units.duration(run.cpu_seconds)}
            for letter, run in zip(letters, runs, strict=True)
        ],
        overview,
    )
    for problem in {run.config_problem for run in runs if run.config_problem}:
        write(f"Some configs are not compared: {problem}.\n")
    costs = [run_costs(run) for run in runs]
    if any(costs):
        write("\nwhat they are and cost\n")
        facts = [
            {"what": what, **dict(zip(letters, (cost.get(what, "-") for cost in costs), strict=True))}
            for what in dict.fromkeys(what for cost in costs for what in cost)
        ]
        print_table(facts, [Column("what", shrink=True, least=12), *columns])
    write("\nconfig: " + ("where they differ\n" if differ else "no difference\n"))
    table = [
        {"key": key, **dict(zip(letters, (shown_value(run.config.get(key, "-")) for run in runs), strict=True))}
        for key in differ
    ]
    print_table(table, [Column("key", shrink=True, least=12), *columns])
    if names:
        write("\nlast metrics\n")
        rows = [
            {"metric": name, **{letter: one.get(name) for letter, one in zip(letters, last, strict=True)}}
            for name in names
        ]
        print_table(rows, [Column("metric", shrink=True, least=12), *columns])
    if curves:
        write("\n")
        _plot(curves, f"{len(runs)} runs", out)
    if out is not None:
        print(safe_text(out))


def run_costs(run: RunView) -> dict[str, str]:
    """What a net is and costs: its size, its speed in what it reads, its memory, and what its own class says of it."""
    found: dict[str, str] = {}
    parameters, peak, facts = (run.meta.get(key) for key in ("parameters", "peak_bytes", "facts"))
    if isinstance(parameters, int):
        found["parameters"] = units.number(parameters)
    batch, window = run.config.get("train.batch_size"), run.config.get("data.window")
    on_cpu = bool(run.cpu_seconds) and " thread" in str(run.meta.get("device"))  # a GPU's work takes none
    seconds = run.cpu_seconds if on_cpu else run.seconds
    if seconds and run.step and isinstance(batch, int):
        rate = batch * run.step / seconds
        found[("tokens/" if isinstance(window, int) else "examples/") + ("CPU-s" if on_cpu else "s")] = units.number(
            rate * window if isinstance(window, int) else rate
        )
    if isinstance(peak, int) and peak > 0:
        found["peak memory"] = units.size(peak)
    if isinstance(facts, dict):
        for name, value in facts.items():
            found[safe_text(str(name))] = safe_text(value) if isinstance(value, str) else units.number(value)
    return found


def _overlaid(
    letters: Sequence[str], runs: Sequence[RunView], logs: Sequence[Metrics], wanted: Sequence[str]
) -> list[Curve]:
    there = [set(log.names()) for log in logs]
    everywhere = set.union(*there)
    for name in wanted:
        if name not in everywhere:
            hint = did_you_mean(safe_text(name)[:60], everywhere)
            raise UsageError(f"No metric of these runs is called '{safe_text(name)[:60]}'.{hint}")
    common = key_metric(set.intersection(*there))
    chosen = list(wanted) or ([common] if common else [])
    return [
        Curve(f"{letter} {run.model or run.name}: {name}", *_xy(log.series(name)))
        for name in chosen
        for letter, run, log in zip(letters, runs, logs, strict=True)
        if name in log.names()
    ]


def _xy(curve: Curve) -> tuple[Sequence[float], Sequence[float]]:
    return curve.x, curve.y
