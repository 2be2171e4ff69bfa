"""Recipes. The defaults are for the embedded `numbers`: half a minute on one CPU core."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULTS: Mapping[str, object] = {
    "model.embed": 64,
    "model.hidden": 128,
    "train.steps": 500,
    "train.batch_size": 64,
    "train.clip": 1.0,
    "optim.model.lr": 3e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 50,
}

# Short sentences in byte pairs: 3.7 million weights, which are 7.3 MB in half precision.
_ENG_FRA: Mapping[str, object] = {
    "data.name": "eng-fra",
    "data.tokens": "bpe",
    "data.vocabulary": 4000,
    "model.embed": 192,
    "model.hidden": 320,
    "model.attention_width": 256,
    "model.dropout": 0.2,
    "loss.label_smoothing": 0.1,
    "train.batch_size": 128,
    "train.steps": 4500,
    "optim.model.lr": 2e-3,
    "schedule.warmup": 200,
}

PRESETS: Mapping[str, Mapping[str, object]] = {
    "debug": {
        "train.steps": 2,
        "train.batch_size": 8,
        "model.embed": 8,
        "model.hidden": 16,
        "schedule.warmup": 0,
        "validation.examples": 64,
    },
    "numbers": {"data.name": "numbers", "train.steps": 1500},
    "eng-fra": _ENG_FRA,
    # The same but for the context: the encoder's last state, at every step (Cho et al. 2014).
    "eng-fra-none": {**_ENG_FRA, "model.attention": "none", "model.order": "bahdanau"},
    # Descriptions of pictures, German to English: 29,000 sentences, ten times over, in a quarter of an hour of one core.
    "multi30k": {
        "data.name": "multi30k",
        "data.tokens": "bpe",
        "data.vocabulary": 8000,
        "data.joint": True,
        "data.lower": True,
        "model.embed": 256,
        "model.hidden": 320,
        "model.attention_width": 256,
        "model.dropout": 0.4,
        "loss.label_smoothing": 0.1,
        "train.batch_size": 128,
        "train.steps": 2200,
        "train.ema": 0.998,
        "optim.model.lr": 2e-3,
        "schedule.warmup": 300,
        "checkpoint.every": 500,
    },
}

CHECKPOINTS: Mapping[str, str] = {
    "numbers": "checkpoints/seq2seq-numbers.safetensors",
    "eng-fra": "checkpoints/seq2seq-eng-fra.safetensors",
}
