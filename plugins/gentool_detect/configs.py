"""What can be set of each model, loss and view of the family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool import option


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """model.* of every detector."""

    widths: tuple[int, int, int, int] = option((32, 64, 128, 160), "channels of the backbone at strides 4, 8, 16, 32")
    blocks: tuple[int, int, int, int] = option((1, 2, 2, 1), "residual blocks of the backbone at strides 4, 8, 16, 32")
    backbone_weights: str = option("", "a safetensors file with the backbone to start from", initial=True)


@dataclass(frozen=True, kw_only=True)
class SingleStageConfig(BackboneConfig):
    """model.* of `single-stage`."""

    channels: int = option(64, "channels of the pyramid and the head", ge=4, le=2048)
    finest: Literal[4, 8] = option(8, "the pyramid's first level: pixels a cell is wide; 4 for small things")
    depth: int = option(2, "convolutions of each of the head's two towers", ge=0, le=8)
    places: Literal["anchors", "points"] = option(
        "anchors", "boxes from anchors (RetinaNet), or anchor-free from points"
    )
    anchor: float = option(3.0, "anchors: side of the smallest anchor in strides", gt=0, le=64)
    scales: tuple[float, ...] = option((1.0, 1.26, 1.587), "anchors: sides of a place's anchors, relative to it")
    ratios: tuple[float, ...] = option((0.5, 1.0, 2.0), "anchors: height / width of a place's anchors")
    bins: int = option(16, "points: bins of the distribution of a distance of 0 to 16 cells", ge=1, le=64)


@dataclass(frozen=True, kw_only=True)
class SingleStageLossConfig:
    """loss.* of `single-stage`."""

    alpha: float = option(0.25, "anchors: focal loss, weight of the positive", ge=0, le=1)
    gamma: float = option(2.0, "anchors: focal loss, how much the easy count less", ge=0, le=10)
    positive: float = option(0.5, "anchors: IoU from which an anchor is to find a box", ge=0, le=1)
    negative: float = option(0.4, "anchors: IoU below which an anchor is background", ge=0, le=1)
    topk: int = option(10, "points: places that learn a box at most", ge=1, le=100)
    classes: float = option(1.0, "weight of the class term", ge=0, le=100)
    boxes: float = option(2.0, "weight of the box term: smooth L1 of transforms, or 1 - GIoU of points", ge=0, le=100)
    bins: float = option(0.5, "points: weight of the distribution focal loss", ge=0, le=100)


@dataclass(frozen=True, kw_only=True)
class FasterRCNNConfig(BackboneConfig):
    """model.* of `detect`."""

    pyramid: bool = option(True, "features and proposals from a pyramid of maps; false: from one map")
    channels: int = option(64, "channels of the pyramid", ge=4, le=2048)
    finest: Literal[4, 8] = option(8, "the pyramid's first level: pixels a cell is wide; 4 for small things")
    stride: Literal[8, 16, 32] = option(16, "without a pyramid: pixels a cell of the map is wide")
    anchor: float = option(3.0, "side of an anchor of scale 1 in strides", gt=0, le=64)
    scales: tuple[float, ...] = option((1.0,), "pyramid: sides of a place's anchors, relative to `anchor`")
    map_scales: tuple[float, ...] = option((0.5, 1.0, 2.0), "without a pyramid: the same")
    ratios: tuple[float, ...] = option((0.5, 1.0, 2.0), "height / width of a place's anchors")
    candidates: int = option(400, "best anchors of a level that go into the proposals' suppression", ge=1, le=100_000)
    proposal_nms: float = option(0.7, "IoU above which the lesser of two proposals goes", ge=0, le=1)
    proposals: int = option(150, "proposals a picture, at most", ge=1, le=100_000)
    pooling: Literal["align", "pool"] = option("align", "RoI align, or RoI pooling as in Fast R-CNN")
    bins: int = option(7, "a region becomes so many bins high and wide", ge=1, le=32)
    hidden: int = option(256, "units of the region head's two hidden layers", ge=1, le=8192)
    looks: int = option(1, "times a region is looked at, each time where the box of the last was", ge=1, le=5)
    soft: float = option(
        0.0, "soft suppression of what is found: sigma of its Gaussian; 0: the lesser of two goes", ge=0, le=10
    )


@dataclass(frozen=True, kw_only=True)
class RegionLossConfig:
    """loss.* of `regions`."""

    regions: int = option(64, "regions a picture that are learned from", ge=1, le=10_000)
    share: float = option(0.5, "of these are positive at most (Fast R-CNN: 0.25)", ge=0, le=1)
    positive: float = option(0.5, "IoU from which a region is to find a box", ge=0, le=1)
    negative: float = option(0.5, "IoU below which a region is background", ge=0, le=1)
    near: float = option(0.0, "background of at least this IoU is drawn first (Fast R-CNN: 0.1)", ge=0, le=1)
    classes: float = option(1.0, "weight of the regions' class term", ge=0, le=100)
    boxes: float = option(2.0, "weight of the regions' box term", ge=0, le=100)
    box: Literal["smooth-l1", "giou"] = option("smooth-l1", "box term: smooth L1 of the transform, or 1 - GIoU")
    quality: bool = option(False, "the score of a positive region is to be how well its box fits, not 1")


@dataclass(frozen=True, kw_only=True)
class FasterRCNNLossConfig(RegionLossConfig):
    """loss.* of `faster-rcnn`."""

    anchors: int = option(128, "anchors a picture that the proposal network learns from", ge=2, le=100_000)
    anchor_positive: float = option(0.7, "IoU from which an anchor is an object", ge=0, le=1)
    anchor_negative: float = option(0.3, "IoU below which an anchor is background", ge=0, le=1)
    rpn_objectness: float = option(1.0, "weight of the proposal network's objectness term", ge=0, le=100)
    rpn_boxes: float = option(2.0, "weight of the proposal network's box term", ge=0, le=100)


@dataclass(frozen=True, kw_only=True)
class ProposerConfig(BackboneConfig):
    """What R-CNN and Fast R-CNN have in common."""

    proposer: Literal["auto", "selective-search", "edges"] = option(
        "auto", "selective search (an extra), or windows scored by edges; auto: the first where it is installed"
    )
    search: Literal["fast", "quality"] = option("fast", "selective search: a third of a second a picture, or a second")
    proposals: int = option(2000, "proposals a picture, at most", ge=1, le=100_000)
    hidden: int = option(256, "units of the region head's two hidden layers", ge=1, le=8192)


@dataclass(frozen=True, kw_only=True)
class RCNNConfig(ProposerConfig):
    """model.* of `rcnn`."""

    side: int = option(48, "pixels a proposal is warped to, each way", ge=16, le=512)
    context: int = option(4, "pixels of these that show what is around the proposal", ge=0, le=128)
    samples: int = option(1, "samples of the picture for a warped pixel, each way", ge=1, le=8)


@dataclass(frozen=True, kw_only=True)
class FastRCNNConfig(ProposerConfig):
    """model.* of `fast-rcnn`."""

    stride: Literal[8, 16, 32] = option(8, "pixels a cell of the feature map is wide")
    pooling: Literal["pool", "align"] = option("pool", "RoI pooling as in the paper, or RoI align")
    bins: int = option(7, "a region becomes so many bins high and wide", ge=1, le=32)


@dataclass(frozen=True, kw_only=True)
class SingleObjectConfig(BackboneConfig):
    """model.* of `single-object`."""

    stride: Literal[8, 16, 32] = option(8, "pixels apart are the places that each give an answer")
    hidden: int = option(256, "units of the heads' hidden layer", ge=1, le=8192)


@dataclass(frozen=True, kw_only=True)
class SingleObjectLossConfig:
    """loss.* of `single-object`."""

    classes: float = option(1.0, "weight of the softmax term", ge=0, le=1000)
    boxes: float = option(10.0, "weight of the squared error of the box", ge=0, le=1000)
    places: float = option(1.0, "weight of the softmax over the places, which is to answer", ge=0, le=1000)


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """Which of several detections of one thing stay: what samplers and evaluators ask of `detect`."""

    nms: float = option(
        0.0, "IoU above which the lesser of two detections of a class goes; 0: the model's own, 0.5 or 0.6", ge=0, le=1
    )
    soft: float = option(0.0, "soft suppression: sigma of its Gaussian; 0: the model's own, mostly none", ge=0, le=10)


@dataclass(frozen=True, kw_only=True)
class DetectConfig(Suppression):
    """sampler.* of `detections`."""

    threshold: float = option(0.05, "score below which nothing counts as found", ge=0, le=1)
    limit: int = option(100, "detections a picture, at most", ge=1, le=10_000)


@dataclass(frozen=True, kw_only=True)
class StagesConfig:
    """sampler.* of `stages`."""

    most: int = option(60, "boxes of a stage that are drawn, matched ones and others each", ge=1, le=10_000)
    threshold: float = option(0.3, "score below which nothing counts as found", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class MapConfig(Suppression):
    """Options of `map`."""

    threshold: float = option(0.01, "detections of a model below this score are not asked for", ge=0, lt=1)
    limit: int = option(100, "most detections of a model on a picture", ge=1)
    score: float = option(0.0, "least score in the confusion matrix; 0: the one of the best F1", ge=0)
