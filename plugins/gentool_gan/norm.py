"""Batch normalisation whose statistics at sampling time are those of the weights that sample.

The usual running averages trail the weights, and do not fit averaged (EMA) weights at all: those give activations of
another size than any weights that were trained. Here nothing is averaged. In eval mode mean and variance are measured
once for the present weights, on a fixed reference batch of latent vectors (Salimans et al. 2016, section 3.4), and
kept until a weight changes. So they are a function of the weights, and no part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REFERENCE = 512  # latent vectors


class BatchNorm(nn.Module):
    """Over (N, H, W) of x (N, C, H, W): of the batch in training, of the reference batch in eval mode."""

    mean: Tensor
    var: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width), persistent=False)
        self.register_buffer("var", torch.ones(width), persistent=False)
        self.measuring = False

    def forward(self, x: Tensor) -> Tensor:
        if self.measuring:  # momentum 1: the statistics become those of this batch
            return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, training=True, momentum=1.0)
        if self.training:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True)
        return F.batch_norm(x, self.mean, self.var, self.weight, self.bias)


class Reference:
    """Keeps the statistics of a generator's `BatchNorm`s those of its weights; call `settle` before an eval pass."""

    def __init__(self) -> None:
        self.measured: tuple[tuple[int, int], ...] | None = None

    def settle(self, generator: nn.Module, draw: Callable[[Tensor, Tensor], Tensor], latent: int, classes: int) -> None:
        """Measure again if a weight has changed since; `draw(z, labels)` is one pass of the generator."""
        norms = [module for module in generator.modules() if isinstance(module, BatchNorm)]
        if not norms:
            return
        weights = list(generator.parameters())
        now = tuple((w.data_ptr(), w._version) for w in weights)
        if now == self.measured:
            return
        device = weights[0].device
        z = torch.randn(REFERENCE, latent, generator=torch.Generator().manual_seed(0)).to(weights[0])
        labels = torch.arange(REFERENCE, device=device) % max(1, classes)
        for norm in norms:
            norm.measuring = True
        try:
            with torch.no_grad():
                draw(z, labels)
        finally:
            for norm in norms:
                norm.measuring = False
        self.measured = now
