"""The variational bound of -log p(x_0), in nats (Ho et al. 2020, equation 5):

    L_T + sum_t>1 L_t-1 + L_0     with L_T = KL(q(x_T|x_0) || p(x_T)), L_0 = -log p(x_0|x_1)
                                  and L_t-1 = KL(q(x_t-1|x_t,x_0) || p(x_t-1|x_t))

Here t counts from 0 and is the moment the network is asked at, so that `terms` at t = 0 is the paper's L_0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gentool import Step

if TYPE_CHECKING:
    from .model import Process


def gaussian_kl(mean: Tensor, log_var: Tensor, other: Tensor, other_log_var: Tensor) -> Tensor:
    """KL(N(mean, var) || N(other, other_var)) of every dimension, nats."""
    ratio = log_var - other_log_var
    return 0.5 * (torch.exp(ratio) + (mean - other).square() * torch.exp(-other_log_var) - 1 - ratio)


def discretised_gaussian(x: Tensor, mean: Tensor, log_s: Tensor, levels: int) -> Tensor:
    """log of a Gaussian's mass on the level of every dimension of x in [-1, 1] (Ho et al. 2020, equation 13).

    The outermost of the `levels` bins reach to infinity. Of a bin far out in a tail, where the difference of two
    cumulative probabilities would be 0, the mass is that of the nearer tail, taken in logarithms.
    """
    half = 1 / (levels - 1)
    inverse = torch.exp(-log_s)
    upper, lower = (x - mean + half) * inverse, (x - mean - half) * inverse
    upper, lower = torch.where(upper + lower > 0, -lower, upper), torch.where(upper + lower > 0, -upper, lower)
    # The mass of [lower, upper], mirrored to the left tail: log(F(upper) - F(lower)), stable there.
    log_upper, log_lower = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    inside = log_upper + torch.log(-torch.expm1((log_lower - log_upper).clamp(max=-1e-7)))
    first = torch.special.log_ndtr((x - mean + half) * inverse)
    last = torch.special.log_ndtr((mean - x + half) * inverse)
    return torch.where(x < -1 + half, first, torch.where(x > 1 - half, last, inside))


def log_variances(model: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """log of the posterior's variance and log beta_t, each (N, 1, ...): the bounds of p(x_t-1|x_t)'s variance.

    At t = 0 the posterior's is 0; that of t = 1 stands for it (Ho et al. 2020, in their code; Nichol & Dhariwal 2021)."""
    schedule = model.schedule
    bar = schedule.alpha_bar
    before = torch.cat([bar.new_ones(1), bar[:-1]])
    small = schedule.betas * (1 - before) / (1 - bar)
    small[0] = small[1]
    return model.at(small.log(), t), model.at(schedule.betas.log(), t)


def reverse_log_variance(model: Process, t: Tensor, between: Tensor | None) -> Tensor:
    """log of the variance of p(x_t-1|x_t): the chosen bound, or v log beta_t + (1 - v) log of the posterior's
    (Nichol & Dhariwal 2021, equation 15)."""
    small, large = log_variances(model, t)
    if between is not None:
        return torch.lerp(small, large, between.clamp(0, 1))
    return small if model.config.variance == "small" else large


def posterior_mean(model: Process, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """The mean of q(x_t-1|x_t, x_0) (Ho et al. 2020, equation 7)."""
    schedule = model.schedule
    bar = schedule.alpha_bar
    before = torch.cat([bar.new_ones(1), bar[:-1]])
    of_x0 = before.sqrt() * schedule.betas / (1 - bar)
    of_xt = (1 - schedule.betas).sqrt() * (1 - before) / (1 - bar)
    return model.at(of_x0, t) * x0 + model.at(of_xt, t) * x_t


def terms(model: Process, x0: Tensor, x_t: Tensor, t: Tensor, x0_hat: Tensor, between: Tensor | None) -> Tensor:
    """L_t-1, and at t = 0 L_0, of each example in nats, (N,), for an estimate of the picture, which is clipped."""
    if model.bounded:
        x0_hat = x0_hat.clamp(-1, 1)
    mean = posterior_mean(model, x0_hat, x_t, t)
    log_var = reverse_log_variance(model, t, between).expand_as(mean)
    true_log_var, _ = log_variances(model, t)
    kl = gaussian_kl(posterior_mean(model, x0, x_t, t), true_log_var, mean, log_var).flatten(1).sum(1)
    decoder = -discretised_gaussian(x0, mean, 0.5 * log_var, model.info.levels).flatten(1).sum(1)
    return torch.where(t == 0, decoder, kl)


def prior_kl(model: Process, x0: Tensor) -> Tensor:
    """L_T = KL(q(x_T|x_0) || N(0, I)) of each example in nats, (N,)."""
    last = x0.new_full((len(x0),), model.schedule.steps - 1, dtype=torch.int64)
    alpha, sigma = model.alpha_sigma(last)
    zero = torch.zeros_like(x0)
    return gaussian_kl(alpha * x0, 2 * torch.log(sigma).expand_as(x0), zero, zero).flatten(1).sum(1)


def term_at(model: Process, x0: Tensor, labels: Tensor | None, t: Tensor, step: Step, purpose: str) -> Tensor:
    """One draw of L_t-1 of each example at its own t, nats, (N,)."""
    x_t = model.noised(x0, t, step.noise(*x0.shape, purpose=purpose))
    said = model.predict(x_t, t, labels)
    return terms(model, x0, x_t, t, said.x0, said.between)


def bound(model: Process, x0: Tensor, labels: Tensor | None, step: Step) -> tuple[Tensor, Tensor]:
    """(-L_0, all other terms), each (N,), nats: one draw of the noise at every t."""
    kl = prior_kl(model, x0)
    decoder = torch.zeros_like(kl)
    for i in range(model.schedule.steps):
        t = torch.full((len(x0),), i, device=x0.device, dtype=torch.int64)
        found = term_at(model, x0, labels, t, step, f"bound-{i}")
        if i:
            kl = kl + found
        else:
            decoder = -found
    return decoder, kl


def chain_weight(model: Process, x0: Tensor, labels: Tensor | None, step: Step, draw: int) -> Tensor:
    """log p(x_0..T) - log q(x_1..T|x_0) of one chain from q, (N,), nats: from x_T backwards by q(x_t-1|x_t, x_0)."""
    n, last = len(x0), model.schedule.steps - 1

    def normal(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        squared = (x - mean).square() * torch.exp(-log_var)
        return -0.5 * (squared + log_var + math.log(2 * math.pi)).flatten(1).sum(1)

    every = torch.full((n,), last, device=x0.device, dtype=torch.int64)
    alpha, sigma = model.alpha_sigma(every)
    x_t = alpha * x0 + sigma * step.noise(*x0.shape, purpose=f"chain-{draw}-end")
    zero = torch.zeros_like(x0)
    weight = normal(x_t, zero, zero) - normal(x_t, alpha * x0, 2 * torch.log(sigma).expand_as(x0))
    for i in range(last, -1, -1):
        t = torch.full((n,), i, device=x0.device, dtype=torch.int64)
        said = model.predict(x_t, t, labels)
        hat = said.x0.clamp(-1, 1) if model.bounded else said.x0
        mean = posterior_mean(model, hat, x_t, t)
        log_var = reverse_log_variance(model, t, said.between).expand_as(mean)
        if i == 0:
            return weight + discretised_gaussian(x0, mean, 0.5 * log_var, model.info.levels).flatten(1).sum(1)
        true_mean, true_log_var = posterior_mean(model, x0, x_t, t), log_variances(model, t)[0].expand_as(mean)
        x_t = true_mean + torch.exp(0.5 * true_log_var) * step.noise(*x0.shape, purpose=f"chain-{draw}-{i}")
        weight = weight + normal(x_t, mean, log_var) - normal(x_t, true_mean, true_log_var)
    raise AssertionError("a schedule has steps")
