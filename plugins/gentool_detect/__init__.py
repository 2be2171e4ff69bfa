"""Object detection, from one object to every object, each step of the story a model of its own.

    single-object  one network, two heads: what it is and where (softmax and squared error, weighted)
    rcnn           Girshick et al. 2014, "Rich feature hierarchies for accurate object detection": proposals from outside,
                   each warped through the network
    fast-rcnn      Girshick 2015: the network once a picture, regions pooled from its features
    detect         Faster R-CNN (Ren et al. 2015): the proposals come from the features too; with a feature pyramid
                   (Lin et al. 2017) as a preset
    single-stage   classes and boxes straight from the places of the grid: with anchors and focal loss (RetinaNet, Lin et
                   al. 2017), or without anchors (FCOS, Tian et al. 2019; TOOD, Feng et al. 2021)

All share the backbone, anchors, box coding, matching, heads and the mAP they are scored by.
"""

from __future__ import annotations

from gentool import EvaluatorSpec, LossSpec, ModelSpec, SamplerSpec, hookimpl


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return []


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return []


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return []


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return []
