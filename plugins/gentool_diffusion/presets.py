"""Named settings. DEFAULTS: 8x8 digits in about a minute on two cores."""

from __future__ import annotations

# Of data that are a minute's work.
_SMALL: dict[str, object] = {
    "model.blocks": 1,
    "model.predict": "v",
    "loss.weight": "min-snr",
    "train.steps": 800,
    "train.ema": 0.995,
    "train.clip": 1.0,
    "train.channels_last": "no",
    "optim.model.lr": 2e-3,
    "schedule.name": "cosine",
    "schedule.warmup": 50,
}

_DEBUG: dict[str, object] = {
    "train.steps": 2,
    "train.batch_size": 8,
    "model.width": 8,
    "model.blocks": 1,
    "model.timesteps": 20,
    "sampler.steps": 4,
}

DEFAULTS: dict[str, object] = {**_SMALL, "model.width": 32, "model.attention": (7, 4)}

# 28x28 in CPU minutes: 2x2 pixels are folded into channels, so the U-Net works on 14x14 and 7x7 places.
_PICTURES: dict[str, object] = {
    "model.width": 32,
    "model.patch": 2,
    "model.conditional": True,
    "train.batch_size": 32,
    "train.ema": 0.999,
    "train.precision": "bf16",
    "optim.model.lr": 2e-3,
    "optim.model.betas": (0.9, 0.99),
    "schedule.warmup": 200,
    "validation.examples": 256,
    "preview.n": 10,
    "sampler.guidance": 1.3,  # of 1, 1.3 and 1.8 the best FID on fashion-mnist
}

PRESETS: dict[str, dict[str, object]] = {
    "debug": _DEBUG,
    "conditional": {"model.conditional": True},
    # No U-Net: an autoencoder of dense layers that gives the picture, since noise does not go through a bottleneck.
    "dense": {
        "model.network": "dense",
        "model.width": 512,
        "model.embed": 1,
        "model.predict": "x0",
        "train.steps": 3000,
    },
    "hybrid": {"loss.name": "hybrid", "model.variance": "learned", "model.predict": "eps", "loss.weight": "simple"},
    "mnist": {**_PICTURES, "data.name": "mnist", "train.steps": 3000},  # 6 CPU-minutes
    "fashion-mnist": {  # 30 CPU-minutes
        **_PICTURES,
        "data.name": "fashion-mnist",
        "model.width": 48,
        "train.steps": 8000,
        "train.ema": 0.9995,
    },
}

# Digits enlarged to the 28x28 of a codec that ships: its latents are a grid of 7x7.
LATENT_DEFAULTS: dict[str, object] = {
    **_SMALL,
    "data.resize": 28,
    "model.codec_checkpoint": "mnist",
    "model.width": 48,
}

LATENT: dict[str, dict[str, object]] = {
    "debug": {**_DEBUG, "data.limit": 100},
    "vae": {"model.codec": "vae", "model.width": 256},
    "mnist": {"data.name": "mnist", "data.resize": 0, "train.steps": 3000, "model.conditional": True},
    "fashion-mnist": {
        "data.name": "fashion-mnist",
        "data.resize": 0,
        "model.codec_checkpoint": "fashion-mnist",
        "train.steps": 3000,
        "model.conditional": True,
    },
}
