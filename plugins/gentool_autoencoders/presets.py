"""Recipes: defaults (embedded digits) and presets of each model, as dotted config keys."""

from __future__ import annotations

from collections.abc import Mapping

Keys = Mapping[str, object]

DEBUG: Keys = {
    "train.steps": 2,
    "train.batch_size": 8,
    "model.hidden": (16,),
    "model.width": 4,
    "model.latent": 4,
    "validation.examples": 16,
}

AE_DEFAULTS: Keys = {
    "train.steps": 2000,
    "train.batch_size": 128,
    "optim.model.lr": 2e-3,
    "schedule.name": "cosine",
}

AE: Mapping[str, Keys] = {"debug": DEBUG}

VAE_DEFAULTS: Keys = {
    "train.steps": 2000,
    "train.batch_size": 128,
    "optim.model.lr": 2e-3,
    "schedule.name": "cosine",
}

VAE: Mapping[str, Keys] = {
    "debug": DEBUG,
    "conditional": {"model.conditional": True},
    "manifold": {"model.latent": 2},
}

VAE_GAN_DEFAULTS: Keys = {
    "train.steps": 2000,
    "train.batch_size": 64,
    "optim.encoder.lr": 1e-3,
    "optim.decoder.lr": 1e-3,
    "optim.discriminator.lr": 1e-3,
}

VAE_GAN: Mapping[str, Keys] = {"debug": DEBUG, "conditional": {"model.conditional": True}}
