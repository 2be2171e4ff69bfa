"""Recipes: defaults (embedded data) and presets of each model, as dotted config keys."""

from __future__ import annotations

from collections.abc import Mapping

Keys = Mapping[str, object]

# About a minute of one slow core.
CHARLM_DEFAULTS: Keys = {
    "data.window": 64,
    "model.cell": "gru",
    "model.hidden": 192,
    "train.steps": 500,
    "train.batch_size": 32,
    "train.clip": 1.0,
    "optim.model.name": "adamw",
    "optim.model.lr": 1e-2,
    "optim.model.betas": (0.9, 0.99),
    "optim.model.weight_decay": 0.01,
    "schedule.name": "cosine",
    "schedule.warmup": 50,
}

CHARLM: Mapping[str, Keys] = {
    "debug": {
        "train.steps": 2,
        "train.batch_size": 4,
        "data.window": 16,
        "model.hidden": 16,
        "model.embed": 8,
        "validation.examples": 16,
        "sampler.length": 20,
    },
    # The ways to treat a sequence, each on the defaults' budget of tokens.
    "rnn": {"model.cell": "rnn", "optim.model.lr": 3e-3},
    "lstm": {"model.cell": "lstm"},
    "gru": {"model.cell": "gru"},
    "tcn": {"model.cell": "tcn", "model.hidden": 96, "model.layers": 5, "optim.model.lr": 3e-3},
    "attention": {"model.cell": "attention", "model.hidden": 128, "model.layers": 4, "optim.model.lr": 3e-3},
    # 110 CPU-seconds.
    "tinyshakespeare": {
        "data.name": "tinyshakespeare",
        "model.cell": "gru",
        "model.hidden": 256,
        "loss.chunk": 32,
        "train.steps": 680,
        "validation.every": 250,
        "validation.examples": 512,
    },
    # An hour of one core.
    "tinyshakespeare-hour": {
        "data.name": "tinyshakespeare",
        "model.cell": "lstm",
        "model.hidden": 384,
        "model.dropout": 0.3,
        "train.steps": 8000,
        "train.ema": 0.999,
        "optim.model.lr": 4e-3,
        "optim.model.weight_decay": 0.05,
        "schedule.warmup": 200,
        "validation.every": 1000,
        "checkpoint.every": 1000,
    },
    # 10 CPU-minutes.
    "pydocs": {
        "data.name": "pydocs",
        "model.cell": "lstm",
        "model.hidden": 256,
        "model.dropout": 0.3,
        "train.steps": 3500,
        "train.ema": 0.999,
        "optim.model.lr": 5e-3,
        "optim.model.weight_decay": 0.05,
        "schedule.warmup": 200,
        "validation.every": 500,
        "checkpoint.every": 500,
    },
}

SEQUENCE_DEFAULTS: Keys = {
    "train.steps": 600,
    "train.batch_size": 64,
    "train.clip": 1.0,
    "optim.model.lr": 5e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 20,
}

SEQUENCE: Mapping[str, Keys] = {
    "debug": {
        "train.steps": 2,
        "train.batch_size": 8,
        "model.hidden": 8,
        "validation.examples": 16,
    },
    "many-to-many": {"model.task": "many-to-many"},
    "one-to-many": {
        "model.task": "one-to-many",
        "model.steps": "pixels",
        "model.hidden": 128,
        "data.binarize": "threshold",
        "train.steps": 1200,
    },
    "rows": {
        "data.name": "mnist",
        "model.cell": "gru",
        "model.hidden": 128,
        "model.layers": 2,
        "model.dropout": 0.1,
        "train.steps": 6000,
        "train.batch_size": 64,
        "train.ema": 0.99,
        "optim.model.lr": 2e-3,
        "schedule.warmup": 100,
        "validation.every": 1000,
    },
    # What moves, and how: no single frame tells, so `eval --accuracy-by-step` begins at chance. Two CPU-minutes.
    "clips": {
        "data.name": "scene-clips",
        "model.cell": "gru",
        "model.steps": "frames",
        "model.hidden": 128,
        "train.steps": 2500,
        "train.ema": 0.99,
        "optim.model.lr": 3e-3,
        "schedule.warmup": 100,
        "validation.every": 500,
    },
    # About 70,000 parameters each, as published comparisons have it: Bai et al. 2018, table 1. An hour of one core each.
    "pixels": {
        "data.name": "mnist",
        "model.cell": "gru",
        "model.steps": "pixels",
        "model.hidden": 150,
        "model.memory": 784,
        "train.steps": 6000,
        "train.batch_size": 64,
        "train.ema": 0.999,
        "optim.model.lr": 3e-3,
        "schedule.warmup": 200,
    },
    "permuted": {
        "data.name": "mnist",
        "model.cell": "gru",
        "model.steps": "permuted",
        "model.hidden": 150,
        "model.memory": 784,
        "train.steps": 6000,
        "train.batch_size": 64,
        "train.ema": 0.999,
        "optim.model.lr": 3e-3,
        "schedule.warmup": 200,
    },
    # Ten minutes of one core: 6 epochs.
    "pixels-tcn": {
        "data.name": "mnist",
        "model.cell": "tcn",
        "model.steps": "pixels",
        "model.hidden": 25,
        "model.layers": 8,
        "model.kernel": 7,
        "model.dropout": 0.05,
        "train.steps": 6000,
        "train.batch_size": 64,
        "train.ema": 0.999,
        "optim.model.lr": 5e-3,
        "schedule.warmup": 200,
        "validation.every": 1500,
        "checkpoint.every": 1000,
    },
}
