"""The small classifier whose penultimate layer gives the features, and how it is fitted.

A classifier alone forgets whatever its classes do not need, and then pure noise lies among its features of pictures. Two
things keep the features seeing: the last feature map is flattened and not averaged, since an average hides where things
are; and while it is fitted, a linear map (thrown away afterwards) has to redraw the picture from the features.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Features are scaled so that the reference's total variance tr(C) is this. A point at the reference's mean is then at
# Fréchet distance 1000 for every data set: figures of different sets can be read on one scale.
TOTAL_VARIANCE = 1000.0


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """image (C, H, W); classes; widths of the convolutions, each but the first halving the sides; features D."""

    image: tuple[int, int, int]
    classes: int
    widths: tuple[int, ...] = (24, 48, 64)
    features: int = 64

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> NetConfig:
        c, h, w = data["image"]
        return cls(
            image=(int(c), int(h), int(w)),
            classes=int(data["classes"]),
            widths=tuple(int(width) for width in data["widths"]),
            features=int(data["features"]),
        )


class FeatureNet(nn.Module):
    """images (N, C, H, W) in [-1, 1] -> (features (N, D), logits (N, classes))."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        channels, height, width = config.image
        layers: list[nn.Module] = []
        for i, out in enumerate(config.widths):
            stride = 1 if i == 0 else 2
            layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            channels, height, width = out, -(-height // stride), -(-width // stride)
        self.body = nn.Sequential(*layers)
        self.project = nn.Linear(channels * height * width, config.features)
        self.head = nn.Linear(config.features, config.classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.project(self.body(images).flatten(1))
        return features, self.head(F.relu(features))

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiply the features by a positive factor without a change to the logits."""
        self.project.weight.mul_(factor)
        self.project.bias.mul_(factor)
        self.head.weight.div_(factor)


def dequantise(pixels: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1)


@dataclass
class Fitted:
    """What a fit took."""

    steps: int
    cpu_seconds: float


def fit(
    net: FeatureNet,
    pixels: Tensor,
    labels: Tensor,
    *,
    augment: Callable[[Tensor, torch.Generator], Tensor],
    steps: int | None = None,
    minutes: float | None = None,
    batch_size: int = 128,
    lr: float = 3e-3,
    redraw: float = 2.0,
    seed: int = 0,
    report: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """AdamW with a one-cycle rate over `steps`, or over `minutes` of CPU time where steps is None.

    The loss is cross-entropy + redraw · (share of the pixels' variance that a linear map of the features leaves).
    pixels: uint8 (N, C, H, W), labels int64 (N,). A run of as many steps repeats bitwise on one machine.
    """
    if (steps is None) == (minutes is None):
        raise ValueError("give either steps or minutes")
    generator = torch.Generator().manual_seed(seed)
    decoder = nn.Linear(net.config.features, pixels[0].numel())
    variance = dequantise(pixels[:10_000]).var(0).mean()
    optimiser = torch.optim.AdamW([*net.parameters(), *decoder.parameters()], lr=lr, weight_decay=1e-2)
    net.train()
    _lay_out(net, torch.channels_last)
    begun, step = time.process_time(), 0
    while True:
        spent = time.process_time() - begun
        progress = step / steps if steps is not None else spent / (60 * (minutes or 1))
        if progress >= 1:
            break
        warm = min(1.0, progress / 0.1)
        for group in optimiser.param_groups:
            group["lr"] = lr * warm * max(0.0, 1 - progress) + 1e-6
        chosen = torch.randint(len(pixels), (batch_size,), generator=generator)
        images = augment(dequantise(pixels[chosen]), generator).contiguous(memory_format=torch.channels_last)
        features, logits = net(images)
        left = F.mse_loss(decoder(features), images.flatten(1)) / variance
        loss: Any = F.cross_entropy(logits, labels[chosen]) + redraw * left
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % 200 == 0:
            report(f"step {step}: loss {loss.item():.3f} (redrawing leaves {left.item():.3f}), {spent:.0f} CPU-seconds")
    net.eval()
    _lay_out(net, torch.contiguous_format)
    return Fitted(steps=step, cpu_seconds=time.process_time() - begun)


def _lay_out(net: Any, memory_format: torch.memory_format) -> None:
    net.to(memory_format=memory_format)  # channels-last is a third faster on CPUs
