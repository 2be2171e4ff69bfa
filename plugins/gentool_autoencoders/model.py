"""The models: a plain autoencoder, the variational one, and the variational one with a discriminator.

Images are (N, C, H, W) in [-1, 1], z is (N, latent), labels are (N,) for a conditional model and None otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gentool import DataInfo, Step, UsageError

from .likelihoods import likelihood_of
from .loss import gaussian_kl
from .networks import Decoder, Encoder, image_shape

if TYPE_CHECKING:
    from . import AEConfig, VAEConfig, VAEGANConfig


class AE(nn.Module):
    """z = f(x), x~ = sigmoid(g(z)): a bottleneck and no probability (Hinton & Salakhutdinov 2006)."""

    conditional = False

    def __init__(self, config: AEConfig, info: DataInfo):
        super().__init__()
        self.config, self.info, self.latent = config, info, config.latent
        self.encoder = Encoder(config, info, config.latent)
        self.decoder = Decoder(config, info, config.latent, image_shape(info)[0])

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.encoder(images)

    def logits(self, images: Tensor) -> Tensor:
        """The reconstruction before its sigmoid, (N, C, H, W)."""
        return self.decoder(self.encoder(images))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.sigmoid(self.logits(images)) * 2 - 1

    def decode_code(self, z: Tensor) -> Tensor:
        """The picture of a code, (N, C, H, W) in [-1, 1]. Codes have no prior: only those of pictures mean something."""
        return torch.sigmoid(self.decoder(z)) * 2 - 1

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer of the encoder, (N, encoder.width)."""
        return self.encoder.features(images)


class Variational(nn.Module):
    """What `VAE` and `VAEGAN` share: q(z|x) = N(mu(x), diag sigma(x)^2) and p(z) = N(0, I)."""

    encoder: Encoder
    conditional: bool
    latent: int

    def posterior(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(mu, log sigma^2) of q(z|x), each (N, latent)."""
        mu, logvar = self.encoder(images, labels).chunk(2, dim=1)
        return mu, logvar

    def draw_z(self, mu: Tensor, logvar: Tensor, step: Step) -> Tensor:
        """z = mu + sigma * eps, eps ~ N(0, I): the reparametrisation (Kingma & Welling 2014, section 2.4)."""
        return torch.addcmul(mu, torch.exp(0.5 * logvar), step.noise(*mu.shape))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.posterior(images, labels)[0]

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(images, labels), labels)

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer of the encoder, (N, encoder.width). Not for a conditional model: it saw the labels."""
        if self.conditional:
            raise UsageError("A class-conditional encoder reads the label, so its features say nothing about it.")
        return self.encoder.features(images)


class VAE(Variational):
    """One stochastic layer (Kingma & Welling 2014); with labels in encoder and decoder where conditional."""

    def __init__(self, config: VAEConfig, info: DataInfo):
        super().__init__()
        self.config, self.info = config, info
        self.latent, self.conditional = config.latent, config.conditional
        self.likelihood = likelihood_of(config, info)
        self.continuous = self.likelihood.continuous
        self.encoder = Encoder(config, info, 2 * config.latent)
        self.decoder = Decoder(config, info, config.latent, self.likelihood.planes)

    def elbo(
        self, images: Tensor, labels: Tensor | None, step: Step, *, discrete: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(log p(x|z) with one z ~ q(z|x), KL(q(z|x) || p(z))), nats, each (N,): a draw of the bound of equation 10.

        discrete: a Gaussian's mass on each pixel's level, not its density (`Gaussian.log_prob_levels`).
        """
        mu, logvar = self.posterior(images, labels)
        a = self.decoder(self.draw_z(mu, logvar, step), labels)
        return self._log_likelihood(discrete)(a, images), gaussian_kl(mu, logvar)

    def log_weights(
        self, images: Tensor, labels: Tensor | None, k: int, step: Step, *, discrete: bool = False
    ) -> Tensor:
        """log p(x|z_i) p(z_i) / q(z_i|x) of k draws, (k, N) (Burda et al. 2016, equation 8)."""
        mu, logvar = self.posterior(images, labels)
        n, d = mu.shape
        eps = step.noise(k, n, d)
        z = mu + torch.exp(0.5 * logvar) * eps
        every = labels if labels is None else labels.expand(k, n).flatten()
        a = self.decoder(z.flatten(0, 1), every)
        x = images.expand(k, *images.shape).flatten(0, 1)
        log_pxz = self._log_likelihood(discrete)(a, x).view(k, n)
        # log p(z) - log q(z|x): both have -d/2 log 2 pi, which cancels; (z - mu) / sigma is eps.
        return log_pxz + 0.5 * (logvar + eps.square() - z.square()).sum(2)

    def _log_likelihood(self, discrete: bool):
        return self.likelihood.log_prob_levels if discrete else self.likelihood.log_prob

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of p(x|z), (N, C, H, W) in [-1, 1]."""
        return self.likelihood.mean(self.decoder(z, labels))

    def draw(self, z: Tensor, labels: Tensor | None, step: Step) -> Tensor:
        """x ~ p(x|z), (N, C, H, W) in [-1, 1]."""
        return self.likelihood.draw(self.decoder(z, labels), step)

    def protocol(self) -> str:
        return self.likelihood.protocol()


class Discriminator(nn.Module):
    """Logits (N,) of being a real picture, and the hidden layer in which pictures are compared (Dis_l)."""

    def __init__(self, config: VAEGANConfig, info: DataInfo):
        super().__init__()
        self.net = Encoder(config, info, 1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(Dis_l(x), the logit of Dis(x)): (N, features) and (N,)."""
        hidden = self.net.features(images, labels)
        return hidden, self.net.head(hidden).squeeze(1)


class VAEGAN(Variational):
    """Encoder, decoder and discriminator; pictures are compared by what the discriminator sees (Larsen et al. 2016)."""

    def __init__(self, config: VAEGANConfig, info: DataInfo):
        super().__init__()
        self.config, self.info = config, info
        self.latent, self.conditional = config.latent, config.conditional
        self.encoder = Encoder(config, info, 2 * config.latent)
        self.decoder = Decoder(config, info, config.latent, image_shape(info)[0])
        self.discriminator = Discriminator(config, info)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.tanh(self.decoder(z, labels))
