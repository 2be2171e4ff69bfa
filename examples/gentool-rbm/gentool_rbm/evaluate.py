"""log Z by annealed importance sampling (Salakhutdinov & Murray 2008), and with it the log-likelihood of data."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gentool import Batch, Context, Report, Samples, Scalar, Step
from gentool_rbm import AisConfig


def log_partition(model: Any, step: Step, runs: int, temperatures: int) -> tuple[Tensor, Tensor]:
    """(log Z, its standard error), nats: from the machine without weights, p_0, to p_1 = p over rising beta.

    p_beta has weights beta W and biases beta b, and a throughout, so that Z_0 = 2^H prod_i (1 + exp a_i) is known.
    """
    a, b, W = (t.detach().double() for t in (model.a, model.b, model.W))
    generator = step.generator("ais")
    betas = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)
    v = torch.bernoulli(a.sigmoid().expand(runs, -1), generator=generator)
    log_w = torch.zeros(runs, dtype=torch.float64, device=a.device)

    def log_star(v: Tensor, beta: Tensor) -> Tensor:
        return v @ a + softplus(beta * (b + v @ W)).sum(1)

    for low, high in itertools.pairwise(betas):
        log_w += log_star(v, high) - log_star(v, low)
        h = torch.bernoulli((high * (b + v @ W)).sigmoid(), generator=generator)
        v = torch.bernoulli((a + high * (h @ W.t())).sigmoid(), generator=generator)
    log_z0 = len(b) * math.log(2) + softplus(a).sum()
    weights = (log_w - log_w.max()).exp()
    error = weights.std() / (weights.mean() * math.sqrt(runs))
    return log_z0 + log_w.logsumexp(0) - math.log(runs), error


class AnnealedImportanceSampling:
    """log p(v) = -F(v) - log Z, averaged over the data."""

    def __init__(self, config: AisConfig, context: Context) -> None:
        self.config, self.context = config, context
        self.model: Any = context.model
        self.total, self.count = 0.0, 0

    def update(self, batch: Batch, outputs: Samples | None) -> None:
        self.total += float(-self.model.free_energy(self.model.visible(batch.images)).double().sum())
        self.count += len(batch)

    def merge(self, other: AnnealedImportanceSampling) -> None:
        self.total, self.count = self.total + other.total, self.count + other.count

    def compute(self) -> Report:
        log_z, error = log_partition(self.model, self.context.step, self.config.runs, self.config.temperatures)
        value = self.total / self.count - float(log_z)
        return Report(
            "ais",
            [
                Scalar("log-likelihood", value, "nats", float(error)),
                Scalar("log Z", float(log_z), "nats", float(error)),
            ],
            f"{self.count} pictures, {self.context.split} split; {self.config.runs} runs of {self.config.temperatures} "
            "temperatures; the estimate of Z is unbiased, so that of the likelihood tends to be too high",
        )
