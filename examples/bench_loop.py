"""The host's overhead: gentool's training loop against a bare hand-written one, same model, same process, CPU time.

    OMP_NUM_THREADS=1 python examples/bench_loop.py [--data mnist] [--steps 300] [--rounds 7]

Both do the same work: batches of 64, the vae's ELBO, backward, fused AdamW. The bare loop indexes a tensor and reads the
loss every step, as people write it. Rounds alternate; the figure is the median of the ratios of rounds side by side.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from gentool.config import Layer, resolve
from gentool.data.batch import Batch
from gentool.randomness import Step
from gentool.registry import registry
from gentool.runs.folder import MetricsLog
from gentool.training import session
from gentool.training.trainer import Hooks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    layer = Layer(
        "bench",
        {
            "data.name": options.data,
            "model.hidden": [512],
            "model.latent": 16,
            "train.batch_size": 64,
            "train.steps": 10**6,
            "schedule.name": "constant",
            "preview.n": 0,
            "validation.examples": 0,
        },
    )
    made = session.plan(resolve("vae", [layer]))
    with tempfile.TemporaryDirectory() as root:
        folder = session.begin(made, Path(root), None, None)
        trainer = session.trainer(made, folder, Hooks())
        trainer.log = MetricsLog(folder.path / "metrics.jsonl")

        def ours(first: int) -> float:
            start = time.process_time()
            for step in range(first, first + options.steps):
                trainer._record(step, 0.0, trainer.one_step(step))
                folder.heartbeat(step=step)
            return (time.process_time() - start) / options.steps

        bare_model = session.plan(made.config).model
        objective = registry().load(made.config.loss_spec.factory)(made.config["loss"])
        optimiser = torch.optim.AdamW(bare_model.parameters(), 1e-3, fused=True)
        split = made.pipeline.split("train")
        levels = made.info.levels - 1
        images = split.images.float() * (2 / levels) - 1

        def bare(first: int) -> float:
            start = time.process_time()
            for step in range(first, first + options.steps):
                x = images[torch.randint(len(images), (64,))]
                for phase in objective(bare_model, Batch(images=x), Step(seed=0, index=step)):
                    phase.loss.backward()
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                    phase.loss.item()
            return (time.process_time() - start) / options.steps

        ours(0), bare(0)
        pairs = [(ours(1000 * r), bare(1000 * r)) for r in range(1, options.rounds + 1)]
        trainer.log.close()
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"data {options.data}, batch 64, {made.parameters:,} parameters, {torch.get_num_threads()} thread(s)")
    print(f"gentool {1e3 * statistics.median(a for a, _ in pairs):.3f} ms a step, CPU time")
    print(f"bare    {1e3 * statistics.median(b for _, b in pairs):.3f} ms a step, CPU time")
    print(f"ratio   {ratio:.3f} (median of {options.rounds} rounds side by side)")


if __name__ == "__main__":
    main()
