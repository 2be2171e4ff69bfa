"""A training step of `gan` against the loop GAN code commonly has, same batch, in one process.

    python examples/bench_gan_step.py [--networks same|common] [--precision auto|fp32|bf16] [--size 32] [--channels 3]
                                      [--batch 64] [--rounds 20]

The common loop: a generator pass for the generator's loss, whose backward also computes the discriminator's gradients
(they are thrown away); another generator pass, and a real and a fake pass of the discriminator, for its loss; binary
cross-entropy of a sigmoid; unfused Adam; NCHW. gentool's step: one generator pass for both, real and fake in one pass,
no gradient that is not used, fused Adam, channels last, and the precision that is measured to be the faster one here.

`--networks same` compares the steps alone: both have gentool's networks. `--networks common` gives the common loop what
it commonly has: a generator that enlarges by nearest neighbour and convolves 3x3 at full size, a discriminator of
strided 3x3 convolutions with batch normalisation; gentool's networks then have about as many parameters.

The two alternate; CPU time of the process, medians, in ms.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from gentool_gan import GameConfig, GANConfig
from gentool_gan.loss import NonSaturating
from gentool_gan.model import GAN
from torch import nn

from gentool import Batch, DataInfo, Step
from gentool.settings import Optim
from gentool.training.devices import autocast, measure
from gentool.training.optimisers import PhaseOptimiser

ADAM = {"lr": 2e-4, "betas": (0.5, 0.999)}


class CommonGAN(nn.Module):
    """Networks of the common shape: 8x8 -> 16x16 -> 32x32 by nearest neighbour, 128, 128 and 64 channels."""

    def __init__(self, channels: int, size: int, latent: int):
        super().__init__()
        self.latent = latent
        base = size // 4

        def enlarge(before: int, after: int) -> list[nn.Module]:
            return [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]

        self.generator = nn.Sequential(
            nn.Linear(latent, 128 * base * base),
            nn.Unflatten(1, (128, base, base)),
            nn.BatchNorm2d(128),
            *enlarge(128, 128),
            *enlarge(128, 64),
            nn.Conv2d(64, channels, 3, padding=1),
            nn.Tanh(),
        )

        def halve(before: int, after: int) -> list[nn.Module]:
            conv = nn.Conv2d(before, after, 3, stride=2, padding=1)
            return [conv, nn.LeakyReLU(0.2), nn.Dropout2d(0.25), nn.BatchNorm2d(after)]

        self.discriminator = nn.Sequential(
            *halve(channels, 16), *halve(16, 32), *halve(32, 64), *halve(64, 128), nn.Flatten(), nn.LazyLinear(1)
        )
        self.discriminator(torch.zeros(2, channels, size, size))


def common_loop(model: Any, images: torch.Tensor) -> Callable[[int], None]:
    """The shape most published GAN loops have."""
    bce = nn.BCELoss()
    optimiser_g = torch.optim.Adam(model.generator.parameters(), **ADAM)
    optimiser_d = torch.optim.Adam(model.discriminator.parameters(), **ADAM)
    ones, zeros = torch.ones(len(images)), torch.zeros(len(images))

    def step(index: int) -> None:
        optimiser_g.zero_grad()
        fake = model.generator(torch.randn(len(images), model.latent))
        bce(model.discriminator(fake).flatten().sigmoid(), ones).backward()
        optimiser_g.step()
        optimiser_d.zero_grad()
        fake = model.generator(torch.randn(len(images), model.latent))
        real_loss = bce(model.discriminator(images).flatten().sigmoid(), ones)
        fake_loss = bce(model.discriminator(fake.detach()).flatten().sigmoid(), zeros)
        ((real_loss + fake_loss) / 2).backward()
        optimiser_d.step()

    return step


def phases(model: GAN, images: torch.Tensor, precision: str) -> Callable[[int], None]:
    """What gentool's trainer does with the non-saturating objective (without R1, which the common loop has not)."""
    model.to(memory_format=torch.channels_last)
    batch = Batch(images=images.contiguous(memory_format=torch.channels_last))
    objective = NonSaturating(GameConfig(r1=0.0))
    config = Optim(name="adam", **ADAM)
    optimisers = {
        name: PhaseOptimiser(name, model.get_submodule(name), config) for name in ("generator", "discriminator")
    }

    def step(index: int) -> None:
        run = objective(model, batch, Step(seed=0, index=index))
        while True:
            with autocast(torch.device("cpu"), precision):
                phase = next(run, None)
            if phase is None:
                return
            optimisers[phase.name].backward(phase.loss)
            optimisers[phase.name].step(clip=0)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 32), ("channels", 3), ("batch", 64), ("rounds", 20), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--width", type=int, default=0, help="default: 64, or 48 beside the common networks")
    parser.add_argument("--networks", default="same", choices=("same", "common"))
    parser.add_argument("--architecture", default="dcgan", choices=("dcgan", "resnet"))
    parser.add_argument("--norm", default="batch", choices=("batch", "group", "none"))
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"), help="of gentool's step")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    precision = measure(torch.device("cpu")).precision.value if asked.precision == "auto" else asked.precision
    width = asked.width or (64 if asked.networks == "same" else 48)
    config = GANConfig(width=width, architecture=asked.architecture, norm=asked.norm)
    model = GAN(config, DataInfo(image=(asked.channels, asked.size, asked.size)))
    images = torch.rand(asked.batch, asked.channels, asked.size, asked.size) * 2 - 1
    same = asked.networks == "same"
    other = copy.deepcopy(model) if same else CommonGAN(asked.channels, asked.size, config.latent)
    counts = [sum(p.numel() for p in m.parameters()) for m in (other, model)]
    steps = {"common loop": common_loop(other, images), "gentool": phases(model, images, precision)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(asked.rounds + 3):
        for name, step in steps.items():
            start = time.process_time()
            step(index)
            if index >= 3:
                times[name].append(1e3 * (time.process_time() - start))
    for name, taken in times.items():
        low, median, high = statistics.quantiles(taken, n=4)
        print(f"{name:12} {median:8.1f} ms CPU a step   (quartiles {low:.1f} to {high:.1f})")
    ratios = [a / b for a, b in zip(times["common loop"], times["gentool"])]
    print(
        f"ratio {statistics.median(ratios):.2f} (median of {asked.rounds} pairs): {asked.networks} networks of "
        f"{counts[0]:,} and {counts[1]:,} parameters ({asked.architecture}, width {width}, norm {asked.norm}), "
        f"{asked.channels}x{asked.size}x{asked.size}, batch {asked.batch}, fp32 and {precision}, {asked.threads} thread(s), "
        f"torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
