"""The variational autoencoder: q(z|x) = N(mu(x), diag sigma(x)^2), p(z) = N(0, I), p(x|z) Bernoulli."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gentool import DataInfo, Step, UsageError

from .loss import gaussian_kl
from .networks import mlp

if TYPE_CHECKING:
    from . import VAEConfig


class VAE(nn.Module):
    """Images (N, C, H, W) in [-1, 1]; z (N, latent)."""

    conditional = False

    def __init__(self, config: VAEConfig, info: DataInfo):
        super().__init__()
        if info.image is None:
            raise UsageError("An autoencoder needs pictures: choose an image data set with --data.")
        self.config, self.info, self.latent = config, info, config.latent
        pixels = math.prod(info.image)
        self.encoder = mlp((pixels, *config.hidden, 2 * config.latent), config.activation)
        self.decoder = mlp((config.latent, *reversed(config.hidden), pixels), config.activation)

    def posterior(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(mean, log-variance) of q(z|x), each (N, latent)."""
        mu, logvar = self.encoder(images.flatten(1)).chunk(2, dim=1)
        return mu, logvar

    def log_likelihood(self, z: Tensor, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x|z) in nats, (N,)."""
        x = (images.flatten(1) + 1) / 2
        return -binary_cross_entropy_with_logits(self.decoder(z), x, reduction="none").sum(1)

    def elbo(self, images: Tensor, labels: Tensor | None, step: Step) -> tuple[Tensor, Tensor]:
        mu, logvar = self.posterior(images, labels)
        z = mu + (logvar / 2).exp() * step.noise(images, self.latent)
        return self.log_likelihood(z, images, labels), gaussian_kl(mu, logvar)

    def log_weights(self, images: Tensor, labels: Tensor | None, k: int, step: Step) -> Tensor:
        mu, logvar = self.posterior(images, labels)
        n, d = mu.shape
        eps = step.noise(k, n, d)
        z = mu + (logvar / 2).exp() * eps
        pixels = images.expand(k, *images.shape).flatten(0, 1)
        log_pxz = self.log_likelihood(z.flatten(0, 1), pixels).view(k, n)
        # log p(z) - log q(z|x): the 2 pi terms cancel.
        return log_pxz + 0.5 * (eps.square() + logvar - z.square()).sum(2)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.posterior(images, labels)[0]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.sigmoid(self.decoder(z)).view(-1, *self.info.image) * 2 - 1

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(images, labels), labels)

    def features(self, images: Tensor) -> Tensor:
        return self.encode(images)

    def protocol(self) -> str:
        binary = self.info.levels == 2
        return "Bernoulli over " + ("binarised pixels" if binary else "real-valued intensities in [0, 1]")
