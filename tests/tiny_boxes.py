"""A detector in one file for tests of the host: one box a picture, from the mean of a few features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import (
    Batch,
    DataInfo,
    Detections,
    LossSpec,
    ModelSpec,
    Output,
    Partial,
    Phase,
    SamplerSpec,
    Samples,
    Step,
    hookimpl,
    option,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    width: int = option(8, "channels", ge=1, le=256)


class TinyBoxes(nn.Module):
    conditional = False

    def __init__(self, config: Config, info: DataInfo) -> None:
        super().__init__()
        self.config, self.info = config, info
        self.trunk = nn.Sequential(nn.Conv2d(3, config.width, 8, stride=8), nn.ReLU())
        self.head = nn.Linear(config.width, len(info.classes) + 4)

    def forward(self, images: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (N, classes) and boxes (N, 4): the mean is over the picture, not over what is filled in."""
        features = self.trunk(images)
        rows = torch.arange(features.shape[2]) < (size[:, :1] / 8).ceil()
        columns = torch.arange(features.shape[3]) < (size[:, 1:] / 8).ceil()
        inside = (rows[:, :, None] & columns[:, None, :])[:, None].float()
        out = self.head((features * inside).sum((2, 3)) / inside.sum((2, 3)))
        corner, extent = out[:, -4:-2].sigmoid() * 0.7, 0.1 + 0.2 * out[:, -2:].sigmoid()
        scale = size.flip(1).repeat(1, 2).float()
        return out[:, :-4], torch.cat([corner, corner + extent], 1) * scale

    def detect(self, images: Tensor, size: Tensor, *, score: float = 0.0) -> list[Detections]:
        logits, boxes = self(images, size)
        best, labels = logits.softmax(1).max(1)
        rows = zip(boxes[:, None], best[:, None], labels[:, None])
        return [Detections(b[s > score], s[s > score], w[s > score]) for b, s, w in rows]


class First:
    """Cross-entropy and L1 of the first box that counts."""

    def __init__(self, config: object) -> None: ...

    def __call__(self, model: TinyBoxes, batch: Batch, step: Step) -> Iterator[Phase]:
        size = batch.extra["size"]
        logits, boxes = model(batch.images, size)
        there = batch.extra["box_labels"][:, 0] >= 0
        count = there.sum().clamp(min=1)
        labels = F.cross_entropy(logits[there], batch.extra["box_labels"][there, 0], reduction="sum") / count
        place = F.l1_loss(boxes[there], batch.extra["boxes"][there, 0], reduction="sum") / 128 / count
        yield Phase("model", labels + place, {"class": labels.detach(), "box": place.detach()})


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    score: float = option(0.0, "boxes of less are dropped", ge=0, le=1)


def detect(
    model: TinyBoxes, n: int, *, step: Step, given: Batch, labels: Tensor | None = None, score: float = 0.0
) -> Iterator[Partial | Samples]:
    """The pictures that are given, and what is found on them."""
    assert given.images is not None
    yield Samples(images=given.images, detections=model.detect(given.images, given.extra["size"], score=score))


SPEC: Any = {
    "summary": "A tiny detector for tests",
    "factory": "tiny_boxes:TinyBoxes",
    "config": Config,
    "output": Output.BOXES,
    "loss": "first-box",
    "sampler": "tiny-detect",
    "evaluators": (),
    "dataset": "scenes",
    "inputs": ("boxes",),
    "offers": ("detect",),
    "paper": "none",
    "defaults": {"train.batch_size": 4, "optim.model.lr": 3e-3},
    "presets": {"debug": {"train.steps": 2, "train.batch_size": 2, "validation.examples": 4, "data.limit": 8}},
}


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [ModelSpec(name="tiny-boxes", **SPEC)]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="first-box", summary="the first box", factory="tiny_boxes:First", needs=("detect",), monitor="loss"
        )
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="tiny-detect", summary="one box a picture", factory="tiny_boxes:detect", needs=("detect",),
            output=Output.BOXES, config=DetectConfig, pictures="must",
        )
    ]  # fmt: skip
