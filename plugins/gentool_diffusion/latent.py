"""Latent diffusion: Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models".

The codec, a trained model of another family, turns pictures into latents and back; diffusion is over the latents alone.
It is asked of the registry by name, run or file when training begins. Its weights and the words to build it again
(`info.extra["codec"]`) go into every checkpoint, which therefore needs neither the run nor the file any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gentool import DataInfo, Step, UsageError
from gentool.registry import registry
from gentool.runs.source import build_from, open_source
from gentool.show.text import safe_text

from .model import Process, positive, unet
from .networks import Dense

if TYPE_CHECKING:
    from .configs import LatentConfig

RUNS = Path("runs")


class LatentDiffusion(Process):
    """x_0 = (z - shift) / scale of the codec's latents z: a grid (D, h, w), or a vector as one of 1 x 1.

    shift and scale make the latents of the first batch standard in every channel (Rombach et al. 2022, section G).
    """

    shift: Tensor
    scale: Tensor
    initialised: Tensor

    def __init__(self, config: LatentConfig, info: DataInfo):
        if info.image is None:
            raise UsageError("latent-diffusion needs pictures: choose an image data set with --data.")
        codec, described, offers = codec_of(config, info)
        super().__init__(config, replace(info, extra={**info.extra, "codec": described}))
        self.config: LatentConfig = config
        self.codec = codec.eval().requires_grad_(False)
        self.grid = "latent-grid" in offers
        with torch.no_grad():
            self.shape = tuple(self.latents(torch.zeros(1, *info.image)).shape[1:])
        channels, outputs = self.shape[0], self.shape[0] * (2 if config.variance == "learned" else 1)
        if self.grid:
            positive("multiply", config.multiply)
            self.network = unet(config, channels, outputs, (self.shape[1], self.shape[2]), patch=1)
        else:
            widths, embedding = (config.width,) * config.layers, config.width * config.embed
            self.network = Dense(channels, outputs, (1, 1), widths=widths, embedding=embedding)
        self.register_buffer("shift", torch.zeros(1, channels, 1, 1))
        self.register_buffer("scale", torch.ones(1, channels, 1, 1))
        self.register_buffer("initialised", torch.tensor(False))

    def train(self, mode: bool = True) -> LatentDiffusion:
        """The codec is never trained."""
        super().train(mode)
        self.codec.eval()
        return self

    @torch.no_grad()
    def latents(self, images: Tensor) -> Tensor:
        """The codec's latents of pictures, (N, D, h, w) or (N, D, 1, 1)."""
        codec: Any = self.codec
        z: Tensor = codec.encode_grid(images) if self.grid else codec.encode(images)[:, :, None, None]
        return z.float()

    def prepared(self, images: Tensor, step: Step) -> Tensor:
        z = self.latents(images)
        if self.training and not bool(self.initialised):
            self.shift.copy_(z.mean((0, 2, 3), keepdim=True))
            self.scale.copy_(z.std((0, 2, 3), keepdim=True).clamp(min=1e-3))
            self.initialised.fill_(True)
        return (z - self.shift) / self.scale

    def pictures(self, x: Tensor) -> Tensor:
        codec: Any = self.codec
        z = x * self.scale + self.shift
        made: Tensor = codec.decode_grid(z) if self.grid else codec.decode(z.flatten(1))
        return made.float().clamp(-1, 1)

    def facts(self) -> dict[str, float | str]:
        """The codec and the latents' shape beside what every diffusion model tells."""
        return {**super().facts(), "codec": self.config.codec, "latents": "x".join(map(str, self.shape))}


def codec_of(config: LatentConfig, info: DataInfo) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """(the codec, the words to build it again, what it offers).

    From the description in a checkpoint, where there is one: its weights then come with the checkpoint's own.
    """
    described = info.extra.get("codec")
    if isinstance(described, Mapping):
        spec, codec, _ = build_from(described, "the codec of latent-diffusion")
        return codec, dict(described), spec.offers
    source = open_source(config.codec, RUNS, torch.device("cpu"), shipped=shipped_for(config, info))
    if not usable(source.spec.offers) or (
        getattr(source.model, "conditional", False) and "decode" in source.spec.offers
    ):
        fitting = ", ".join(sorted(spec.name for spec in registry().all("model") if usable(spec.offers)))
        raise UsageError(
            f"'{safe_text(config.codec)}' cannot be the codec: it has no latents that are decoded without a label. "
            f"Models that have: {fitting or 'none'}."
        )
    if source.info.image != info.image:
        raise UsageError(
            f"The codec '{safe_text(config.codec)}' was trained on pictures of {_size(source.info)}, the data's are "
            f"{_size(info)}: add --set data.resize=N, or name another with --set model.codec=RUN."
        )
    kept = {key: source.meta[key] for key in ("model", "config", "info")}
    return source.model, json.loads(json.dumps(kept)), source.spec.offers


def usable(offers: tuple[str, ...]) -> bool:
    return "latent-grid" in offers or ({"encode", "decode"} <= set(offers) and "diffusion" not in offers)


def shipped_for(config: LatentConfig, info: DataInfo) -> str | None:
    """Which checkpoint that ships is meant, where the codec is a model's name: the one that is named, or the data set's."""
    if config.codec not in registry().names("model"):
        return None
    there = registry().find("model", config.codec).checkpoints
    if config.codec_checkpoint:
        return config.codec_checkpoint
    return info.name if info.name in there else next(iter(there), None)


def _size(info: DataInfo) -> str:
    return "x".join(map(str, info.image or ()))
