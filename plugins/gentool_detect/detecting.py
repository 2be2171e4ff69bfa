"""From what a network predicts to detections: thresholds, non-maximum suppression, the best of a picture."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from gentool import DataInfo, UsageError
from gentool.sampling import Detections

from .backbone import load_weights
from .boxes import clip
from .nms import batched_nms, soft_nms

CANDIDATES = 1000  # of a picture that go into the suppression at most, best first


@dataclass(frozen=True, kw_only=True)
class Found:
    """The options of `detect`: what counts as found. Neither nms nor soft: the model's own suppression
    (`Detecting.overlap`, `Detecting.softness`)."""

    threshold: float = 0.05
    nms: float = 0.0
    soft: float = 0.0
    limit: int = 100


class Detecting:
    """What all detectors share: their data, the options of `detect`, a user's weights for the backbone."""

    config: Any
    info: DataInfo
    backbone: nn.Module
    overlap = 0.6  # IoU above which of two detections of a class the lesser goes
    softness = 0.0  # where it does not go: sigma by which its score is lowered instead

    def prepare(self, config: Any, info: DataInfo) -> None:
        if not info.classes:
            raise UsageError(
                "A detector needs pictures with boxes of named classes: choose such a data set with --data, "
                "for example scenes or coco:PATH."
            )
        self.config, self.info = config, info

    def begin(self) -> None:
        """The last of building: the weights to start from, where the config names any."""
        if self.config.backbone_weights:
            load_weights(self.backbone, self.config.backbone_weights)

    def sizes(self) -> dict[str, float | str]:
        """Facts of every detector."""
        count = sum(p.numel() for p in self.backbone.parameters())
        return {"backbone parameters": count}

    @torch.no_grad()
    def detect(self, images: Tensor, size: Tensor, **options: object) -> list[Detections]:
        """What is found on each picture. options: `threshold` of the score, `nms` threshold of the IoU, `soft` > 0: sigma
        of soft suppression instead, `limit` of detections a picture."""
        known = {f.name for f in fields(Found)}
        if not set(options) <= known:
            raise UsageError(f"detect knows no option {sorted(set(options) - known)[0]!r}.")
        found = Found(**options)  # type: ignore[arg-type]
        if not found.nms:
            found = replace(found, nms=self.overlap, soft=found.soft or self.softness)
        training = self.training  # type: ignore[attr-defined]
        self.eval()  # type: ignore[attr-defined]
        try:
            return self.find(images, size, found)
        finally:
            self.train(training)  # type: ignore[attr-defined]

    def find(self, images: Tensor, size: Tensor, found: Found) -> list[Detections]:
        raise NotImplementedError


def finish(boxes: Tensor, scores: Tensor, size: Tensor, found: Found, inside: Tensor | None = None) -> Detections:
    """One picture's detections. boxes: (A, 4), or (A, K, 4) for each class; scores: (A, K) in [0, 1]; inside: bool (A,),
    which rows count. Every class above the threshold is a detection of its own; each class is suppressed alone."""
    if inside is not None:
        boxes, scores = boxes[inside], scores[inside]
    score = scores.flatten()
    passed = (score > found.threshold).nonzero()[:, 0]
    if len(passed) > CANDIDATES:
        passed = passed[score[passed].topk(CANDIDATES).indices]
    row, label = passed // scores.shape[1], passed % scores.shape[1]
    chosen = boxes[row] if boxes.dim() == 2 else boxes[row, label]
    chosen, score = clip(chosen.float(), (int(size[0]), int(size[1]))), score[passed].float()
    solid = ((chosen[:, 2:] - chosen[:, :2]) > 0).all(1)
    chosen, score, label = chosen[solid], score[solid], label[solid]
    if found.soft > 0:
        kept, lowered = soft_nms(chosen, score, label, sigma=found.soft, floor=found.threshold, most=found.limit)
        chosen, score, label = chosen[kept], lowered, label[kept]
    else:
        kept = batched_nms(chosen, score, label, found.nms)
        chosen, score, label = chosen[kept], score[kept], label[kept]
    return Detections(chosen[: found.limit], score[: found.limit], label[: found.limit])
