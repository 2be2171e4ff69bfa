"""Training steps of other libraries beside gentool's, same sizes, one process, CPU time.

    pip install --no-deps pythae vector-quantize-pytorch einops einx frozendict loguru torch-einops-utils imageio
    OMP_NUM_THREADS=1 python examples/bench_peers.py [--rounds 5] [--only vae|quantiser]

vae: 784-512-16, batches of 128 pictures: a whole epoch by pythae's trainer, its model in a bare loop, and gentool's
trainer with everything it does beside (metrics log, checks for NaN). quantiser: lookup, straight-through gradient and
EMA update of a codebook on the same vectors. What is not installed is left out, and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from gentool.config import Layer, resolve
from gentool.randomness import Step
from gentool.runs.folder import MetricsLog
from gentool.training import session
from gentool.training.trainer import Hooks

STEPS, BATCH = 100, 128


def vae() -> dict[str, Callable[[], float]]:
    """CPU seconds of 100 steps, by each way to train it."""
    layer = Layer(
        "bench",
        {
            "data.name": "mnist",
            "data.binarize": "threshold",
            "data.limit": STEPS * BATCH,
            "model.hidden": [512],
            "model.latent": 16,
            "model.activation": "relu",
            "train.batch_size": BATCH,
            "train.steps": 10**6,
            "schedule.name": "constant",
            "optim.model.name": "adam",
            "preview.n": 0,
            "validation.examples": 0,
        },
    )
    made = session.plan(resolve("vae", [layer]))
    folder = session.begin(made, Path(tempfile.mkdtemp()), None, None)
    trainer = session.trainer(made, folder, Hooks())
    trainer.log = MetricsLog(folder.path / "metrics.jsonl")
    done = 0

    def ours() -> float:
        nonlocal done
        start = time.process_time()
        for step in range(done, done + STEPS):
            trainer._record(step, 0.0, trainer.one_step(step))
            folder.heartbeat(step=step)
        done += STEPS
        return time.process_time() - start

    ways: dict[str, Callable[[], float]] = {"gentool": ours}
    try:
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
    except ImportError as error:
        print(f"pythae is left out: {error}")
        return ways
    logging.disable(logging.CRITICAL)
    pictures = (made.pipeline.split("train").images.float()).clamp(0, 1)

    def net() -> nn.Module:
        return VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce"))

    def peer() -> float:
        config = BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(), num_epochs=1, per_device_train_batch_size=BATCH, learning_rate=1e-3,
            optimizer_cls="Adam", no_cuda=True,
        )  # fmt: skip
        data = BaseDataset(pictures, torch.zeros(len(pictures)))
        with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            theirs = BaseTrainer(model=net(), train_dataset=data, training_config=config)
            theirs.prepare_training()
            start = time.process_time()
            theirs.train_step(epoch=1)
            return time.process_time() - start

    bare_net = net()
    optimiser = torch.optim.Adam(bare_net.parameters(), 1e-3)

    def bare() -> float:
        start = time.process_time()
        for _ in range(STEPS):
            batch = {"data": pictures[torch.randint(len(pictures), (BATCH,))]}
            loss = bare_net(batch).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return time.process_time() - start

    return {**ways, "pythae's trainer": peer, "pythae's model, bare loop": bare}


def quantiser(n: int, codes: int, dim: int) -> dict[str, Callable[[], float]]:
    """CPU seconds of one training step of the quantiser on n vectors."""
    from gentool.kernels import load_kernels  # noqa: F401  (registers the ops)
    from gentool.registry import registry

    side = int(n / 64) ** 0.5
    assert side == int(side), "n is 64 square grids"
    z = torch.randn(64, int(side), int(side), dim)
    book = registry().load("gentool_vqvae.codebook:Codebook")(codes, dim, ema=True, decay=0.99)
    with torch.no_grad():
        book.initialise(z.reshape(-1, dim), Step(seed=0), "samples")

    def timed(step: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], float]:
        def run() -> float:
            x = z.clone().requires_grad_()
            start = time.process_time()
            step(x).backward()
            return time.process_time() - start

        return run

    def ours(x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, dim)
        index, quantised = book(flat)
        book.update(flat.detach(), index)
        return (quantised * flat.detach()).sum() + 0.25 * (flat - quantised.detach()).square().mean()

    ways = {"gentool": timed(ours)}
    try:
        from pythae.models.vq_vae.vq_vae_config import VQVAEConfig
        from pythae.models.vq_vae.vq_vae_utils import QuantizerEMA

        config = VQVAEConfig(input_dim=(1, 28, 28), latent_dim=dim, num_embeddings=codes)
        config.embedding_dim = dim
        theirs = QuantizerEMA(config)

        def pythae(x: torch.Tensor) -> torch.Tensor:
            out = theirs(x)
            return (out.quantized_vector.permute(0, 2, 3, 1) * x.detach()).sum() + out.loss

        ways["pythae"] = timed(pythae)
    except ImportError as error:
        print(f"pythae is left out: {error}")
    try:
        from vector_quantize_pytorch import VectorQuantize

        other = VectorQuantize(dim=dim, codebook_size=codes, decay=0.99, commitment_weight=0.25)

        def lucid(x: torch.Tensor) -> torch.Tensor:
            quantised, _, loss = other(x.reshape(64, -1, dim))
            return (quantised * x.detach().reshape(64, -1, dim)).sum() + loss.sum()

        ways["vector-quantize-pytorch"] = timed(lucid)
    except ImportError as error:
        print(f"vector-quantize-pytorch is left out: {error}")
    return ways


def compare(title: str, ways: dict[str, Callable[[], float]], per: int, rounds: int) -> None:
    """Every way in turn, again and again; the medians and the ratios to gentool's."""
    for run in ways.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            times[name].append(run())
    ours = statistics.median(times["gentool"])
    print(title)
    for name, seconds in times.items():
        took = statistics.median(seconds)
        print(f"  {name:26} {1e3 * took / per:8.2f} ms a step  {took / ours:5.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("vae", "quantiser"), default="")
    options = parser.parse_args()
    if options.only in ("", "vae"):
        compare(f"vae 784-512-16, batch {BATCH}, CPU time", vae(), STEPS, options.rounds)
    if options.only in ("", "quantiser"):
        for n, codes, dim in ((3136, 512, 64), (12544, 512, 64), (12544, 2048, 64), (16384, 8192, 32)):
            title = f"quantiser, {n} vectors of {dim}, {codes} codes, CPU time"
            compare(title, quantiser(n, codes, dim), 1, options.rounds)


if __name__ == "__main__":
    main()
