"""Detectors that look at regions: proposals are matched, sampled, brought to one size, and each gets a class and a box
transform. What R-CNN, Fast R-CNN and Faster R-CNN have in common (Girshick 2015, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import Step
from gentool.sampling import Detections

from .assign import NEGATIVE, Truth, match, sample
from .boxes import best_overlap, giou, paired_iou
from .coding import decode, encode
from .detecting import Detecting, Found, finish

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the box transform, so that its targets have about unit variance


def bordered(x: Tensor) -> Tensor:
    """A map with a row and a column of 0 more: what is sampled beyond a picture's last cell is 0 on every canvas."""
    return F.pad(x, (0, 1, 0, 1))


class RegionHead(nn.Module):
    """Features of regions (K, D) -> class logits (K, classes + 1), background first, and a box transform for each class
    (K, classes, 4)."""

    def __init__(self, inputs: int, hidden: int, classes: int):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.classes = nn.Linear(hidden, classes + 1)
        self.boxes = nn.Linear(hidden, 4 * classes)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.boxes.weight, std=0.001)
        for last in (self.classes, self.boxes):
            nn.init.zeros_(last.bias)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hidden(regions.flatten(1))
        return self.classes(x).float(), self.boxes(x).float().unflatten(1, (-1, 4))


@dataclass(frozen=True)
class Chosen:
    """Regions that are learned from. rois: (K, 5), picture and box; labels: int64 (K,), 0 background, k + 1 class k;
    target: (K, 4), the box to be found, of a positive one."""

    rois: Tensor
    labels: Tensor
    target: Tensor


@torch.no_grad()
def choose(
    proposals: Sequence[Tensor],
    truths: Sequence[Truth],
    step: Step,
    *,
    count: int,
    share: float,
    positive: float,
    negative: float,
    near: float = 0.0,
    look: int = 0,
) -> Chosen:
    """`count` regions a picture, at most `share` of them positive (IoU >= positive), the others background (IoU <
    negative); the true boxes are proposals too.

    near: background of IoU >= near is drawn before any other, which only fills up (Girshick 2015, section 2.3: from [0.1,
    0.5)). Of all windows of a picture few lie beside its objects: drawn evenly, a positive window is learned from at
    every step and those beside it hardly ever, so that they come to score like it. look: draws anew for each.
    """
    rois, labels, targets = [], [], []
    for i, (boxes, truth) in enumerate(zip(proposals, truths, strict=True)):
        boxes = torch.cat((boxes, truth.boxes))
        index = match(boxes, truth, positive, negative, lift=False)
        noise = step.uniform(len(boxes), purpose=f"regions {i}" + f", look {look}" * (look > 0)).to(boxes.device)
        if near > 0:
            noise = noise + (best_overlap(boxes, truth.boxes)[0] < near)
        index = sample(index, count, share, noise)
        taken = index >= NEGATIVE
        boxes, index = boxes[taken], index[taken]
        rois.append(torch.cat((boxes.new_full((len(boxes), 1), i), boxes), 1))
        there = index.clamp(min=0)
        if len(truth.boxes):
            labels.append(torch.where(index >= 0, truth.labels[there] + 1, 0))
            targets.append(truth.boxes[there])
        else:
            labels.append(torch.zeros_like(index))
            targets.append(boxes)
    return Chosen(torch.cat(rois), torch.cat(labels), torch.cat(targets))


class RegionDetector(Detecting):
    """A detector by regions: `propose` says where to look, `look` what is there.

    With several `looks` a region is looked at again where the box of its best class was put, by the same head, and its
    scores are the mean of all looks (Cai and Vasconcelos 2018, "Cascade R-CNN", section 3.1: iterative regression; the
    head learns from regions as every look meets them). The later ones see what fits already, and what does not.
    """

    head: RegionHead
    looks = 1  # at a region
    overlap = 0.5  # every proposal answers for itself, so more are near each other than of a grid

    def propose(self, images: Tensor, size: Tensor, features: Any = None) -> list[Tensor]:
        """Boxes (P, 4) to look at, of each picture, best first. features: of these pictures, where there are any yet."""
        raise NotImplementedError

    def features(self, images: Tensor, size: Tensor) -> Any:
        """What is computed once a picture."""
        raise NotImplementedError

    def look(self, images: Tensor, features: Any, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (K, classes + 1) and box transforms (K, classes, 4) of regions (K, 5)."""
        raise NotImplementedError

    def find(self, images: Tensor, size: Tensor, found: Found) -> list[Detections]:
        features = self.features(images, size)
        proposals = self.propose(images, size, features)
        return self.found_in(images, size, features, proposals, found)

    def found_in(
        self, images: Tensor, size: Tensor, features: Any, proposals: Sequence[Tensor], found: Found
    ) -> list[Detections]:
        """The detections among given proposals."""
        results = []
        for i, boxes in enumerate(proposals):
            rois = torch.cat((boxes.new_full((len(boxes), 1), i), boxes), 1)
            total = boxes.new_zeros(len(boxes), len(self.info.classes))  # type: ignore[arg-type]
            for _ in range(self.looks):
                logits, t = self.look(images, features, rois)
                total = total + logits.softmax(1)[:, 1:]
                moved, rois = decode(t, rois[:, None, 1:], WEIGHTS), best_boxes(logits, t, rois, size)
            results.append(finish(moved, total / self.looks, size[i], found))
        return results


@torch.no_grad()
def best_boxes(logits: Tensor, t: Tensor, rois: Tensor, size: Tensor) -> Tensor:
    """Regions (K, 5) where each one's best class puts the box of rois (K, 5), cut to the pictures of size (N, 2)."""
    label = logits[:, 1:].argmax(1)
    boxes = decode(t[torch.arange(len(t), device=t.device), label], rois[:, 1:], WEIGHTS)
    most = size.flip(1).repeat(1, 2)[rois[:, 0].long()]
    return torch.cat((rois[:, :1], torch.minimum(boxes.clamp(min=0), most.to(boxes.dtype))), 1)


def region_losses(
    logits: Tensor, t: Tensor, chosen: Chosen, *, box: str = "smooth-l1", quality: bool = False
) -> dict[str, Tensor]:
    """L_cls = -log p_u and [u >= 1] smooth L1 of the transform of class u (Girshick 2015, equations 1 to 3), both means
    over the regions.

    box "giou": 1 - GIoU of the box instead (Rezatofighi et al. 2019), whose gradient does not fade as boxes come to fit.
    quality: p is to be 1 - q for background and q for class u, q the IoU of the box that the region is given: so the boxes
    that fit come first, in the ranking and in the suppression (as in Li et al. 2020, "Generalized Focal Loss", section
    3.1, for a softmax).
    """
    own = (chosen.labels > 0).nonzero()[:, 0]
    label = chosen.labels[own]
    target, rois, t = chosen.target[own], chosen.rois[own, 1:], t[own, label - 1]
    wanted = F.one_hot(chosen.labels, logits.shape[1]).to(logits.dtype)
    if quality:
        q = paired_iou(decode(t.detach(), rois, WEIGHTS), target).to(logits.dtype)
        wanted[own, label], wanted[own, 0] = q, 1 - q
    classes = F.cross_entropy(logits, wanted) if len(logits) else logits.sum()
    if box == "giou":
        off = 1 - giou(decode(t, rois, WEIGHTS), target)
    else:
        off = t - encode(target, rois, WEIGHTS)
        off = F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none")
    return {"classes": classes, "boxes": off.sum() / max(1, len(logits))}
