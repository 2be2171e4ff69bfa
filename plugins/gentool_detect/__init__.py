"""Object detection, from one object to every object, each step of the story a model of its own.

    single-object  one network, two heads: what it is and where (softmax and squared error, weighted)
    rcnn           Girshick et al. 2014, "Rich feature hierarchies for accurate object detection": proposals from outside,
                   each warped through the network
    fast-rcnn      Girshick 2015: the network once a picture, regions pooled from its features
    detect         Faster R-CNN (Ren et al. 2015): the proposals come from the features too, one map of them or a feature
                   pyramid (Lin et al. 2017)
    single-stage   classes and boxes straight from the places of the grid: with anchors and focal loss (RetinaNet, Lin et
                   al. 2017), or without anchors (FCOS, Tian et al. 2019; TOOD, Feng et al. 2021)

All share the backbone, anchors, box coding, matching, heads and the mAP they are scored by.
"""

from __future__ import annotations

from gentool import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, hookimpl

from . import presets
from .configs import (
    DetectConfig,
    FasterRCNNConfig,
    FasterRCNNLossConfig,
    FastRCNNConfig,
    MapConfig,
    RCNNConfig,
    RegionLossConfig,
    SingleObjectConfig,
    SingleObjectLossConfig,
    SingleStageConfig,
    SingleStageLossConfig,
    StagesConfig,
)

RCNN_PAPER = "Girshick et al. 2014, arXiv:1311.2524"
FAST_PAPER = "Girshick 2015, arXiv:1504.08083"
FASTER_PAPER = "Ren et al. 2015, arXiv:1506.01497; pyramid: Lin et al. 2017, arXiv:1612.03144"
SINGLE_PAPER = "Lin et al. 2017, arXiv:1708.02002; without anchors: Tian et al. 2019, Feng et al. 2021"
MAP_PAPER = "Lin et al. 2014, arXiv:1405.0312; Everingham et al. 2010; errors after TIDE: Bolya et al. 2020"
MULTITASK_PAPER = "Sermanet et al. 2014, arXiv:1312.6229 (classification and localisation by two heads)"


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="single-object",
            summary="What is it and where: one object a picture, one network with two heads",
            factory="gentool_detect.single_object:SingleObject",
            config=SingleObjectConfig,
            output=Output.BOXES,
            loss="single-object",
            sampler="detections",
            evaluators=("localisation",),
            dataset="scenes-one",
            offers=("detect", "one-object"),
            paper=MULTITASK_PAPER,
            inputs=("boxes",),
            defaults=presets.ONE,
            presets=presets.SINGLE_OBJECT,
        ),
        ModelSpec(
            name="rcnn",
            summary="R-CNN: proposals from outside, each warped through the network",
            factory="gentool_detect.rcnn:RCNN",
            config=RCNNConfig,
            output=Output.BOXES,
            loss="regions",
            sampler="detections",
            evaluators=("map", "proposal-recall"),
            dataset="scenes",
            offers=("detect", "propose", "regions", "stages"),
            paper=RCNN_PAPER,
            inputs=("boxes",),
            defaults={**presets.SCENES, **presets.PROPOSED},
            presets=presets.RCNN,
        ),
        ModelSpec(
            name="fast-rcnn",
            summary="Fast R-CNN: proposals from outside, pooled from features computed once",
            factory="gentool_detect.rcnn:FastRCNN",
            config=FastRCNNConfig,
            output=Output.BOXES,
            loss="regions",
            sampler="detections",
            evaluators=("map", "proposal-recall"),
            dataset="scenes",
            offers=("detect", "propose", "regions", "stages"),
            paper=FAST_PAPER,
            inputs=("boxes",),
            defaults={**presets.SCENES, **presets.PROPOSED, **presets.NEAR},
            presets=presets.FAST_RCNN,
        ),
        ModelSpec(
            name="detect",
            summary="Faster R-CNN: the network proposes regions itself; with a feature pyramid",
            factory="gentool_detect.faster:FasterRCNN",
            config=FasterRCNNConfig,
            output=Output.BOXES,
            loss="faster-rcnn",
            sampler="detections",
            evaluators=("map", "proposal-recall"),
            dataset="scenes",
            offers=("detect", "propose", "proposal-network", "stages"),
            paper=FASTER_PAPER,
            inputs=("boxes",),
            defaults=presets.SCENES,
            presets=presets.DETECT,
            checkpoints={
                "scenes": "checkpoints/detect-scenes.safetensors",
                "bccd": "checkpoints/detect-bccd.safetensors",
            },
            aliases=("faster-rcnn",),
        ),
        ModelSpec(
            name="single-stage",
            summary="Classes and boxes straight from the grid: focal loss on anchors, or anchor-free",
            factory="gentool_detect.single_stage:SingleStage",
            config=SingleStageConfig,
            output=Output.BOXES,
            loss="single-stage",
            sampler="detections",
            evaluators=("map",),
            dataset="scenes",
            offers=("detect", "dense-boxes", "stages"),
            paper=SINGLE_PAPER,
            inputs=("boxes",),
            defaults=presets.SCENES,
            presets=presets.SINGLE_STAGE,
            checkpoints={"bccd": "checkpoints/single-stage-bccd.safetensors"},
        ),
    ]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="single-object",
            summary="Softmax of the class and squared error of the box, weighted",
            factory="gentool_detect.loss:SingleObject",
            needs=("one-object",),
            config=SingleObjectLossConfig,
            monitor="loss",
            paper=MULTITASK_PAPER,
        ),
        LossSpec(
            name="regions",
            summary="Class and box of sampled proposals from outside",
            factory="gentool_detect.loss:Regions",
            needs=("regions",),
            config=RegionLossConfig,
            monitor="loss",
            paper=FAST_PAPER,
        ),
        LossSpec(
            name="faster-rcnn",
            summary="Objectness and box of sampled anchors, class and box of sampled proposals",
            factory="gentool_detect.loss:FasterRCNN",
            needs=("proposal-network",),
            config=FasterRCNNLossConfig,
            monitor="loss",
            paper=FASTER_PAPER,
        ),
        LossSpec(
            name="single-stage",
            summary="Focal loss and box of all anchors, or task-aligned learning of all points",
            factory="gentool_detect.loss:SingleStage",
            needs=("dense-boxes",),
            config=SingleStageLossConfig,
            monitor="loss",
            paper=SINGLE_PAPER,
        ),
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="detections",
            summary="What the detector finds on pictures: --image FILE, or some of the test split",
            factory="gentool_detect.sampler:detections",
            needs=("detect",),
            output=Output.BOXES,
            config=DetectConfig,
            pictures="must",
        ),
        SamplerSpec(
            name="stages",
            summary="Anchors, proposals before and after suppression, matched and unmatched, on one picture",
            factory="gentool_detect.views:stages",
            needs=("detect", "stages"),
            output=Output.BOXES,
            config=StagesConfig,
            view=True,
            pictures="must",
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="map",
            summary="mean average precision by COCO and VOC, by class and size, and what goes wrong",
            factory="gentool_detect.evaluate:MeanAveragePrecision",
            needs=("detect",),
            outputs=(Output.BOXES,),
            config=MapConfig,
            predictions="gentool_detect.report:score_results",
            paper=MAP_PAPER,
        ),
        EvaluatorSpec(
            name="proposal-recall",
            summary="how many objects the proposals cover, by their number",
            factory="gentool_detect.evaluate:ProposalRecall",
            needs=("propose",),
            outputs=(Output.BOXES,),
            paper="Hosang et al. 2016, arXiv:1502.05082",
        ),
        EvaluatorSpec(
            name="localisation",
            summary="accuracy of the class and overlap of the box of one object a picture",
            factory="gentool_detect.evaluate:Localisation",
            needs=("detect",),
            outputs=(Output.BOXES,),
        ),
    ]
