"""A training step of nade, and drawing from nade, made and pixelrnn, against the plain ways to compute them.

    python examples/bench_densities.py [--hidden 8000] [--pictures 16] [--passes 8] [--json]

Seconds of one thread, best of a few; all in one run, since only their ratios mean anything on a busy machine. A pass for
every pixel is timed on `--passes` of the 784 and scaled up; the pictures of both ways are compared on a smaller net.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
import torch.nn.functional as F
from gentool_autoregressive import MadeConfig, NadeConfig, PixelRNNConfig
from gentool_autoregressive.incremental import full_passes
from gentool_autoregressive.made import Made
from gentool_autoregressive.nade import Nade
from gentool_autoregressive.pixelrnn import PixelRNN
from gentool_autoregressive.sampler import reevaluate

from gentool import DataInfo, Step

INFO = DataInfo(image=(1, 28, 28), levels=2)


def seconds(work, repeats: int) -> float:
    """The least CPU time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def drain(events):
    for event in events:
        last = event
    return last


def autograd_loop(model: Nade, x: torch.Tensor) -> torch.Tensor:
    """Equations 9 and 10 as they stand: autograd keeps the hidden layer of every pixel."""
    a, logits = model.c.expand(len(x), -1), []
    for d in range(x.shape[1]):
        logits.append(torch.sigmoid(a) @ model.v[d] + model.bias[d])
        a = a + x[:, d, None] * model.w[d]
    return F.binary_cross_entropy_with_logits(torch.stack(logits, 1), x, reduction="none").sum(1).mean()


def train_nade(share: float) -> dict[str, float]:
    """One step of 100 pictures through 500 hidden units; `share` of their pixels are 1 (MNIST: 0.13)."""
    model = Nade(NadeConfig(hidden=500), INFO)
    images = (torch.rand(100, 1, 28, 28) < share).long()
    flat = images.flatten(1).float()

    def mine():
        (-model.log_prob_levels(images).mean()).backward()

    def plain():
        autograd_loop(model, flat).backward()

    torch.testing.assert_close(-model.log_prob_levels(images).mean(), autograd_loop(model, flat), rtol=1e-4, atol=1e-3)
    return {"autograd loop": seconds(plain, 3), "chain": seconds(mine, 5)}


def draw(model, n: int, passes: int, again=full_passes) -> dict[str, float]:
    """Pictures by the model's own way, and by the whole net again for every pixel."""
    step = Step(seed=0)
    full = seconds(lambda: again(model, n, step=step, places=passes), 1) * 784 / passes
    with torch.no_grad():
        return {"784 passes": full, "cached": seconds(lambda: drain(model.draw_levels(n, step=step)), 3)}


def pixelrnn(kind: str, layers: int, side: int = 28) -> PixelRNN:
    info = DataInfo(image=(1, side, side), levels=2)
    return PixelRNN(PixelRNNConfig(kind=kind, hidden=32, layers=layers, first_kernel=7 if side > 7 else 3), info)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=8000)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for small in (Made(MadeConfig(hidden=300), INFO), Nade(NadeConfig(hidden=100), INFO)):
        drawn = drain(small.draw_levels(4, step=Step(seed=1)))
        assert torch.equal(drawn, full_passes(small, 4, step=Step(seed=1))), "the pictures differ"
    for kind in ("row-lstm", "diagonal-bilstm"):
        small = pixelrnn(kind, 2, side=7).double()
        drawn = drain(small.draw_levels(4, step=Step(seed=1)))
        assert torch.equal(drawn, reevaluate(small, 4, step=Step(seed=1))), "the pictures differ"
    n = options.pictures
    rows = {
        "nade, training step (100 x 784-500-784, 13 % ones)": train_nade(0.13),
        "nade, training step (50 % ones)": train_nade(0.5),
        f"made, {n} pictures (784-{options.hidden}-784)": draw(
            Made(MadeConfig(hidden=options.hidden, layers=1, direct=False), INFO), n, options.passes
        ),
        f"made, {n} pictures (784-1100-1100-784, direct)": draw(Made(MadeConfig(hidden=1100), INFO), n, options.passes),
        f"nade, {n} pictures (784-500-784)": draw(Nade(NadeConfig(hidden=500), INFO), n, options.passes),
        f"row-lstm, {n} pictures (2 layers, h = 32)": draw(pixelrnn("row-lstm", 2), n, options.passes, reevaluate),
        f"diagonal-bilstm, {n} pictures (1 layer, h = 32)": draw(
            pixelrnn("diagonal-bilstm", 1), n, options.passes, reevaluate
        ),
    }
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for name, times in rows.items():
        (slow, a), (fast, b) = times.items()
        print(f"{name:54} {slow} {a:8.3f} s   {fast} {b:7.4f} s   {a / b:6.1f}x")


if __name__ == "__main__":
    main()
