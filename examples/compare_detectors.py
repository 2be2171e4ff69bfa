"""R-CNN, Fast R-CNN and Faster R-CNN side by side on the same data: trains what is not trained yet, then measures.

    OMP_NUM_THREADS=1 python examples/compare_detectors.py [--data bccd] [--preset bccd] [--steps N] [--runs runs] [--json]

Each model is a run named compare-MODEL-DATA in the runs folder (one that is there is used, one that was stopped goes on),
so the command can be given again. Of each, on the test split: AP50 and AP, the recall of its proposals at IoU 0.5, the
seconds of CPU time a picture, what share of these goes into proposals (searched anew, not taken from the cache; of
Faster R-CNN the proposal network and its suppression), and the CPU seconds of its training.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gentool.runs.reader import list_runs
from gentool.runs.source import Source, open_source
from gentool.scoring import Scorer, choose
from gentool.show.tables import print_table

MODELS = ("rcnn", "fast-rcnn", "detect")
NAMES = {"rcnn": "R-CNN", "fast-rcnn": "Fast R-CNN", "detect": "Faster R-CNN"}


def trained(model: str, options: argparse.Namespace) -> Any:
    """The finished run of a model, trained (or gone on with) by the command line."""
    from gentool.cli import run as gentool

    name = f"compare-{model}-{options.data}"
    there = [view for view in list_runs(options.runs) if view.meta.get("name") == name]
    if not there:
        call = ["train", model, "--data", options.data, "--runs", str(options.runs), "--name", name, "--quiet"]
        call += ["--set", "preview.n=0"]
        call += ["--preset", options.preset] if options.preset else []
        call += ["--steps", str(options.steps)] if options.steps else []
        print(f"gentool {' '.join(call)}", file=sys.stderr)
        code = gentool(call)
    elif there[0].status != "done":
        code = gentool(["resume", str(there[0].path), "--quiet"])
    else:
        return there[0]
    if code:
        raise SystemExit(code)
    return next(view for view in list_runs(options.runs) if view.meta.get("name") == name)


class Clock:
    """CPU seconds spent in functions that are wrapped."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **keywords: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                self.seconds += time.process_time() - start

        return timed


def timing(source: Source, scorer: Scorer, pictures: int) -> tuple[float, float]:
    """CPU seconds a picture, and the share of the proposals, one picture at a time."""
    model: Any = source.model
    clock = Clock()
    model.propose = clock.wrap(model.propose)
    if hasattr(model, "rpn"):
        model.rpn.forward = clock.wrap(model.rpn.forward)
    batches = [batch for big in scorer.pipeline.batches("test", 8, pictures) for batch in big.chunk(len(big))]
    model.detect(batches[0].images, batches[0].extra["size"])  # what is only done once
    clock.seconds, start = 0.0, time.process_time()
    for batch in batches:
        model.detect(batch.images, batch.extra["size"])
    total = time.process_time() - start
    return total / len(batches), clock.seconds / total


def measured(view: Any, options: argparse.Namespace) -> dict[str, object]:
    """One row of the table."""
    source = open_source(str(view.path), options.runs, torch.device("cpu"))
    scorer = Scorer(source, torch.device("cpu"), limit=options.limit)
    figures: dict[str, float] = {}
    for spec in choose(source, ("map", "proposal-recall")):
        figures |= {scalar.name: scalar.value for scalar in scorer.run(spec, {}).scalars}
    with tempfile.TemporaryDirectory() as empty:  # of cached proposals
        os.environ["XDG_CACHE_HOME"] = empty
        seconds, share = timing(source, scorer, options.pictures)
    return {
        "model": NAMES[source.spec.name],
        "AP50": round(figures["AP50"], 3),
        "AP": round(figures["AP"], 3),
        "proposals": round(figures["proposals a picture"]),
        "recall": round(figures["recall at IoU 0.5"], 3),
        "s a picture": round(seconds, 3),
        "of it proposals": f"{100 * share:.0f} %",
        "training s": round(view.cpu_seconds or view.seconds),
        "steps": view.step,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="bccd")
    parser.add_argument("--preset", default="bccd", help="of each model; empty: its defaults")
    parser.add_argument("--steps", type=int, default=0, help="0: as many as the presets say")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--limit", type=int, default=None, help="score at most so many test pictures")
    parser.add_argument("--pictures", type=int, default=10, help="how many are timed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(trained(model, options), options) for model in MODELS]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
