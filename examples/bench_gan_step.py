"""A training step of `gan` against the loop GAN code commonly has, same networks, same batch, in one process.

    python examples/bench_gan_step.py [--size 32] [--channels 3] [--batch 64] [--rounds 20] [--threads 1]

The common loop: a generator pass for the generator's loss, whose backward also computes the discriminator's gradients
(they are thrown away); another generator pass, and a real and a fake pass of the discriminator, for its loss; binary
cross-entropy of a sigmoid; unfused Adam; NCHW. gentool's step: one generator pass for both, real and fake in one pass,
no gradient that is not used, fused Adam, channels last. The two alternate; CPU time of the process, medians, in ms.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from gentool_gan import GameConfig, GANConfig
from gentool_gan.loss import NonSaturating
from gentool_gan.model import GAN
from torch import nn

from gentool import Batch, DataInfo, Step
from gentool.settings import Optim
from gentool.training.optimisers import PhaseOptimiser

ADAM = {"lr": 2e-4, "betas": (0.5, 0.999)}


def common_loop(model: GAN, images: torch.Tensor) -> Callable[[int], None]:
    """The shape most published GAN loops have."""
    bce = nn.BCELoss()
    optimiser_g = torch.optim.Adam(model.generator.parameters(), **ADAM)
    optimiser_d = torch.optim.Adam(model.discriminator.parameters(), **ADAM)
    ones, zeros = torch.ones(len(images)), torch.zeros(len(images))

    def step(index: int) -> None:
        optimiser_g.zero_grad()
        fake = model.generator(torch.randn(len(images), model.latent))
        bce(model.discriminator(fake).sigmoid(), ones).backward()
        optimiser_g.step()
        optimiser_d.zero_grad()
        fake = model.generator(torch.randn(len(images), model.latent))
        real_loss = bce(model.discriminator(images).sigmoid(), ones)
        fake_loss = bce(model.discriminator(fake.detach()).sigmoid(), zeros)
        ((real_loss + fake_loss) / 2).backward()
        optimiser_d.step()

    return step


def phases(model: GAN, images: torch.Tensor) -> Callable[[int], None]:
    """What gentool's trainer does with the non-saturating objective (without R1, which the common loop has not)."""
    model.to(memory_format=torch.channels_last)
    batch = Batch(images=images.contiguous(memory_format=torch.channels_last))
    objective = NonSaturating(GameConfig(r1=0.0))
    config = Optim(name="adam", **ADAM)
    optimisers = {
        name: PhaseOptimiser(name, model.get_submodule(name), config) for name in ("generator", "discriminator")
    }

    def step(index: int) -> None:
        for phase in objective(model, batch, Step(seed=0, index=index)):
            optimisers[phase.name].backward(phase.loss)
            optimisers[phase.name].step(config.lr, clip=0)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 32), ("channels", 3), ("batch", 64), ("rounds", 20), ("width", 64), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--architecture", default="dcgan", choices=("dcgan", "resnet"))
    parser.add_argument("--norm", default="batch", choices=("batch", "group", "none"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    config = GANConfig(width=asked.width, architecture=asked.architecture, norm=asked.norm)
    model = GAN(config, DataInfo(image=(asked.channels, asked.size, asked.size)))
    images = torch.rand(asked.batch, asked.channels, asked.size, asked.size) * 2 - 1
    steps = {"common loop": common_loop(copy.deepcopy(model), images), "gentool": phases(model, images)}
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
    count = sum(p.numel() for p in model.parameters())
    print(
        f"ratio {statistics.median(ratios):.2f} (median of {asked.rounds} pairs): {asked.architecture}, norm {asked.norm}, "
        f"{count:,} parameters, {asked.channels}x{asked.size}x{asked.size}, batch {asked.batch}, fp32, "
        f"{asked.threads} thread(s), torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
