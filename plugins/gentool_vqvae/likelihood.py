"""The discretised logistic: a likelihood of pixels that are whole numbers (Salimans et al. 2017, equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

LOG_SCALE = (-7.0, 2.0)  # s from a tenth of an 8-bit level to wider than the range [-1, 1]


def precise(x: Tensor) -> Tensor:
    """At least float32: what autocast made bfloat16 is widened, the rest stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def discretised_logistic(x: Tensor, mu: Tensor, log_s: Tensor, levels: int) -> Tensor:
    """log of the mass a logistic (mu, s) puts on the bin of x, in nats, elementwise.

    x in [-1, 1] is taken as the nearest of `levels` evenly spaced values; bins are 2 / (levels - 1) wide, the first and
    last open. With sigma the logistic function, a and b the bin's ends in units of s,
    sigma(b) - sigma(a) = sigma(b) sigma(-a) (1 - e^(a-b)): three terms without cancellation.
    """
    half = 1 / (levels - 1)
    x = ((x + 1) / (2 * half)).round() * (2 * half) - 1
    log_s = log_s.clamp(*LOG_SCALE)
    per_s = torch.exp(-log_s)
    a, b = (x - half - mu) * per_s, (x + half - mu) * per_s
    first, last = x < -1 + half, x > 1 - half
    below_b = torch.where(last, 0.0, logsigmoid(b))
    above_a = torch.where(first, 0.0, logsigmoid(-a))
    width = torch.where(first | last, 0.0, torch.log(-torch.expm1(-2 * half * per_s)))
    return below_b + above_a + width
