"""The objectives of the detectors. Everything here is computed in fp32, whatever the network was computed in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool import Batch, Phase, Step, UsageError

from .assign import NEGATIVE, align, match, sample, truths
from .boxes import area, giou
from .coding import distances, encode
from .regions import best_boxes, choose, region_losses
from .single_stage import RANGE, Dense

if TYPE_CHECKING:
    from .configs import FasterRCNNLossConfig, RegionLossConfig, SingleObjectLossConfig, SingleStageLossConfig
    from .faster import Features

Terms = dict[str, Tensor]


def focal(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """FL(p_t) = -alpha_t (1 - p_t)^gamma log p_t, of each logit (Lin et al. 2017, "Focal Loss", equation 5)."""
    p = logits.sigmoid()
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    return alpha_t * (1 - p_t) ** gamma * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def smooth_l1(x: Tensor, beta: float = 1.0) -> Tensor:
    """0.5 x^2 / beta where |x| < beta, |x| - 0.5 beta elsewhere (Girshick 2015, equation 3, with its knee at beta)."""
    return torch.where(x.abs() < beta, 0.5 * x.square() / beta, x.abs() - 0.5 * beta)


def distribution_focal(logits: Tensor, y: Tensor) -> Tensor:
    """DFL = -((y_{i+1} - y) log S_i + (y - y_i) log S_{i+1}), of each distance (Li et al. 2020, equation 6).

    logits: (..., bins + 1) of the bins 0, 1, 2, ...; y: (...) in [0, bins], between the bins i and i + 1.
    """
    below = y.floor().clamp(max=logits.shape[-1] - 2)
    weight = y - below
    log_s = logits.log_softmax(-1)
    pair = torch.stack((below, below + 1), -1).long()
    log_below, log_above = log_s.gather(-1, pair).unbind(-1)
    return -((1 - weight) * log_below + weight * log_above)


def phase(terms: Terms, weights: dict[str, float], extra: Terms | None = None) -> Phase:
    """The weighted sum, with every term logged by its name."""
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return Phase("model", total, {name: term.detach() for name, term in {**terms, **(extra or {})}.items()})


def needs_boxes(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """The pictures and their sizes, or one sentence where the batch has no boxes."""
    if batch.images is None or "boxes" not in batch.extra:
        raise UsageError(f"'{model.info.name}' has no pictures with boxes: choose another --data, such as scenes.")
    return batch.images, batch.extra["size"]


class SingleObject:
    """L = -w_c log p_c + w_b |b - b*|^2 - w_p log a_k: softmax and squared error, weighted (the multi-task loss of two
    heads), and which place answers for the picture: k, the nearest to the object's centre.

    The object of a picture is the largest one there; a picture without any teaches nothing. Without the third term the
    first two would have to find out first, from the means over all places alone, that there is a thing at all.
    """

    def __init__(self, config: SingleObjectLossConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        images, size = needs_boxes(model, batch)
        answer = model.predict(images, size)
        with torch.autocast(images.device.type, enabled=False):
            labels, wanted, there = largest(batch)
            n = there.sum().clamp(min=1)
            centre = (wanted[:, :2] + wanted[:, 2:]) / 2
            away = (answer.grid.points[None] - centre[:, None]).square().sum(2)
            place = away.masked_fill(~answer.grid.inside, torch.inf).argmin(1)
            each = {
                "classes": F.cross_entropy(answer.logits, labels, reduction="none"),
                "boxes": (answer.boxes - wanted / size.flip(1).repeat(1, 2)).square().sum(1),
                "places": F.cross_entropy(answer.sure, place, reduction="none"),
            }
            terms = {name: (term * there).sum() / n for name, term in each.items()}
            right = ((answer.logits.argmax(1) == labels) & there).sum() / n
        c = self.config
        yield phase(terms, {"classes": c.classes, "boxes": c.boxes, "places": c.places}, {"accuracy": right})


def largest(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The largest object of each picture: labels (N,), boxes (N, 4) in pixels, and whether there is any (N,)."""
    boxes, labels, crowd = (batch.extra[key] for key in ("boxes", "box_labels", "crowd"))
    size = torch.where((labels >= 0) & ~crowd.bool(), area(boxes), -1.0)
    most, which = size.max(1)
    rows = torch.arange(len(boxes), device=boxes.device)
    there = most >= 0
    return labels[rows, which].clamp(min=0), boxes[rows, which], there


class SingleStage:
    """Focal loss on anchors, or task-aligned learning on points, and the boxes of the positive ones."""

    def __init__(self, config: SingleStageLossConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        dense = model.dense(*needs_boxes(model, batch))
        c = self.config
        with torch.autocast(dense.logits.device.type, enabled=False):
            terms = self.anchors(dense, batch) if model.anchored else self.points(model, dense, batch)
        yield phase(terms, {"classes": c.classes, "boxes": c.boxes, "bins": c.bins})

    def anchors(self, dense: Dense, batch: Batch) -> Terms:
        """RetinaNet: focal loss over all anchors, smooth L1 over the positive ones, both by the number of these."""
        c = self.config
        classes, boxes = [], []
        count = 0
        for i, truth in enumerate(truths(batch)):
            index = match(dense.grid.boxes, truth, c.positive, c.negative, dense.grid.inside[i])
            used, positive = index >= NEGATIVE, index >= 0
            target = torch.zeros_like(dense.logits[i])
            target[positive, truth.labels[index[positive]]] = 1
            classes.append(focal(dense.logits[i][used], target[used], c.alpha, c.gamma).sum())
            wanted = encode(truth.boxes[index[positive]], dense.grid.boxes[positive])
            boxes.append(smooth_l1(dense.raw[i][positive] - wanted, 0.11).sum())
            count += len(wanted)
        n = max(1, count)
        return {"classes": torch.stack(classes).sum() / n, "boxes": torch.stack(boxes).sum() / n}

    def points(self, model: Any, dense: Dense, batch: Batch) -> Terms:
        """TOOD, equations 3 to 6 with GIoU: the class scores learn the alignment, which also weighs the boxes."""
        c = self.config
        grid = dense.grid
        classes, boxes, bins, mass = [], [], [], []
        scores = dense.logits.detach().sigmoid()
        for i, truth in enumerate(truths(batch)):
            chosen = align(scores[i], dense.boxes[i].detach(), grid, grid.inside[i], truth, topk=c.topk)
            used, positive = chosen.index >= NEGATIVE, chosen.index >= 0
            which, weight = chosen.index[positive], chosen.quality[positive]
            target = torch.zeros_like(dense.logits[i])
            target[positive, truth.labels[which]] = weight
            classes.append(F.binary_cross_entropy_with_logits(dense.logits[i][used], target[used], reduction="sum"))
            wanted = truth.boxes[which]
            boxes.append((weight * (1 - giou(dense.boxes[i][positive], wanted))).sum())
            cells = distances(wanted, grid.points[positive]) / grid.strides[positive, None]
            y = (cells * (model.bins / RANGE)).clamp(0, model.bins)
            bins.append((weight * distribution_focal(dense.raw[i][positive], y).mean(-1)).sum())
            mass.append(weight.sum())
        n = torch.stack(mass).sum().clamp(min=1)
        return {
            "classes": torch.stack(classes).sum() / n,
            "boxes": torch.stack(boxes).sum() / n,
            "bins": torch.stack(bins).sum() / n,
        }


class Regions:
    """The multi-task loss of Fast R-CNN (Girshick 2015, section 2.3) on proposals from outside."""

    def __init__(self, config: RegionLossConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        images, size = needs_boxes(model, batch)
        features = model.features(images, size)
        terms = self.regions(model, images, features, model.propose(images, size, features), batch, step)
        yield phase(terms, {"classes": self.config.classes, "boxes": self.config.boxes})

    def regions(
        self, model: Any, images: Tensor, features: Any, proposals: list[Tensor], batch: Batch, step: Step
    ) -> Terms:
        """The two terms, means over the looks; each look learns from where the one before put its regions."""
        c = self.config
        known, looks = truths(batch), []
        for turn in range(model.looks):
            chosen = choose(
                proposals,
                known,
                step,
                count=c.regions,
                share=c.share,
                positive=c.positive,
                negative=c.negative,
                near=c.near,
                look=turn,
            )
            logits, t = model.look(images, features, chosen.rois)
            with torch.autocast(logits.device.type, enabled=False):
                looks.append(region_losses(logits, t, chosen, box=c.box, quality=c.quality))
            moved = best_boxes(logits, t, chosen.rois, batch.extra["size"])
            proposals = [moved[moved[:, 0] == i, 1:] for i in range(len(known))]
        return {name: torch.stack([one[name] for one in looks]).mean() for name in looks[0]}


class FasterRCNN(Regions):
    """End to end: the two terms of the proposal network (Ren et al. 2015, equation 1) and the two of the regions."""

    config: FasterRCNNLossConfig

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        c = self.config
        images, size = needs_boxes(model, batch)
        features = model.features(images, size)
        with torch.autocast(images.device.type, enabled=False):
            terms = self.proposals(features, batch, step)
        terms |= self.regions(model, images, features, model.propose(images, size, features), batch, step)
        weights = {"rpn_objectness": c.rpn_objectness, "rpn_boxes": c.rpn_boxes, "classes": c.classes, "boxes": c.boxes}
        yield phase(terms, weights)

    def proposals(self, features: Features, batch: Batch, step: Step) -> Terms:
        """Binary cross-entropy of sampled anchors, smooth L1 of the positive ones, both by the number of anchors."""
        c = self.config
        grid = features.grid
        objectness, boxes = [], []
        count = 0
        for i, truth in enumerate(truths(batch)):
            index = match(grid.boxes, truth, c.anchor_positive, c.anchor_negative, grid.inside[i])
            noise = step.uniform(len(index), purpose=f"anchors {i}").to(index.device)
            index = sample(index, c.anchors, 0.5, noise)
            used, positive = index >= NEGATIVE, index >= 0
            objectness.append(
                F.binary_cross_entropy_with_logits(
                    features.objectness[i][used], positive[used].float(), reduction="sum"
                )
            )
            wanted = encode(truth.boxes[index[positive]], grid.boxes[positive])
            boxes.append(smooth_l1(features.transforms[i][positive] - wanted, 1 / 9).sum())
            count += int(used.sum())
        n = max(1, count)
        return {"rpn_objectness": torch.stack(objectness).sum() / n, "rpn_boxes": torch.stack(boxes).sum() / n}
