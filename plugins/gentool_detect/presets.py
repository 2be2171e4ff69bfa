"""Recipes: defaults (embedded scenes) and presets of each model, as dotted config keys."""

from __future__ import annotations

from collections.abc import Mapping

Keys = Mapping[str, object]

DEBUG: Keys = {
    "train.steps": 2,
    "train.batch_size": 4,
    "model.widths": (8, 8, 8, 8),
    "model.blocks": (0, 1, 1, 1),
    "data.limit": 16,
    "validation.examples": 4,
}
SMALL_HEAD: Keys = {"model.hidden": 16}

# 128x128 scenes of few things: half a minute to a few minutes of one core.
SCENES: Keys = {
    "train.batch_size": 16,
    "train.steps": 800,
    "train.ema": 0.995,
    "train.clip": 10.0,
    "validation.examples": 128,
    "optim.model.lr": 2e-3,
    "optim.model.weight_decay": 0.05,
    "schedule.name": "cosine",
    "schedule.warmup": 60,
    "schedule.final": 0.02,
}

# 640x480 photographs of blood cells at half their size; a microscope knows no up, and stains differ.
BCCD: Keys = {
    "data.name": "bccd",
    "data.short_side": 240,
    "data.long_side": 320,
    "data.flip": "both",
    "data.jitter": 1.5,
    "data.colour": 0.2,
    "train.batch_size": 8,
    "train.ema": 0.998,
    "validation.every": 400,
}

# Cards are seen under any light, and 110 pictures are all there are. Turned by quarters, too, they take longer to learn:
# AP50 .64 after 25 CPU-minutes, against .81.
CARDS: Keys = {
    "data.name": "playing-cards",
    "data.short_side": 256,
    "data.long_side": 384,
    "data.flip": "both",
    "data.jitter": 1.4,
    "data.crop": 0.3,
    "data.colour": 0.4,
    "train.batch_size": 8,
    "train.ema": 0.998,
    "validation.every": 400,
}

# What is far away in a scene is ten pixels wide, and counts only where its box is right to the pixel.
FINE: Keys = {"model.finest": 4, "train.batch_size": 8, "train.ema": 0.998, "schedule.warmup": 100}

# What is left to gain on scenes is the last half pixel: more of the network at stride 4, regions that are looked at twice,
# boxes learned and ranked by their overlap. Few things are on a picture, so that few proposals do.
PRECISE: Keys = {
    "model.widths": (48, 64, 128, 160),
    "model.blocks": (2, 2, 2, 1),
    "model.candidates": 100,
    "model.proposals": 60,
    "model.looks": 2,
    "model.soft": 0.5,
    "loss.box": "giou",
    "loss.boxes": 10.0,
    "loss.quality": True,
    "data.colour": 0.1,
    "train.ema": 0.999,
}

POINTS: Keys = {"model.places": "points"}

# A picture teaches one class only, so that steps are noisy: half the rate of the others, and twice the steps.
ONE: Keys = {**SCENES, "optim.model.lr": 1e-3, "train.steps": 1600}

SINGLE_OBJECT: Mapping[str, Keys] = {
    "debug": {**DEBUG, **SMALL_HEAD},
    "long": {"train.steps": 8000, "train.ema": 0.998},
}

SINGLE_STAGE: Mapping[str, Keys] = {
    "debug": {**DEBUG, "model.channels": 8, "model.depth": 1},
    "anchor-free": POINTS,
    "scenes": {**POINTS, **FINE, "train.steps": 2400},
    "bccd": {**POINTS, **BCCD, "train.steps": 1650},
    "playing-cards": {**POINTS, **CARDS, "train.steps": 2400},
}

# Stride 16 alone, as in 2015, with anchors of three sizes.
SINGLE_MAP: Keys = {"model.pyramid": False}

DETECT: Mapping[str, Keys] = {
    "debug": {**DEBUG, **SMALL_HEAD, "model.channels": 8, "model.proposals": 10, "loss.anchors": 16, "loss.regions": 8},
    "fpn": {"model.pyramid": True},
    "single-map": SINGLE_MAP,
    "scenes": {**FINE, "model.channels": 48, "model.anchor": 4.0, "train.steps": 2400},
    "scenes-precise": {**FINE, "model.channels": 48, "model.anchor": 4.0, **PRECISE, "train.steps": 6000},
    "bccd": {**BCCD, "train.steps": 1300},
    "playing-cards": {**CARDS, "train.steps": 2400},
}

# Proposals are of the picture as it is seen: no scaling or cropping at random, or each step would search anew.
PROPOSED: Keys = {"data.flip": "none"}
NEAR: Keys = {"loss.near": 0.1}  # Girshick 2015, section 2.3

RCNN: Mapping[str, Keys] = {
    "debug": {**DEBUG, **SMALL_HEAD, "model.proposer": "edges", "model.side": 16, "model.context": 2,
              "model.proposals": 10, "loss.regions": 8},
    "bccd": {**BCCD, **PROPOSED, "data.jitter": 1.0, "data.colour": 0.0, "train.steps": 400},
}  # fmt: skip

FAST_RCNN: Mapping[str, Keys] = {
    "debug": {**DEBUG, **SMALL_HEAD, "model.proposer": "edges", "model.bins": 2, "model.proposals": 10,
              "loss.regions": 8},
    "bccd": {**BCCD, **PROPOSED, "data.jitter": 1.0, "data.colour": 0.0, "model.blocks": (1, 4, 1, 1), "train.steps": 700},
}  # fmt: skip
