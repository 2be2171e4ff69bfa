"""The ways to treat a sequence, side by side on one budget of CPU time: charlm's presets rnn, gru, lstm, tcn, attention.

    OMP_NUM_THREADS=1 python examples/compare_cells.py [--data tinyshakespeare] [--cpu-seconds 110] [--runs runs/cells]

Of each a few steps are timed, so many are trained as the budget allows, and the whole held-out text is read with the state
carried along. The runs stay in --runs: `gentool runs compare` shows them with their curves, memory and settings.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gentool.config import Layer, resolve
from gentool.evaluating import Report
from gentool.registry import registry
from gentool.runs.source import open_source
from gentool.scoring import Scorer
from gentool.show.tables import print_table
from gentool.training import session
from gentool.training.trainer import Hooks

CELLS = ("rnn", "gru", "lstm", "tcn", "attention")


def plan(cell: str, data: str, steps: int, precision: str) -> session.Plan:
    changes = {
        "data.name": data,
        "train.steps": steps,
        "train.precision": precision,
        "validation.examples": 0,
        "preview.n": 0,
        "checkpoint.every": steps,
    }
    return session.plan(resolve("charlm", [Layer("compare_cells", changes)], cell))


def step_seconds(made: session.Plan, runs: Path) -> float:
    """CPU time of a training step, the median of five after two."""
    trainer = session.trainer(made, session.begin(made, runs / "timing", None, None), Hooks())
    taken = []
    for index in range(7):
        start = time.process_time()
        trainer.one_step(index)
        taken.append(time.process_time() - start)
    return sorted(taken[2:])[2]


def train(cell: str, data: str, budget: float, precision: str, runs: Path) -> dict[str, Any]:
    a_step = step_seconds(plan(cell, data, 10, precision), runs)
    steps = max(10, round(budget / a_step))
    made = plan(cell, data, steps, precision)
    folder = session.begin(made, runs, cell, cell)
    with session.opened(folder):
        trainer = session.trainer(made, folder, Hooks())
        trainer.begin()
        folder.update(status=trainer.fit(), **trainer.spent_time())
    source = open_source(str(folder.path), runs, torch.device("cpu"))
    spec = registry().find("evaluator", "perplexity")
    report: Report = Scorer(source, torch.device("cpu")).run(spec, {})
    nats = next(s.value for s in report.scalars if s.name == "nats/char")
    spent = trainer.spent_time()["cpu_seconds"]
    tokens = steps * made.config["train"].batch_size * made.config["data"].window
    return {
        "cell": cell,
        "parameters": f"{made.parameters:,}",
        "steps": steps,
        "CPU-s": round(spent),
        "tokens/CPU-s": f"{tokens / spent:,.0f}",
        **made.model.facts(),  # type: ignore[operator]
        "nats/char": round(nats, 4),
        "protocol": report.protocol,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="tinyshakespeare")
    parser.add_argument("--cpu-seconds", type=float, default=110.0)
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--runs", type=Path, default=Path("runs/cells"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    for cell in asked.cells:
        rows.append(train(cell, asked.data, asked.cpu_seconds, asked.precision, asked.runs))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps(rows, indent=1))
        return
    print(rows[0]["protocol"])
    print_table([{key: value for key, value in row.items() if key != "protocol"} for row in rows])


if __name__ == "__main__":
    main()
