"""The exact densities side by side on one data set: trains what is not trained yet, then measures.

    OMP_NUM_THREADS=1 python examples/compare_densities.py [--data digits] [--steps N] [--runs runs] [--out FILE.png] [--json]

nade, made, pixelrnn (row-lstm and diagonal-bilstm) and pixelcnn over the same binarised pictures: each is a run named
compare-KIND-DATA in the runs folder (one that is there is used, one that was stopped goes on), so the command can be given
again. Of each: parameters, CPU seconds of its training and of drawing pictures, nats and bits/dim of the test split. The
plot has the nats of the validation split over the CPU seconds of the training.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gentool.evaluating import Curve
from gentool.runs.metrics import iter_metrics
from gentool.runs.reader import list_runs
from gentool.runs.source import open_source
from gentool.sampling import Samples, draw
from gentool.scoring import Scorer, choose, sampler_of
from gentool.show.grid import save_png
from gentool.show.plots import plot_png
from gentool.show.tables import print_table

# kind -> model, and what is set beside the preset of the data set (or the model's defaults, where it has none).
KINDS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "nade": ("nade", {"mnist": "mnist"}, []),
    "made": ("made", {"mnist": "mnist"}, []),
    "row-lstm": ("pixelrnn", {"mnist": "mnist-row-lstm"}, ["model.kind=row-lstm"]),
    "diagonal-bilstm": ("pixelrnn", {"mnist": "mnist"}, ["model.kind=diagonal-bilstm"]),
    "pixelcnn": ("pixelcnn", {"mnist": "mnist"}, []),
}


def trained(kind: str, options: argparse.Namespace) -> Any:
    """The finished run of a kind, trained (or gone on with) by the command line."""
    from gentool.cli import run as gentool

    name = f"compare-{kind}-{options.data}"
    there = [view for view in list_runs(options.runs) if view.meta.get("name") == name]
    if there and there[0].status == "done":
        return there[0]
    if there:
        with contextlib.redirect_stdout(sys.stderr):
            code = gentool(["resume", str(there[0].path), "--quiet"])
    else:
        model, presets, sets = KINDS[kind]
        call = ["train", model, "--data", options.data, "--runs", str(options.runs), "--name", name, "--quiet"]
        call += ["--preset", presets[options.data]] if options.data in presets else []
        call += ["--steps", str(options.steps)] if options.steps else []
        sets = [*sets, f"data.binarize={options.binarize}", "data.levels=256", "preview.n=0"]
        call += [word for item in sets for word in ("--set", item)]
        print(f"gentool {' '.join(call)}", file=sys.stderr)
        with contextlib.redirect_stdout(sys.stderr):
            code = gentool(call)
    if code:
        raise SystemExit(code)
    return next(view for view in list_runs(options.runs) if view.meta.get("name") == name)


def sampling_seconds(source: Any, n: int) -> float:
    """The least CPU time of three draws of n pictures by the model's own sampler."""
    spec, settings = sampler_of(source)
    times = []
    for _ in range(3):
        start = time.process_time()
        events = draw(source.model, spec, settings, n, seed=0, device="cpu", chunk=n)
        assert sum(len(event) for event in events if isinstance(event, Samples)) == n
        times.append(time.process_time() - start)
    return min(times)


def measured(kind: str, view: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    source = open_source(str(view.path), options.runs, torch.device("cpu"))
    scorer = Scorer(source, torch.device("cpu"), limit=options.limit)
    figures = {}
    for spec in choose(source, ("nll", "bits-per-dim")):
        figures |= {scalar.name: scalar.value for scalar in scorer.run(spec, {}).scalars}
    seconds = sampling_seconds(source, options.pictures)
    return {
        "model": kind,
        "parameters": sum(p.numel() for p in source.model.parameters()),
        "training s": round(view.cpu_seconds or view.seconds, 1),
        "steps": view.step,
        f"{options.pictures} pictures s": round(seconds, 4),
        "nats": round(figures["NLL"], 2),
        "bits/dim": round(figures["bits/dim"], 4),
    }


def curve(kind: str, view: Any) -> Curve:
    """Nats of the validation split over CPU seconds of training (the clock's, where a run did not count them)."""
    rows = [row for row in iter_metrics(view.path / "metrics.jsonl") if "validation/model/nll" in row]
    busy = (view.cpu_seconds or view.seconds) / view.seconds
    return Curve(kind, [row["t"] * busy for row in rows], [row["validation/model/nll"] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--binarize", default="fixed", choices=["fixed", "threshold", "stochastic"])
    parser.add_argument("--steps", type=int, default=0, help="of each; 0: as many as the recipes say")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--limit", type=int, default=None, help="score at most so many test pictures")
    parser.add_argument("--pictures", type=int, default=16, help="how many are drawn and timed")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--out", type=Path, default=Path("densities.png"), help="where the plot goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    views = {kind: trained(kind, options) for kind in options.kinds}
    rows = [measured(kind, view, options) for kind, view in views.items()]
    curves = [curve(kind, view) for kind, view in views.items()]
    title = f"{options.data}, binarised ({options.binarize}): nats of the validation split"
    save_png(plot_png(curves, ("CPU seconds of training", "nats"), title=title), options.out)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print_table(rows)
    print(options.out, file=sys.stderr)


if __name__ == "__main__":
    main()
