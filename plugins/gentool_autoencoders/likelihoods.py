"""p(x|z): what the decoder's numbers mean.

Pixels are thought of in [0, 1]: x = (image + 1) / 2. All log-likelihoods are in nats per image, shape (N,).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from gentool import DataInfo, Step

from .networks import image_shape

if TYPE_CHECKING:
    from . import VAEConfig


def unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return images.add(1).mul_(0.5)


class Bernoulli(nn.Module):
    """log p(x|z) = sum_i x_i log p_i + (1 - x_i) log(1 - p_i) (Kingma & Welling 2014, equation 11); p = sigmoid(a).

    Exact for binary pixels. For intensities in between it is a cross-entropy, not a normalised density
    (Loaiza-Ganem & Cunningham 2019): its values compare with one another and with nothing else.
    """

    continuous = False

    def __init__(self, config: VAEConfig, info: DataInfo):
        super().__init__()
        self.planes = image_shape(info)[0]
        self.binary = info.levels == 2

    def log_prob(self, a: Tensor, images: Tensor) -> Tensor:
        return -binary_cross_entropy_with_logits(a, unit(images), reduction="none").flatten(1).sum(1)

    def mean(self, a: Tensor) -> Tensor:
        return torch.sigmoid(a) * 2 - 1

    def draw(self, a: Tensor, step: Step) -> Tensor:
        return (step.uniform(*a.shape, purpose="pixels") < torch.sigmoid(a)).to(a.dtype) * 2 - 1

    def protocol(self) -> str:
        return (
            "Bernoulli over binarised pixels" if self.binary else "cross-entropy of real-valued intensities in [0, 1]"
        )


class Gaussian(nn.Module):
    """log p(x|z) = sum_i log N(x_i; m_i, s_i^2), m = sigmoid(a) (Kingma & Welling 2014, equation 12).

    The deviation s, in units of [0, 1], is given (`fixed`), one learned number (`global`: Rybkin et al. 2021) or read
    from the decoder at each pixel (`pixel`). Learned ones have a floor: on pixels that never change the density would
    grow without bound.
    """

    continuous = True

    def __init__(self, config: VAEConfig, info: DataInfo):
        super().__init__()
        self.variance, self.levels = config.variance, info.levels
        self.channels = image_shape(info)[0]
        self.planes = self.channels * (2 if config.variance == "pixel" else 1)
        self.floor = math.log(config.sigma_min)
        if config.variance == "global":
            self.raw = nn.Parameter(torch.tensor(self._inverse(config.sigma)))
        else:
            self.fixed = math.log(config.sigma)

    def _inverse(self, sigma: float) -> float:
        above = max(math.log(sigma) - self.floor, 1e-3)
        return math.log(math.expm1(above))

    def parameters_of(self, a: Tensor) -> tuple[Tensor, Tensor | float]:
        """(m, log s); log s is a number where it is fixed."""
        if self.variance == "pixel":
            a, raw = a.chunk(2, dim=1)
            return torch.sigmoid(a), self.floor + softplus(raw + self._inverse(0.1))
        if self.variance == "global":
            return torch.sigmoid(a), self.floor + softplus(self.raw)
        return torch.sigmoid(a), self.fixed

    def log_prob(self, a: Tensor, images: Tensor) -> Tensor:
        m, log_s = self.parameters_of(a)
        x = unit(images)
        if self.variance == "pixel":
            return -(0.5 * ((x - m) * torch.exp(-log_s)).square() + log_s).flatten(1).sum(1) - self._log_2pi(x)
        # One deviation for all pixels comes out of the sum: two passes over the pixels fewer.
        pixels = x[0].numel()
        precision = torch.exp(-2 * log_s) if isinstance(log_s, Tensor) else math.exp(-2 * log_s)
        return -0.5 * precision * (x - m).square().flatten(1).sum(1) - pixels * log_s - self._log_2pi(x)

    def _log_2pi(self, x: Tensor) -> float:
        return 0.5 * x[0].numel() * math.log(2 * math.pi)

    def log_prob_levels(self, a: Tensor, images: Tensor) -> Tensor:
        """The same Gaussian as a distribution over the `levels` values a pixel can take: log P(x - d/2 < X < x + d/2).

        d = 1 / (levels - 1), and the two end values take the tails, so that it sums to 1 over the levels (as in
        PixelCNN++ and DDPM). Its bits per dimension compare with those of other discrete models; a density's do not.
        """
        m, log_s = self.parameters_of(a)
        s = torch.exp(torch.as_tensor(log_s, dtype=a.dtype, device=a.device))
        x, half = unit(images), 0.5 / (self.levels - 1)
        # By symmetry work on the side where the normal tail does not round to 1.
        sign = torch.where(x > m, -1.0, 1.0)
        above, below = (x + half - m) / s, (x - half - m) / s
        above = above.masked_fill(x > 1 - half, math.inf)
        below = below.masked_fill(x < half, -math.inf)
        upper = torch.maximum(sign * above, sign * below)
        lower = torch.minimum(sign * above, sign * below)
        log_upper, log_lower = log_ndtr(upper), log_ndtr(lower)
        log_mass = log_upper + torch.log(-torch.expm1((log_lower - log_upper).clamp(max=-1e-6)))
        return log_mass.flatten(1).sum(1)

    def mean(self, a: Tensor) -> Tensor:
        return torch.sigmoid(a[:, : self.channels]) * 2 - 1

    def draw(self, a: Tensor, step: Step) -> Tensor:
        m, log_s = self.parameters_of(a)
        s = torch.exp(log_s) if isinstance(log_s, Tensor) else math.exp(log_s)
        return ((m + s * step.noise(*m.shape, purpose="pixels")) * 2 - 1).clamp(-1, 1)

    def protocol(self) -> str:
        return f"Gaussian density over pixels in [0, 1], {self.variance} variance"


def log_ndtr(x: Tensor) -> Tensor:
    """log of the standard normal distribution function; exact far into the lower tail."""
    return torch.special.log_ndtr(x)


def likelihood_of(config: VAEConfig, info: DataInfo) -> Bernoulli | Gaussian:
    """The one asked for; by itself Bernoulli for two levels and Gaussian for more.

    On grey pixels a Bernoulli's entropy is high whatever the decoder does, so z is hardly used and pictures are blurred;
    a Gaussian with a learned deviation has no such floor (Rybkin et al. 2021).
    """
    chosen = config.likelihood
    if chosen == "auto":
        chosen = "bernoulli" if info.levels == 2 else "gaussian"
    return Bernoulli(config, info) if chosen == "bernoulli" else Gaussian(config, info)
