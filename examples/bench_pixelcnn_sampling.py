"""How much faster the caching samplers of pixelcnn are than evaluating the whole net again for every pixel.

    OMP_NUM_THREADS=1 python examples/bench_pixelcnn_sampling.py [--layers 15] [--channels 32] [--full]

For 16 and 256 pictures of 28x28: times in one run, and whether the pixels are equal. Evaluating anew is timed on some
pixels spread over the picture and scaled to all 784 (each costs the same), unless --full, which also compares its pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from gentool import DataInfo, Step
from gentool.registry import build_model, registry


def seconds(run: Callable[..., Any], *args: Any, repeat: int = 1, **options: Any) -> tuple[float, Any]:
    """The median of `repeat` timed calls in CPU seconds of this process, and the last result."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        result = run(*args, **options)
        times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2], result


def measure(model: Any, n: int, places: int) -> None:
    """One line: the three ways to draw n pictures with one seed."""
    load, step = registry().load, Step(seed=1)
    reevaluate = load("gentool_autoregressive.sampler:reevaluate")
    slope = load("gentool_autoregressive.field:slope")(model.config)
    anew, grid = seconds(reevaluate, model, n, step=step, places=places)
    anew *= 784 / places
    print(f"field={model.config.field} (slope {slope}), n={n}: anew {anew:.1f} s", end="")
    drawn = {}
    for name in ("ancestral", "wavefront"):
        sampler = load(registry().find("sampler", name).factory)
        with torch.no_grad():
            took, events = seconds(lambda s=sampler: list(s(model, n, step=step)), repeat=3 if n < 100 else 1)
        drawn[name] = model.quantise(events[-1].images)
        print(f", {name} {took:.3f} s = {anew / took:.0f}x", end="")
    same = torch.equal(drawn["ancestral"], drawn["wavefront"])
    if places == 784:
        same = same and torch.equal(grid, drawn["ancestral"])
    print(f", pixels {'equal' if same else 'DIFFER'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=15)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--pictures", type=int, nargs="*", default=[16, 256])
    parser.add_argument("--fields", nargs="*", default=["cone", "full"])
    parser.add_argument("--places", type=int, default=8, help="pixels on which evaluating anew is timed")
    parser.add_argument("--full", action="store_true", help="evaluate anew for all pixels (a minute or more)")
    args = parser.parse_args()
    print(f"{args.layers} layers, {args.channels} channels, 28x28, {torch.get_num_threads()} thread(s), CPU seconds")
    for field in args.fields:
        torch.manual_seed(0)
        info = DataInfo(image=(1, 28, 28), levels=2)
        model = build_model("pixelcnn", info, layers=args.layers, channels=args.channels, field=field).eval()
        for n in args.pictures:
            measure(model, n, 784 if args.full else args.places)


if __name__ == "__main__":
    main()
