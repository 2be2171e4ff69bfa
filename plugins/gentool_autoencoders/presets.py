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

AE: Mapping[str, Keys] = {
    "debug": DEBUG,
    # A masked autoencoder: half of the patches are to be guessed, so the code has to know what strokes mean.
    "mnist": {
        "data.name": "mnist",
        "model.architecture": "conv",
        "model.latent": 64,
        "loss.mask": 0.5,
        "train.steps": 2000,
        "train.ema": 0.99,
    },
}

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
    # The net of the IWAE paper's one-layer VAE, wider (500 for 200): half an hour of one core.
    "mnist": {
        "data.name": "mnist",
        "data.binarize": "stochastic",
        "model.latent": 50,
        "model.hidden": (500, 500),
        "train.steps": 80_000,
        "train.ema": 0.999,
        "optim.model.lr": 1e-3,
        "checkpoint.every": 5000,
        "validation.every": 10_000,
    },
    # A fixed sigma: with a learned one reconstructions sharpen, and draws from the prior fall apart.
    "fashion-mnist": {
        "data.name": "fashion-mnist",
        "model.latent": 20,
        "model.hidden": (500, 500),
        "model.variance": "fixed",
        "model.sigma": 0.25,
        "train.steps": 30_000,
        "train.ema": 0.999,
        "optim.model.lr": 1e-3,
        "checkpoint.every": 5000,
        "validation.every": 10_000,
    },
}

VAE_GAN_DEFAULTS: Keys = {
    "train.steps": 2000,
    "train.batch_size": 64,
    "optim.encoder.lr": 1e-3,
    "optim.decoder.lr": 1e-3,
    "optim.discriminator.lr": 1e-3,
}

VAE_GAN: Mapping[str, Keys] = {"debug": DEBUG, "conditional": {"model.conditional": True}}

# Binarised digits, of whose 64 pixels less may be damaged than of larger pictures'. About 50 CPU-seconds.
GSN_DEFAULTS: Keys = {
    "data.binarize": "stochastic",
    "model.noise": 0.2,
    "train.steps": 1500,
    "train.batch_size": 100,
    "train.ema": 0.99,
    "optim.model.lr": 3e-3,
    "schedule.name": "cosine",
}

GSN: Mapping[str, Keys] = {
    "debug": {
        "train.steps": 2,
        "train.batch_size": 8,
        "model.hidden": 16,
        "validation.examples": 16,
        "sampler.steps": 5,
    },
    # 4 CPU-minutes.
    "mnist": {
        "data.name": "mnist",
        "model.noise": 0.4,
        "model.hidden": 1000,
        "train.steps": 3000,
        "train.precision": "bf16",
        "optim.model.lr": 1e-3,
        "checkpoint.every": 1000,
        "validation.every": 1000,
    },
}
