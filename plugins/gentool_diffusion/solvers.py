"""The samplers as mathematics: generators over a path of moments, the noisiest first and the picture itself last.

`denoise(x, node)` estimates x_0 of x at a moment; each step yields (what has become of x, the estimate). No network is
known here: `tests/plugins/diffusion/test_solvers.py` runs them on a mixture of Gaussians, whose x_0 is known exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from .schedule import Node, posterior

Denoise = Callable[[Tensor, Node], Tensor]
Noise = Callable[[int], Tensor]
Steps = Iterator[tuple[Tensor, Tensor]]


def ddim(denoise: Denoise, x: Tensor, path: Sequence[Node], *, eta: float = 0.0, noise: Noise | None = None) -> Steps:
    """Song, Meng & Ermon 2021, equations 12 and 16: deterministic at eta = 0, as noisy as the ancestral one at 1."""
    for i, (t, s) in enumerate(itertools.pairwise(path)):
        x0 = denoise(x, t)
        eps = (x - t.alpha * x0) / t.sigma
        std = eta * math.sqrt(max(0.0, posterior(s, t).variance))
        x = s.alpha * x0 + math.sqrt(max(0.0, s.sigma**2 - std**2)) * eps
        if std > 0:
            assert noise is not None
            x = x + std * noise(i)
        yield x, x0


def heun(denoise: Denoise, x: Tensor, path: Sequence[Node]) -> Steps:
    """Heun's second-order method on d(x/alpha)/d(sigma/alpha) = eps (Karras et al. 2022, algorithm 1): two calls a step.

    The step to the picture itself, where the slope has no limit, is Euler's.
    """
    for t, s in itertools.pairwise(path):
        before, after = t.sigma / t.alpha, s.sigma / s.alpha
        scaled = x / t.alpha
        x0 = denoise(x, t)
        slope = (scaled - x0) / before
        trial = scaled + (after - before) * slope
        if after > 0:
            slope = (slope + (trial - denoise(s.alpha * trial, s)) / after) / 2
            trial = scaled + (after - before) * slope
        x = s.alpha * trial
        yield x, x0


def dpm_solver(denoise: Denoise, x: Tensor, path: Sequence[Node]) -> Steps:
    """DPM-Solver++(2M): Lu et al. 2022, "DPM-Solver++", algorithm 2: second order, one call a step.

    The first step has no past, the last ends at infinite lambda: both are of first order, as DDIM's.
    """
    x0_before: Tensor | None = None
    h_before = 0.0
    for t, s in itertools.pairwise(path):
        x0 = denoise(x, t)
        h = s.lamda - t.lamda
        estimate = x0
        if x0_before is not None and math.isfinite(h):
            r = h_before / h
            estimate = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0_before
        x = (s.sigma / t.sigma) * x - s.alpha * math.expm1(-h) * estimate
        x0_before, h_before = x0, h
        yield x, x0


def ancestral(
    denoise: Callable[[Tensor, Node], tuple[Tensor, Tensor | None]],
    x: Tensor,
    path: Sequence[Node],
    *,
    noise: Noise,
    variance: str = "small",
) -> Steps:
    """Ho et al. 2020, algorithm 2: x_s ~ p(x_s|x_t), its mean that of q(x_s|x_t, x_0) at the estimate of x_0.

    variance: the posterior's ("small"), beta ("large"), or between them as `denoise` says by its second value, in
    [0, 1] (Nichol & Dhariwal 2021, equation 15). A subset of the steps has the betas of that subset.
    """
    for i, (t, s) in enumerate(itertools.pairwise(path)):
        x0, between = denoise(x, t)
        q = posterior(s, t)
        mean = q.of_x0 * x0 + q.of_xt * x
        if s.sigma == 0:  # the last step shows its mean
            yield mean, x0
            return
        low, high = math.log(q.variance), math.log(q.beta)
        std: Tensor | float = math.exp(0.5 * (low if variance == "small" else high))
        if between is not None:
            std = torch.exp(0.5 * (low + (high - low) * between.clamp(0, 1)))
        x = mean + std * noise(i)
        yield x, x0
