"""Objectives of autoencoders.

    elbo   Kingma & Welling 2014, equation 10, with beta: Higgins et al. 2017, equation 4
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gentool import Batch, Phase, Step, UsageError

if TYPE_CHECKING:
    from . import ElboConfig


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)) in nats, (N,), summed over the latent dimensions (Kingma & Welling, appendix B)."""
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)


def pictures(batch: Batch) -> Tensor:
    if batch.images is None:
        raise UsageError("An autoencoder needs pictures: choose an image data set with --data.")
    return batch.images


class Elbo:
    """L = E_q[log p(x|z)] - beta KL(q(z|x) || p(z)), with one draw of z for each picture."""

    def __init__(self, config: ElboConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        x, y = pictures(batch), batch.labels if model.conditional else None
        log_pxz, kl = model.elbo(x, y, step)
        log_pxz, kl = log_pxz.mean(), kl.mean()
        yield Phase("model", self.config.beta * kl - log_pxz, {"log p(x|z)": log_pxz.detach(), "kl": kl.detach()})
