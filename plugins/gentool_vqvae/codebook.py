"""The codebook: nearest codes, their moving averages (van den Oord et al. 2017, appendix A.1), and codes kept alive."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gentool import Step

from .kernels import code_statistics, nearest_code

LLOYD = 10  # rounds of k-means: the encoder moves on at once, so convergence buys nothing


class Codebook(nn.Module):
    """K codes e_i of dimension D.

    ema: e_i = m_i / N_i, with N_i and m_i moving averages of how many vectors chose i and of their sum; e is a buffer.
    Otherwise e is a parameter. All that training leaves behind is in parameters and buffers, so a checkpoint holds it.
    """

    e: Tensor  # (K, D)
    usage: Tensor  # N_i, (K,): vectors a step
    sums: Tensor  # m_i, (K, D)
    initialised: Tensor  # bool, ()

    def __init__(self, codes: int, dim: int, *, ema: bool, decay: float):
        super().__init__()
        self.codes, self.dim, self.ema, self.decay = codes, dim, ema, decay
        e = torch.empty(codes, dim).uniform_(-1 / codes, 1 / codes)
        if ema:
            self.register_buffer("e", e)
            self.register_buffer("sums", torch.zeros(codes, dim))
        else:
            self.e = nn.Parameter(e)
        self.register_buffer("usage", torch.zeros(codes))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Of each row of z (N, D): the index of the nearest code (int64, (N,)) and that code (N, D)."""
        return nearest_code(z, self.e)

    @torch.no_grad()
    def initialise(self, z: Tensor, step: Step, how: str) -> None:
        """First codes from encoder outputs z (N, D): "kmeans" or "samples" of them, or "uniform": as they are."""
        if how != "uniform":
            e = _spread(z, self.codes, step)
            for _ in range(LLOYD if how == "kmeans" else 0):
                counts, sums = code_statistics(z, nearest_code(z, e)[0], self.codes)
                e = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), e)
            self.e.data.copy_(e)
        self.usage.fill_(len(z) / self.codes)
        if self.ema:
            self.sums.copy_(self.e * self.usage[:, None])
        self.initialised.fill_(True)

    @torch.no_grad()
    def update(self, z: Tensor, index: Tensor) -> Tensor:
        """The moving averages after vectors z (N, D) chose `index`; gives n_i, how many chose code i, (K,)."""
        gamma = self.decay
        n, s = code_statistics(z, index, self.codes)
        self.usage.mul_(gamma).add_(n, alpha=1 - gamma)  # N_i := gamma N_i + (1 - gamma) n_i            equation 6
        if self.ema:
            self.sums.mul_(gamma).add_(s, alpha=1 - gamma)  # m_i := gamma m_i + (1 - gamma) sum_j z_ij  equation 7
            alive = self.usage > 1e-6  # a code that nothing chooses keeps its place, not a quotient of two zeros
            self.e.copy_(torch.where(alive[:, None], self.sums / self.usage[:, None].clamp(min=1e-6), self.e))  # eq. 8
        return n

    @torch.no_grad()
    def restart(self, z: Tensor, step: Step, below: float) -> Tensor:
        """Put codes used less than `below` of the even share onto vectors drawn from z (N, D); gives how many.

        Each begins with the even share, so it has some 1 / (1 - gamma) steps to find vectors of its own.
        """
        even = self.usage.sum() / self.codes
        dead = self.usage < below * even
        drawn = z.detach()[step.integers(len(z), self.codes, purpose="restart")].to(self.e.dtype)
        self.e.data.copy_(torch.where(dead[:, None], drawn, self.e))
        self.usage.copy_(torch.where(dead, even, self.usage))
        if self.ema:
            self.sums.copy_(torch.where(dead[:, None], drawn * even, self.sums))
        return dead.sum()


def perplexity(n: Tensor) -> Tensor:
    """exp(H) of the distribution n / sum(n): how many codes, evenly used, would be as hard to guess. n (K,) counts."""
    p = n / n.sum()
    return torch.exp(-torch.special.xlogy(p, p).sum())


def _spread(z: Tensor, codes: int, step: Step) -> Tensor:
    """`codes` different rows of z in random order; where there are too few, they come again, a little displaced."""
    order = torch.randperm(len(z), generator=step.generator("codebook"), device=z.device)
    e = z[order.repeat(-(-codes // len(z)))[:codes]]
    if codes > len(z):
        again = step.noise(codes - len(z), z.shape[1], purpose="codebook displacement")
        e[len(z) :] += 0.01 * z.std(correction=0) * again
    return e
