"""The machine: E(v, h) = -a.v - b.h - v W h over binary v (visible) and h (hidden)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gentool import DataInfo, UsageError
from gentool_rbm import Config


class RBM(nn.Module):
    """Pictures (N, C, H, W) in {-1, 1} are v in {0, 1}, shape (N, D). The chains are a buffer: a checkpoint has them."""

    conditional = False
    chains: Tensor

    def __init__(self, config: Config, info: DataInfo) -> None:
        super().__init__()
        self.config, self.info = config, info
        if info.image is None or info.levels != 2:
            raise UsageError("'rbm' is a model of binary pictures: add --set data.binarize=threshold.")
        self.dims = math.prod(info.image)
        self.W = nn.Parameter(0.01 * torch.randn(self.dims, config.hidden))
        self.a = nn.Parameter(torch.zeros(self.dims))
        self.b = nn.Parameter(torch.zeros(config.hidden))
        self.register_buffer("chains", torch.bernoulli(torch.full((config.chains, self.dims), 0.5)))

    def visible(self, images: Tensor) -> Tensor:
        return (images.flatten(1) + 1) / 2

    def images(self, v: Tensor) -> Tensor:
        assert self.info.image is not None
        return (2 * v - 1).unflatten(1, self.info.image)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log sum_h exp(-E(v, h)) = -a.v - sum_j log(1 + exp(b_j + (v W)_j)), shape (N,)."""
        return -v @ self.a - softplus(self.b + v @ self.W).sum(1)

    def gibbs(self, v: Tensor, generator: torch.Generator, steps: int) -> tuple[Tensor, Tensor]:
        """(v after `steps` alternations, the probabilities it was drawn with)."""
        p = v
        for _ in range(steps):
            h = torch.bernoulli((self.b + v @ self.W).sigmoid(), generator=generator)
            p = (self.a + h @ self.W.t()).sigmoid()
            v = torch.bernoulli(p, generator=generator)
        return v, p
