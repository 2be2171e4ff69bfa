"""Objectives of autoencoders. N pictures x, latent z, labels never appear in a formula: they condition every term.

elbo        Kingma & Welling 2014, equation 10
beta-vae    Higgins et al. 2017, equation 4
iwae        Burda, Grosse & Salakhutdinov 2016, equation 8
mse, bce    reconstruction, from a clean or a damaged picture (Vincent et al. 2008; He et al. 2022)
vae-gan     Larsen et al. 2016, algorithm 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, softplus

from gentool import Batch, Like, Phase, Step, UsageError

from .likelihoods import unit

if TYPE_CHECKING:
    from . import BetaConfig, DamageConfig, ElboConfig, ImportanceConfig, VAEGANLossConfig


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)) = -1/2 sum_j (1 + log sigma_j^2 - mu_j^2 - sigma_j^2), (N,), nats."""
    return -0.5 * kl_terms(mu, logvar).sum(1)


def kl_terms(mu: Tensor, logvar: Tensor) -> Tensor:
    """1 + log sigma_j^2 - mu_j^2 - sigma_j^2, (N, latent) (Kingma & Welling 2014, appendix B)."""
    return 1 + logvar - mu.square() - logvar.exp()


def data_of(batch: Batch, model: Any) -> tuple[Tensor, Tensor | None]:
    """(x, y): the pictures, and the labels where the model is conditional."""
    if batch.images is None:
        raise UsageError("An autoencoder needs pictures: choose an image data set with --data.")
    return batch.images, batch.labels if model.conditional else None


class Elbo:
    """L(x) = E_q(z|x)[log p(x|z)] - beta KL(q(z|x) || p(z)), one z for each x; beta = 1 is the bound itself.

    beta may rise from 0 over the first share `warmup` of the run (Sønderby et al. 2016), so that the decoder learns to
    use z before the KL term prunes it. Logged as `nats`: the negative bound itself (beta = 1).
    """

    def __init__(self, config: ElboConfig | BetaConfig):
        self.config = config

    def beta(self, step: Step) -> float:
        beta, warmup = self.config.beta, self.config.warmup
        return beta * min(1.0, step.progress / warmup) if warmup else beta

    def alike(self, step: Step) -> Like | None:
        """No step is like another while beta rises."""
        return Like("beta") if step.progress >= self.config.warmup else None

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        x, y = data_of(batch, model)
        log_pxz, kl = model.elbo(x, y, step)
        log_pxz, kl = log_pxz.mean(), kl.mean()
        loss = self.beta(step) * kl - log_pxz
        with torch.no_grad():
            nats = kl - log_pxz
            scalars = {"nats": nats, "kl": kl.detach()}
            if self.config.beta != 1:
                scalars["objective"] = self.config.beta * kl - log_pxz  # the loss without the warm-up
        yield Phase("model", loss, scalars)


class ImportanceWeighted:
    """L_k(x) = E[log 1/k sum_i p(x, z_i) / q(z_i|x)], z_i ~ q(z|x)."""

    def __init__(self, config: ImportanceConfig):
        self.k = config.k

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        x, y = data_of(batch, model)
        log_w = model.log_weights(x, y, self.k, step)
        bound = (torch.logsumexp(log_w, 0) - math.log(self.k)).mean()
        yield Phase("model", -bound, {"nats": -bound.detach(), "elbo": log_w.detach().mean()})


class Reconstruction:
    """min d(x, g(f(x^))): x^ is x, or x with noise added or patches hidden (a denoising, a masked autoencoder)."""

    def __init__(self, config: DamageConfig):
        self.config = config

    def damage(self, x: Tensor, step: Step) -> Tensor:
        """x + noise * eps, then a share `mask` of its patches set to black; (N, C, H, W)."""
        if self.config.noise:
            x = x + self.config.noise * step.noise(*x.shape, purpose="damage")
        if self.config.mask:
            side = self.config.patch
            n, _, h, w = x.shape
            keep = step.uniform(n, 1, -(-h // side), -(-w // side), purpose="mask") >= self.config.mask
            keep = keep.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :h, :w]
            x = torch.where(keep, x, -1.0)
        return x

    def distance(self, a: Tensor, x: Tensor) -> Tensor:
        """Between pictures in [0, 1] and logits a, a scalar: summed over a picture's numbers, mean over pictures."""
        raise NotImplementedError

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        x, _ = data_of(batch, model)
        a = model.logits(self.damage(x, step))
        yield Phase("model", self.distance(a, unit(x)))


class SquaredError(Reconstruction):
    """|x - sigmoid(a)|^2."""

    def distance(self, a: Tensor, x: Tensor) -> Tensor:
        return mse_loss(torch.sigmoid(a), x, reduction="sum") / len(x)


class CrossEntropy(Reconstruction):
    """-x log sigmoid(a) - (1 - x) log(1 - sigmoid(a))."""

    def distance(self, a: Tensor, x: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(a, x, reduction="sum") / len(x)


class VAEGANLoss:
    """Larsen et al. 2016, algorithm 1, with Dis(x) = sigmoid(d(x)):

        L_prior = KL(q(z|x) || p(z))
        L_llike = 1/2 |Dis_l(x) - Dis_l(x~)|^2          x~ = Dec(z), z ~ q(z|x): -log N(Dis_l(x); Dis_l(x~), I) + const
        L_Dis   = -log Dis(x) - log(1 - Dis(x~)) - log(1 - Dis(x_p))      x_p = Dec(z_p), z_p ~ p(z)

        Enc <- L_prior + L_llike        Dec <- gamma L_llike + L_G        Dis <- L_Dis

    where L_G = -log Dis(x~) - log Dis(x_p) is the non-saturating form of -L_Dis (Goodfellow et al. 2014, section 3).
    As in the algorithm all three gradients are those at the same parameters: the encoder's is taken by way of z before
    anything is updated.
    """

    def __init__(self, config: VAEGANLossConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        x, y = data_of(batch, model)
        n = len(x)
        mu, logvar = model.posterior(x, y)
        z = model.draw_z(mu, logvar, step)
        prior = gaussian_kl(mu, logvar).mean()

        # From here on z is a leaf: the decoder's and the discriminator's graph ends at it.
        leaf = z.detach().requires_grad_()
        both = model.decode(torch.cat([leaf, step.noise(n, model.latent, purpose="prior")]), twice(y))
        dis_l, d = model.discriminator(torch.cat([x, both]), None if y is None else torch.cat([y, y, y]))
        real_l, fake_l = dis_l[:n].detach(), dis_l[n : 2 * n]
        llike = 0.5 * (real_l - fake_l).square().sum(1).mean()
        fool = softplus(-d[n:]).view(2, n).mean(1).sum()
        (by_z,) = torch.autograd.grad(llike, leaf, retain_graph=True)

        # Its value is L_prior + L_llike and its gradient by z is that of L_llike.
        yield Phase(
            "encoder",
            self.config.beta * prior + llike.detach() + ((z - leaf.detach()) * by_z).sum(),
            {"kl": prior.detach(), "llike": llike.detach()},
        )
        yield Phase("decoder", self.config.gamma * llike + fool)

        fakes = both.detach()
        _, d = model.discriminator(torch.cat([x, fakes]), None if y is None else torch.cat([y, y, y]))
        yield Phase("discriminator", softplus(-d[:n]).mean() + softplus(d[n:]).view(2, n).mean(1).sum())


def twice(y: Tensor | None) -> Tensor | None:
    return None if y is None else torch.cat([y, y])
