"""Faster R-CNN: the network proposes the regions it then looks at (Ren et al. 2015), from one map or from a feature
pyramid (Lin et al. 2017, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gentool import DataInfo

from .assign import Truth
from .backbone import STRIDES, Backbone, ConvNorm, Places, Pyramid
from .boxes import clip
from .coding import decode
from .grid import Grid, anchor_shapes, make_grid
from .nms import batched_nms
from .regions import RegionDetector, RegionHead, bordered
from .roi import roi_align, roi_pool
from .views import Stage

if TYPE_CHECKING:
    from .configs import FasterRCNNConfig


@dataclass(frozen=True)
class Features:
    """levels: (N, C, h, w) each; objectness: (N, A) logits and transforms (N, A, 4) of the anchors of all levels."""

    levels: list[Tensor]
    places: Places
    grid: Grid
    objectness: Tensor
    transforms: Tensor


class ProposalNetwork(nn.Module):
    """The RPN (section 3.1): a 3x3 convolution, then for each anchor whether it is an object, and its transform."""

    def __init__(self, channels: int, anchors: int):
        super().__init__()
        self.conv = ConvNorm(channels, channels)
        self.objectness = nn.Conv2d(channels, anchors, 1)
        self.transforms = nn.Conv2d(channels, 4 * anchors, 1)
        for last in (self.objectness, self.transforms):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, levels: list[Tensor], places: Places, strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """(N, A), (N, A, 4), float32."""
        scores, transforms = [], []
        for x, stride in zip(levels, strides, strict=True):
            h = self.conv(x, places.mask(stride))
            scores.append(self.objectness(h).float().permute(0, 2, 3, 1).flatten(1))
            transforms.append(self.transforms(h).float().permute(0, 2, 3, 1).reshape(len(x), -1, 4))
        return torch.cat(scores, 1), torch.cat(transforms, 1)


class FasterRCNN(RegionDetector, nn.Module):
    """images -> features -> proposals (RPN) -> regions of the features -> classes and boxes."""

    conditional = False

    def __init__(self, config: FasterRCNNConfig, info: DataInfo):
        super().__init__()
        self.prepare(config, info)
        self.backbone = Backbone(3, config.widths, config.blocks, 32 if config.pyramid else config.stride)
        self.pyramid = Pyramid(config.widths, config.channels, config.finest) if config.pyramid else None
        self.strides = self.pyramid.strides if self.pyramid else (config.stride,)
        channels = config.channels if config.pyramid else config.widths[STRIDES.index(config.stride)]
        scales = config.scales if config.pyramid else config.map_scales
        self.shapes = anchor_shapes(self.strides, config.anchor, scales, config.ratios)
        self.rpn = ProposalNetwork(channels, self.shapes.shape[1])
        self.looks = config.looks
        self.softness = config.soft
        self.head = RegionHead(channels * config.bins**2, config.hidden, len(info.classes))
        self.begin()

    def features(self, images: Tensor, size: Tensor) -> Features:
        maps, places = self.backbone(images, size)
        levels = self.pyramid(maps, places) if self.pyramid else [maps[self.strides[0]]]
        grid = make_grid(places, self.strides, self.shapes)
        return Features(levels, places, grid, *self.rpn(levels, places, self.strides))

    @torch.no_grad()
    def propose(self, images: Tensor, size: Tensor, features: Features | None = None) -> list[Tensor]:
        """Of the anchors' boxes the best of each level, then those that stay after suppression, best first."""
        features = features or self.features(images, size)
        return [self.ranked(features, i, size[i])[1] for i in range(len(size))]

    @torch.no_grad()
    def ranked(self, features: Features, i: int, size: Tensor) -> tuple[Tensor, Tensor]:
        """Picture i: the candidates before suppression and the proposals after it, both (P, 4), best first."""
        config, grid = self.config, features.grid
        score = features.objectness[i].detach().masked_fill(~grid.inside[i], -torch.inf)
        rows = []
        for stride in self.strides:
            own = (grid.strides == stride).nonzero()[:, 0]
            rows.append(own[score[own].topk(min(config.candidates, len(own))).indices])
        row = torch.cat(rows)
        row = row[score[row] > -torch.inf]
        boxes = clip(decode(features.transforms[i, row].detach(), grid.boxes[row]), (int(size[0]), int(size[1])))
        solid = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
        boxes, row = boxes[solid], row[solid]
        level = grid.strides[row].long()
        order = score[row].argsort(descending=True, stable=True)
        kept = batched_nms(boxes, score[row], level, config.proposal_nms)[: config.proposals]
        return boxes[order], boxes[kept]

    def look(self, images: Tensor, features: Features, rois: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.pool(features.levels, rois))  # type: ignore[no-any-return]

    def pool(self, levels: list[Tensor], rois: Tensor) -> Tensor:
        """Features of regions (K, C, bins, bins), each from the level that suits its size (Lin et al. 2017, equation 1)."""
        bins = (self.config.bins, self.config.bins)
        pooling = roi_align if self.config.pooling == "align" else roi_pool
        if len(levels) == 1:
            return pooling(bordered(levels[0]), rois, bins, 1 / self.strides[0])
        side = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).clamp(min=1e-6).sqrt()
        k = (side / (self.config.bins * self.strides[0])).log2().add(1e-6).floor()
        level = k.clamp(0, len(levels) - 1).long()
        order, parts = [], []
        for i, (x, stride) in enumerate(zip(levels, self.strides, strict=True)):
            own = (level == i).nonzero()[:, 0]
            order.append(own)
            parts.append(pooling(bordered(x), rois[own], bins, 1 / stride))
        return torch.cat(parts)[torch.cat(order).argsort()]

    @torch.no_grad()
    def stages(self, images: Tensor, size: Tensor, truth: Truth) -> list[Stage]:
        """Anchors, and the proposals before and after suppression, of the first picture."""
        features = self.features(images, size)
        before, after = self.ranked(features, 0, size[0])
        return [
            Stage("anchors", features.grid.boxes[features.grid.inside[0]]),
            Stage("candidates", before),
            Stage("proposals after suppression", after),
        ]

    def facts(self) -> dict[str, float | str]:
        maps = f"pyramid of strides {self.strides}" if self.pyramid else f"one map of stride {self.strides[0]}"
        return {**self.sizes(), "proposals": f"RPN, {self.config.proposals} a picture", "features": maps}
