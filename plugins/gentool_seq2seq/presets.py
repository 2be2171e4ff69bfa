"""Recipes. The defaults are for the embedded `numbers`: about a minute on one CPU core."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULTS: Mapping[str, object] = {
    "model.embed": 64,
    "model.hidden": 128,
    "train.steps": 1000,
    "train.batch_size": 64,
    "train.clip": 1.0,
    "optim.model.lr": 3e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 50,
}

PRESETS: Mapping[str, Mapping[str, object]] = {
    "debug": {"train.steps": 2, "train.batch_size": 8, "model.embed": 8, "model.hidden": 16, "schedule.warmup": 0},
}

CHECKPOINTS: Mapping[str, str] = {}
