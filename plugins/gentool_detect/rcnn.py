"""R-CNN (Girshick et al. 2014) and Fast R-CNN (Girshick 2015): classes and boxes of proposals from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gentool import DataInfo

from .assign import Truth
from .backbone import STRIDES, Backbone
from .boxes import clip
from .coding import decode
from .detecting import Found
from .nms import nms
from .proposals import engine_of, propose
from .regions import WEIGHTS, RegionDetector, RegionHead, bordered
from .roi import roi_align, roi_pool
from .views import Stage

if TYPE_CHECKING:
    from .configs import FastRCNNConfig, RCNNConfig

AT_ONCE = 512  # warped regions that go through the network together


class Proposed(RegionDetector):
    """Regions are proposed by the picture alone."""

    def propose(self, images: Tensor, size: Tensor, features: Any = None) -> list[Tensor]:
        return propose(images, size, self.config.proposer, self.config.proposals, self.config.search)

    @torch.no_grad()
    def stages(self, images: Tensor, size: Tensor, truth: Truth) -> list[Stage]:
        """The proposals, and what the regions' classes leave of them before suppression, of the first picture."""
        features = self.features(images, size)
        boxes = self.propose(images, size)[0]
        logits, t = self.look(images, features, torch.cat((boxes.new_zeros(len(boxes), 1), boxes), 1))
        scores, label = logits.softmax(1)[:, 1:].max(1)
        moved = clip(
            decode(t, boxes[:, None], WEIGHTS)[torch.arange(len(boxes)), label], (int(size[0, 0]), int(size[0, 1]))
        )
        order = scores.argsort(descending=True)
        order = order[scores[order] > Found().threshold]
        kept = order[nms(moved[order], scores[order], self.overlap)]
        return [
            Stage("proposals", boxes),
            Stage("regions that show something", moved[order]),
            Stage("after suppression", moved[kept]),
        ]

    def facts(self) -> dict[str, float | str]:
        searched = engine_of(self.config.proposer) == "selective-search"
        name = f"selective search, {self.config.search}" if searched else "windows by edges"
        return {**self.sizes(), "proposals": f"{name}, at most {self.config.proposals} a picture"}


class RCNN(Proposed, nn.Module):
    """Each proposal, with some context, is warped to side x side pixels and goes through the network alone."""

    conditional = False

    def __init__(self, config: RCNNConfig, info: DataInfo):
        super().__init__()
        self.prepare(config, info)
        self.backbone = Backbone(3, config.widths, config.blocks, 16)
        cells = -(-config.side // 16)
        self.head = RegionHead(config.widths[2] * cells**2, config.hidden, len(info.classes))
        self.begin()

    def features(self, images: Tensor, size: Tensor) -> Tensor:
        """The pictures, 0 around them: nothing is computed once a picture."""
        return bordered(images)

    def look(self, images: Tensor, features: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        if not len(rois):
            return rois.new_zeros(0, len(self.info.classes) + 1), rois.new_zeros(0, len(self.info.classes), 4)
        found = [self.head(self.warped(features, part)) for part in torch.split(rois, AT_ONCE)]
        logits, t = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(t)

    def warped(self, images: Tensor, rois: Tensor) -> Tensor:
        """Features of regions, each warped to one size whatever its shape, with `context` pixels of that around it (2014,
        section 2.1 and appendix A). What lies outside of the picture is 0."""
        side, context = self.config.side, self.config.context
        grown = rois.clone()
        border = (rois[:, 3:] - rois[:, 1:3]) * (context / max(1, side - 2 * context))
        grown[:, 1:3] -= border
        grown[:, 3:] += border
        crops = roi_align(images, grown, (side, side), 1.0, sampling_ratio=self.config.samples)
        maps, _ = self.backbone(crops, torch.full((len(rois), 2), side, device=rois.device))
        found: Tensor = maps[16]
        return found


class FastRCNN(Proposed, nn.Module):
    """The network sees the picture once; each proposal is pooled from its features (2015, figure 1)."""

    conditional = False

    def __init__(self, config: FastRCNNConfig, info: DataInfo):
        super().__init__()
        self.prepare(config, info)
        self.backbone = Backbone(3, config.widths, config.blocks, config.stride)
        channels = config.widths[STRIDES.index(config.stride)]
        self.head = RegionHead(channels * config.bins**2, config.hidden, len(info.classes))
        self.begin()

    def features(self, images: Tensor, size: Tensor) -> Tensor:
        maps, _ = self.backbone(images, size)
        return bordered(maps[self.config.stride])

    def look(self, images: Tensor, features: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        pooling = roi_pool if self.config.pooling == "pool" else roi_align
        bins = (self.config.bins, self.config.bins)
        return self.head(pooling(features, rois, bins, 1 / self.config.stride))  # type: ignore[no-any-return]
