"""What is it, and where: one object a picture, one network with two heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gentool import DataInfo
from gentool.sampling import Detections

from .backbone import Backbone, Places
from .boxes import clip
from .detecting import Detecting, Found

if TYPE_CHECKING:
    from .configs import SingleObjectConfig


class SingleObject(Detecting, nn.Module):
    """images (N, 3, H, W) -> class logits (N, classes) and a box (N, 4), x1 y1 x2 y2 as shares of the picture's sides.

    Both heads read the features of stride 16. What it is does not depend on where it is: the class head sees the largest
    value of each feature anywhere. For the box they are brought to a grid of cells x cells over the picture, whatever
    its size.
    """

    conditional = False

    def __init__(self, config: SingleObjectConfig, info: DataInfo):
        super().__init__()
        self.prepare(config, info)
        self.backbone = Backbone(3, config.widths, config.blocks, 16)
        self.cells = config.cells
        channels = config.widths[2]
        self.classes = nn.Sequential(
            nn.Linear(channels, config.hidden), nn.ReLU(), nn.Linear(config.hidden, len(info.classes))
        )
        self.box = nn.Sequential(nn.Linear(channels * config.cells**2, config.hidden), nn.ReLU())
        last = nn.Linear(config.hidden, 4)
        nn.init.normal_(last.weight, std=0.01)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([0.3, 0.3, 0.7, 0.7]))
        self.box.append(last)
        self.begin()

    def predict(self, images: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """(N, classes), (N, 4), float32."""
        maps, places = self.backbone(images, size)
        x = maps[16]  # 0 outside of the picture, and never below
        where = pooled(x, places, 16, self.cells).flatten(1)
        return self.classes(x.amax((2, 3))).float(), self.box(where).float()

    def find(self, images: Tensor, size: Tensor, found: Found) -> list[Detections]:
        logits, boxes = self.predict(images, size)
        scores, labels = logits.softmax(1).max(1)
        pixels = boxes * size.flip(1).repeat(1, 2)
        results = []
        for box, score, label, one in zip(pixels, scores, labels, size, strict=True):
            box = clip(
                torch.cat((torch.minimum(box[:2], box[2:]), torch.maximum(box[:2], box[2:])))[None], (one[0], one[1])
            )
            keep = slice(0, 1 if score > found.threshold and found.limit else 0)
            results.append(Detections(box[keep].float(), score[None][keep], label[None][keep]))
        return results

    def facts(self) -> dict[str, float | str]:
        return {**self.sizes(), "cells": self.cells**2}


def pooled(x: Tensor, places: Places, stride: int, cells: int) -> Tensor:
    """Means over a grid of cells x cells of each picture's own part of the map: (N, C, h, w) -> (N, C, cells, cells)."""
    weights = []
    for axis in (0, 1):
        side = places.size[:, axis].float() / stride  # of the picture, in places
        edges = torch.arange(cells + 1, device=x.device) * (side[:, None] / cells)
        place = torch.arange(x.shape[2 + axis], device=x.device)
        covered = torch.minimum(edges[:, 1:, None], place + 1.0) - torch.maximum(edges[:, :-1, None], place * 1.0)
        covered = covered.clamp(min=0)
        weights.append(covered / covered.sum(2, keepdim=True).clamp(min=1e-9))
    rows, columns = (w.to(x.dtype) for w in weights)
    return torch.einsum("nchw,nih,njw->ncij", x, rows, columns)
