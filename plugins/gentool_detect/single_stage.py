"""Single-stage detectors: classes and boxes straight from the places of a feature pyramid.

With anchors: RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection", section 4). Without: a place tells
the distances to the four sides of its box (FCOS, Tian et al. 2019, section 3.1), each as a distribution over bins
(Li et al. 2020, "Generalized Focal Loss", section 3.2), and which places learn which box is decided by what they
predict (TOOD, Feng et al. 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gentool import DataInfo
from gentool.sampling import Detections

from .assign import Truth, align
from .backbone import Backbone, ConvNorm, Places, Pyramid
from .boxes import clip
from .coding import decode, from_distances
from .detecting import Detecting, Found, finish
from .grid import Grid, anchor_shapes, centred, make_grid
from .nms import nms
from .views import Stage

if TYPE_CHECKING:
    from .configs import SingleStageConfig

PRIOR = 0.01  # of a place showing an object, at the start: focal loss, section 3.3
BEST = 200  # boxes that the view of stages follows
RANGE = 16.0  # cells a distance reaches at most


@dataclass(frozen=True)
class Dense:
    """What all places predict, float32. logits: (N, A, K) of the classes, each for itself; boxes: (N, A, 4) in pixels;
    raw: (N, A, 4) transforms of the anchors, or (N, A, 4, bins + 1) logits of distances."""

    logits: Tensor
    boxes: Tensor
    raw: Tensor
    grid: Grid


class Head(nn.Module):
    """Two towers of 3x3 convolutions over every level, with shared weights: one tells classes, one boxes."""

    def __init__(self, channels: int, depth: int, classes: int, box: int, per_place: int):
        super().__init__()
        self.class_tower = nn.ModuleList(ConvNorm(channels, channels) for _ in range(depth))
        self.box_tower = nn.ModuleList(ConvNorm(channels, channels) for _ in range(depth))
        self.classes = nn.Conv2d(channels, per_place * classes, 3, padding=1)
        self.boxes = nn.Conv2d(channels, per_place * box, 3, padding=1)
        for last in (self.classes, self.boxes):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        self.shape = (per_place, classes, box)

    def forward(self, levels: list[Tensor], places: Places, strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """(N, A, classes), (N, A, box) of all levels, float32."""
        _, classes, box = self.shape
        logits, boxes = [], []
        for x, stride in zip(levels, strides, strict=True):
            mask = places.mask(stride)
            c = b = x
            for one, two in zip(self.class_tower, self.box_tower, strict=True):
                c, b = one(c, mask), two(b, mask)
            logits.append(_rows(self.classes(c), classes))
            boxes.append(_rows(self.boxes(b), box))
        return torch.cat(logits, 1), torch.cat(boxes, 1)


def _rows(x: Tensor, width: int) -> Tensor:
    """(N, B width, h, w) -> (N, h w B, width), float32."""
    return x.float().permute(0, 2, 3, 1).reshape(len(x), -1, width)


class SingleStage(Detecting, nn.Module):
    """images (N, 3, H, W) -> backbone -> pyramid -> head -> a class score and a box at every place."""

    conditional = False

    def __init__(self, config: SingleStageConfig, info: DataInfo):
        super().__init__()
        self.prepare(config, info)
        self.backbone = Backbone(3, config.widths, config.blocks)
        self.pyramid = Pyramid(config.widths, config.channels, config.finest)
        strides = self.pyramid.strides
        self.anchored = config.places == "anchors"
        self.bins = config.bins
        per = len(config.scales) * len(config.ratios) if self.anchored else 1
        box = 4 if self.anchored else 4 * (config.bins + 1)
        self.head = Head(config.channels, config.depth, len(info.classes), box, per)
        self.shapes = anchor_shapes(strides, config.anchor, config.scales, config.ratios) if self.anchored else None
        self.begin()

    def dense(self, images: Tensor, size: Tensor) -> Dense:
        """What every place predicts."""
        maps, places = self.backbone(images, size)
        logits, raw = self.head(self.pyramid(maps, places), places, self.pyramid.strides)
        grid = make_grid(places, self.pyramid.strides, self.shapes)
        if self.anchored:
            return Dense(logits, decode(raw, grid.boxes), raw, grid)
        raw = raw.view(*raw.shape[:2], 4, self.bins + 1)
        ltrb = self.cells(raw) * grid.strides[:, None]
        return Dense(logits, from_distances(ltrb, grid.points), raw, grid)

    def cells(self, raw: Tensor) -> Tensor:
        """The expected distances, in cells: the mean over bins 0, w, 2w, ... (Li et al. 2020, equation 5)."""
        at = torch.arange(self.bins + 1, device=raw.device) * (RANGE / self.bins)
        return raw.softmax(-1) @ at

    @torch.no_grad()
    def stages(self, images: Tensor, size: Tensor, truth: Truth) -> list[Stage]:
        """Anchors, or cells (matched: those that would learn a box now), and boxes before and after suppression, of the
        first picture."""
        dense = self.dense(images, size)
        inside = dense.grid.inside[0]
        scores = dense.logits[0].sigmoid().amax(1)[inside]
        boxes = clip(dense.boxes[0][inside], (int(size[0, 0]), int(size[0, 1])))
        order = scores.topk(min(BEST, len(scores))).indices
        kept = order[nms(boxes[order], scores[order], self.overlap)]
        grid = dense.grid
        if self.anchored:
            places = Stage("anchors", grid.boxes[inside])
        else:
            chosen = align(dense.logits[0].sigmoid(), dense.boxes[0], grid, inside, truth)
            places = Stage("cells", centred(grid)[inside], (chosen.index >= 0)[inside])
        return [places, Stage("best boxes", boxes[order]), Stage("after suppression", boxes[kept])]

    def facts(self) -> dict[str, float | str]:
        return {**self.sizes(), "places": "anchors" if self.anchored else "points"}

    def find(self, images: Tensor, size: Tensor, found: Found) -> list[Detections]:
        dense = self.dense(images, size)
        scores = dense.logits.sigmoid()
        return [
            finish(boxes, score, size[i], found, inside=dense.grid.inside[i])
            for i, (boxes, score) in enumerate(zip(dense.boxes, scores, strict=True))
        ]
