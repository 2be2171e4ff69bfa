"""Recipes: defaults (embedded data) and presets of each model, as dotted config keys."""

from __future__ import annotations

from collections.abc import Mapping

Keys = Mapping[str, object]

# digits has 17 grey values, which are kept. About 40 CPU-seconds.
PIXELCNN_DEFAULTS: Keys = {
    "data.levels": 17,
    "model.layers": 6,
    "train.steps": 800,
    "train.batch_size": 32,
    "train.clip": 1.0,
    "train.ema": 0.99,
    "optim.model.lr": 2e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 50,
}

_MNIST: Keys = {  # binarised anew each step
    "data.name": "mnist",
    "data.binarize": "stochastic",
    "data.levels": 256,
    "schedule.name": "cosine",
    "schedule.warmup": 200,
    "train.ema": 0.999,
}

PIXELCNN: Mapping[str, Keys] = {
    "debug": {
        "train.steps": 2,
        "train.batch_size": 8,
        "model.channels": 8,
        "model.layers": 2,
        "model.hidden": 8,
    },
    "conditional": {"model.conditional": True},
    "cone": {"model.field": "cone"},
    "mnist": {  # an hour of one core with bf16, which is what is chosen where it is faster; nearly two without
        **_MNIST,
        "model.layers": 8,
        "train.steps": 20_000,
        "train.batch_size": 16,
        "validation.every": 1000,
    },
    "fashion-mnist": {  # 16 grey values: 30 CPU-minutes of one core
        "data.name": "fashion-mnist",
        "data.levels": 16,
        "model.layers": 8,
        "model.conditional": True,
        "train.steps": 6500,
        "train.batch_size": 16,
        "train.ema": 0.999,
        "schedule.warmup": 200,
        "validation.every": 1000,
    },
}

# Binarised digits. About 20 CPU-seconds.
MADE_DEFAULTS: Keys = {
    "data.binarize": "stochastic",
    "train.steps": 2000,
    "train.batch_size": 100,
    "train.ema": 0.99,
    "optim.model.lr": 1e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 100,
}

MADE: Mapping[str, Keys] = {
    "debug": {"train.steps": 2, "train.batch_size": 8, "model.hidden": 16},
    "conditional": {"model.conditional": True},
    "orders": {"model.orders": 4, "model.masks": 2},
    "mnist": {  # 20 CPU-minutes of one core
        **_MNIST,
        "model.hidden": 1100,
        "train.steps": 45_000,
        "train.batch_size": 100,
        "train.ema": 0.9995,
        "train.precision": "bf16",
        "optim.model.lr": 5e-3,
        "optim.model.weight_decay": 0.1,
        "validation.every": 5000,
        "checkpoint.every": 5000,
        "preview.every": 10_000,
    },
}

# Binarised digits. About 25 CPU-seconds.
NADE_DEFAULTS: Keys = {
    "data.binarize": "stochastic",
    "model.hidden": 200,
    "train.steps": 2500,
    "train.batch_size": 100,
    "train.ema": 0.99,
    "optim.model.lr": 2e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 100,
}

NADE: Mapping[str, Keys] = {
    "debug": {"train.steps": 2, "train.batch_size": 8, "model.hidden": 16},
    "conditional": {"model.conditional": True},
    "mnist": {  # 24 CPU-minutes of one core
        **_MNIST,
        "model.hidden": 500,
        "train.steps": 24_000,
        "train.batch_size": 100,
        "train.ema": 0.9995,
        "optim.model.lr": 1e-2,
        "validation.every": 3000,
        "checkpoint.every": 3000,
        "preview.every": 6000,
    },
}

# digits with its 17 grey values. About 40 CPU-seconds.
PIXELRNN_DEFAULTS: Keys = {
    "data.levels": 17,
    "train.steps": 1000,
    "train.batch_size": 32,
    "train.clip": 1.0,
    "train.ema": 0.99,
    "optim.model.lr": 5e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 50,
}

# Static binarisation, as the paper's figures have it.
_STATIC: Keys = {
    **_MNIST,
    "data.binarize": "fixed",
    "train.precision": "bf16",
    "train.batch_size": 16,
    "train.clip": 1.0,
    "optim.model.lr": 4e-3,
    "validation.every": 1000,
    "checkpoint.every": 1000,
    "preview.every": 2500,
}

PIXELRNN: Mapping[str, Keys] = {
    "debug": {
        "train.steps": 2,
        "train.batch_size": 8,
        "model.hidden": 4,
        "model.layers": 2,
        "model.head": 8,
    },
    "row-lstm": {"model.kind": "row-lstm"},
    "diagonal-bilstm": {"model.kind": "diagonal-bilstm"},
    "conditional": {"model.conditional": True},
    "mnist": {  # 15 CPU-minutes of one core
        **_STATIC,
        "model.kind": "diagonal-bilstm",
        "model.hidden": 32,
        "model.layers": 1,
        "train.steps": 10_000,
    },
    "mnist-row-lstm": {  # 13 CPU-minutes of one core
        **_STATIC,
        "model.kind": "row-lstm",
        "model.hidden": 32,
        "model.layers": 2,
        "train.steps": 8000,
    },
}
