"""Persistent contrastive divergence (Tieleman 2008): the negative phase comes from chains that are never restarted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from gentool import Batch, Phase, Step
from gentool_rbm import LossConfig


class ContrastiveDivergence:
    """grad L = E_data[grad F(v)] - E_chains[grad F(v)]: the gradient of minus the log-likelihood, its second term by MCMC."""

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        with torch.no_grad():
            v, _ = model.gibbs(model.chains, step.generator("gibbs"), self.config.k)
            model.chains.copy_(v)
        gap = model.free_energy(model.visible(batch.images)).mean() - model.free_energy(v).mean()
        yield Phase("model", gap)
