"""FID against the number of steps of a diffusion model's solvers, as a table and a plot.

    OMP_NUM_THREADS=1 python examples/compare_solvers.py [--source diffusion] [--checkpoint fashion-mnist] [-n 2000]
        [--solvers ddim:5,10,20,50 dpm-solver:5,10,20 heun:5,10 ddpm:100,1000] [--guidance G] [--out solvers.png] [--json]

Every solver starts from the same noise, draws the same classes and has the same guidance. The budget that counts is how
often the network is asked: heun asks twice at every moment but the last, the others once. FID's bias falls with n, so
figures are to be compared with each other and with the floor (unseen real pictures, as many) only; the project's standard
is n = 10,000.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gentool.evaluating import Curve
from gentool.registry import registry
from gentool.runs.source import open_source
from gentool.scoring import Scorer
from gentool.show.grid import save_png
from gentool.show.plots import plot_png
from gentool.show.tables import print_table

SOLVERS = ("ddim:5,10,20,50", "dpm-solver:5,10,20", "heun:5,10", "ddpm:20,100,1000")


def measured(source: Any, solver: str, steps: int, guidance: float, n: int) -> dict[str, Any]:
    """One row of the table; calls are those of the network for a picture (twice as many where guidance is not 1)."""
    changes = {"steps": steps, "guidance": guidance}
    scorer = Scorer(source, torch.device("cpu"), limit=n, sampler=solver, sampler_changes=changes)
    start = time.process_time()
    report = scorer.run(registry().find("evaluator", "fid"), {})
    spent = time.process_time() - start
    fid = next(s.value for s in report.scalars if s.name.startswith("FID ("))
    floor = next((s.value for s in report.scalars if s.name.startswith("FID floor")), float("nan"))
    calls = 2 * steps - 1 if solver == "heun" else steps
    return {
        "solver": solver,
        "steps": steps,
        "calls": calls,
        "FID": round(fid, 2),
        "floor": round(floor, 2),
        "CPU-s": round(spent),
    }


def plot(rows: list[dict[str, Any]], title: str, out: Path) -> None:
    """A curve for each solver, and the floor."""
    curves = []
    for solver in dict.fromkeys(row["solver"] for row in rows):
        mine = [row for row in rows if row["solver"] == solver]
        curves.append(Curve(solver, [row["calls"] for row in mine], [row["FID"] for row in mine]))
    floor = rows[0]["floor"]
    ends = [min(row["calls"] for row in rows), max(row["calls"] for row in rows)]
    curves.append(Curve("unseen real pictures", ends, [floor, floor]))
    save_png(plot_png(curves, ("calls of the network", "FID"), log_y=True, title=title), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="diffusion", help="a model, a run or a file of weights")
    parser.add_argument("--checkpoint", default=None, help="of a model's shipped ones")
    parser.add_argument("--solvers", nargs="+", default=SOLVERS, metavar="NAME:STEPS,STEPS")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--guidance", type=float, help="of all of them; as the source has it without")
    parser.add_argument("-n", type=int, default=2000, help="pictures of each")
    parser.add_argument("--out", type=Path, default=Path("solvers.png"), help="where the plot goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = open_source(
        options.source, options.runs, torch.device("cpu"),
        pretrained=options.checkpoint is not None, shipped=options.checkpoint,
    )  # fmt: skip
    guidance = options.guidance
    if guidance is None:
        guidance = float(source.meta.get("sampler_options", {}).get("guidance", 1.0))
    rows: list[dict[str, Any]] = []
    for item in options.solvers:
        solver, _, steps = item.partition(":")
        for count in steps.split(","):
            rows.append(measured(source, solver, int(count), guidance, options.n))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    plot(rows, f"{source.origin}, n = {options.n:,}", options.out)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print_table(rows)
    print(options.out, file=sys.stderr)


if __name__ == "__main__":
    main()
