"""One training step of gentool's VQ-VAE against the same net trained by the formulation found in most implementations.

    python examples/bench_vqvae_step.py [--precision auto|fp32|bf16] [--image 1 28 28] [--batch 64] [--codes 512]
                                        [--dim 64] [--hidden 128] [--rounds 12]

The plain loop has all N x K distances in one matrix, a one-hot N x K matrix for the lookup and for the moving averages,
pictures as NCHW, transposed convolutions up to the picture, and Adam as it comes. Both nets have the same widths, and
take turns in one process on one thread; what is printed is CPU time a step and the ratio. gentool's step does a little
more: it also trains the likelihood's scales, restarts dead codes, and counts usage and perplexity.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import Batch, DataInfo, Step
from gentool.registry import build_model, registry
from gentool.settings import Optim
from gentool.training.devices import autocast, measure
from gentool.training.optimisers import PhaseOptimiser


class PlainResidual(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.ReLU(), nn.Conv2d(hidden, hidden // 2, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden // 2, hidden, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class PlainQuantiser(nn.Module):
    """Every step by one-hot matrices."""

    def __init__(self, codes: int, dim: int, gamma: float = 0.99):
        super().__init__()
        self.codes, self.gamma = codes, gamma
        self.register_buffer("e", torch.randn(codes, dim))
        self.register_buffer("n", torch.zeros(codes))
        self.register_buffer("m", torch.randn(codes, dim))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        rows = z.permute(0, 2, 3, 1).contiguous()
        flat = rows.view(-1, rows.shape[-1])
        distances = flat.pow(2).sum(1, keepdim=True) + self.e.pow(2).sum(1) - 2 * flat @ self.e.t()
        one_hot = F.one_hot(distances.argmin(1), self.codes).to(flat.dtype)
        quantised = (one_hot @ self.e).view(rows.shape)
        if self.training:
            with torch.no_grad():
                self.n = self.gamma * self.n + (1 - self.gamma) * one_hot.sum(0)
                self.m = self.gamma * self.m + (1 - self.gamma) * one_hot.t() @ flat
                total = self.n.sum()
                smoothed = (self.n + 1e-5) / (total + self.codes * 1e-5) * total
                self.e = self.m / smoothed.unsqueeze(1)
        commitment = F.mse_loss(quantised.detach(), rows)
        quantised = rows + (quantised - rows).detach()
        return quantised.permute(0, 3, 1, 2).contiguous(), commitment


class PlainVQVAE(nn.Module):
    def __init__(self, channels: int, hidden: int, dim: int, codes: int, factor: int):
        super().__init__()
        half = [hidden // 2] if factor == 4 else []
        down, width = [], channels
        for after in [*half, hidden]:
            down += [nn.Conv2d(width, after, 4, 2, 1), nn.ReLU()]
            width = after
        self.encoder = nn.Sequential(
            *down, nn.Conv2d(hidden, hidden, 3, padding=1), PlainResidual(hidden), PlainResidual(hidden), nn.ReLU(),
            nn.Conv2d(hidden, dim, 1),
        )  # fmt: skip
        self.quantiser = PlainQuantiser(codes, dim)
        up: list[nn.Module] = []
        width = hidden
        for after in half:
            up += [nn.ConvTranspose2d(width, after, 4, 2, 1), nn.ReLU()]
            width = after
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, hidden, 3, padding=1), PlainResidual(hidden), PlainResidual(hidden), nn.ReLU(), *up,
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quantised, commitment = self.quantiser(self.encoder(x))
        return self.decoder(quantised), commitment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=int, nargs=3, default=(1, 28, 28), metavar=("C", "H", "W"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--codes", type=int, default=512)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"), help="of gentool's step")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    precision = measure(cpu).precision.value if args.precision == "auto" else args.precision
    torch.manual_seed(0)
    image = (args.image[0], args.image[1], args.image[2])
    x = torch.rand(args.batch, *image) * 2 - 1

    plain = PlainVQVAE(image[0], args.hidden, args.dim, args.codes, 2 if min(image[1:]) < 16 else 4).train()
    adam = torch.optim.Adam(plain.parameters(), 1e-3)

    def plain_step(index: int) -> None:
        adam.zero_grad()
        again, commitment = plain(x)
        loss = F.mse_loss(again, x) + 0.25 * commitment
        loss.backward()
        adam.step()
        loss.item()

    config = {"codes": args.codes, "dim": args.dim, "hidden": args.hidden, "prior_channels": 8, "prior_layers": 1}
    model = build_model("vqvae", DataInfo(image=image), config).to(memory_format=torch.channels_last).train()
    loss_spec = registry().find("loss", "vq")
    objective = registry().load(loss_spec.factory)(loss_spec.config(prior_from=1.0))
    optimiser = PhaseOptimiser("autoencoder", model.get_submodule("autoencoder"), Optim())

    def ours(index: int) -> None:
        with autocast(cpu, precision):
            (phase,) = objective(model, Batch(images=x), Step(seed=0, index=index))
        optimiser.backward(phase.loss)
        optimiser.step(0.0)
        phase.loss.item()
        [float(value) for value in phase.scalars.values()]

    times: dict[str, list[float]] = {"plain": [], "gentool": []}
    for index in range(args.rounds + 3):
        for name, step in (("plain", plain_step), ("gentool", ours)):
            start = time.process_time()
            step(index)
            if index >= 3:  # the first ones allocate, choose kernels and find the first codes
                times[name].append(1e3 * (time.process_time() - start))
    middle = {name: statistics.median(found) for name, found in times.items()}
    ratio = middle["plain"] / middle["gentool"]
    counts = {
        "plain": sum(p.numel() for p in plain.parameters()),
        "gentool": sum(p.numel() for p in model.get_submodule("autoencoder").parameters()),
    }
    if args.json:
        print(json.dumps({"image": image, "batch": args.batch, "ms": middle, "ratio": ratio, "parameters": counts,
                          "precision": precision}))  # fmt: skip
        return
    for name in times:
        print(f"{name:8s} {middle[name]:8.1f} ms a step, {counts[name]:,} parameters")
    print(
        f"gentool's step is {ratio:.2f} times as fast (CPU time, median of {args.rounds}, one thread, fp32 and {precision})"
    )


if __name__ == "__main__":
    main()
