"""The forward process: q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I) with alpha_t^2 + sigma_t^2 = 1.

t counts from 0 to T - 1 here, where the papers count from 1 to T; -1 is the picture itself. Tables are float64: near
t = 0 the numbers 1 - alpha_bar are small, and float32 would lose half of their digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIGMA_MAX = 80.0  # Karras et al. 2022: of sigma / alpha; beyond it a step of Heun would be all error
BETA_MAX = 0.999  # Nichol & Dhariwal 2021, section 3.2: no singularity at the end


@dataclass(frozen=True)
class Node:
    """A moment of the forward process. t may lie between two steps; lambda is log(alpha / sigma), half the log-SNR."""

    t: float
    alpha: float
    sigma: float

    @property
    def lamda(self) -> float:
        return math.log(self.alpha / self.sigma) if self.sigma > 0 else math.inf


CLEAN = Node(-1.0, 1.0, 0.0)


def linear_betas(steps: int) -> Tensor:
    """beta from 1e-4 to 0.02 in 1000 steps (Ho et al. 2020, section 4); fewer steps take as much noise in all."""
    scale = 1000 / steps
    return torch.linspace(scale * 1e-4, scale * 0.02, steps, dtype=torch.float64).clamp(max=BETA_MAX)


def cosine_betas(steps: int, s: float = 0.008) -> Tensor:
    """alpha_bar(t) = f(t) / f(0), f(t) = cos^2((t/T + s) / (1 + s) pi/2) (Nichol & Dhariwal 2021, equation 17)."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = torch.cos((t + s) / (1 + s) * math.pi / 2).square()
    return (1 - f[1:] / f[:-1]).clamp(max=BETA_MAX)


class Schedule:
    """The tables of a noise schedule of `steps` steps: "linear" or "cosine". Each is float64 of shape (T,)."""

    def __init__(self, name: str, steps: int):
        self.name, self.steps = name, steps
        self.betas = linear_betas(steps) if name == "linear" else cosine_betas(steps)
        self.alpha_bar = torch.cumprod(1 - self.betas, 0)
        self.alpha, self.sigma = self.alpha_bar.sqrt(), (1 - self.alpha_bar).sqrt()
        self.lamda = torch.log(self.alpha / self.sigma)

    @property
    def snr(self) -> Tensor:
        """alpha_t^2 / sigma_t^2, (T,)."""
        return self.alpha_bar / (1 - self.alpha_bar)

    def node(self, t: float) -> Node:
        """The moment t; between two steps lambda is interpolated linearly. -1 is the picture itself."""
        if t < 0:
            return CLEAN
        low = min(int(t), self.steps - 1)
        if low == t:
            return Node(float(t), float(self.alpha[low]), float(self.sigma[low]))
        lamda = float(torch.lerp(self.lamda[low], self.lamda[min(low + 1, self.steps - 1)], t - low))
        return self.node_at(lamda, t)

    @staticmethod
    def node_at(lamda: float, t: float) -> Node:
        """The moment whose log(alpha / sigma) is `lamda`."""
        return Node(t, 1 / math.sqrt(1 + math.exp(-2 * lamda)), 1 / math.sqrt(1 + math.exp(2 * lamda)))

    def time_of(self, lamda: float) -> float:
        """The t at which log(alpha / sigma) is `lamda`, within [0, T - 1]: the inverse of `node(t).lamda`."""
        falling = self.lamda
        if lamda >= falling[0]:
            return 0.0
        if lamda <= falling[-1]:
            return float(self.steps - 1)
        after = int(torch.searchsorted(-falling, -lamda))  # the first that is not above
        before = after - 1
        return before + float((falling[before] - lamda) / (falling[before] - falling[after]))

    def path(self, steps: int, spacing: str, start: float | None = None) -> list[Node]:
        """The moments at which a sampler evaluates the network, the noisiest first, and the picture itself at the end.

        "linear": evenly in t; "quadratic": t as squares, denser near the picture (Song et al. 2021, appendix D.2);
        "logsnr": evenly in lambda (Lu et al. 2022); "karras": sigma/alpha from 80 down, its seventh root evenly (Karras et
        al. 2022, equation 5). start: the first t (default T - 1).
        All T steps of "linear" are the T steps of training.
        """
        first = self.steps - 1 if start is None else start
        steps = max(1, min(steps, int(first) + 1))
        if spacing == "logsnr":
            ends = self.node(first).lamda, float(self.lamda[0])
            even = torch.linspace(*ends, steps, dtype=torch.float64).tolist()
            return [self.node(first), *(self.node_at(v, self.time_of(v)) for v in even[1:]), CLEAN]
        if spacing == "karras":
            largest = min(SIGMA_MAX, math.exp(-self.node(first).lamda))
            roots = torch.linspace(largest ** (1 / 7), math.exp(-float(self.lamda[0])) ** (1 / 7), steps).double()
            lamdas = [-7 * math.log(root) for root in roots.tolist()]
            return [*(self.node_at(v, self.time_of(v)) for v in lamdas), CLEAN]
        power = 2 if spacing == "quadratic" else 1
        times = [round((first + 1) * (1 - i / steps) ** power) - 1 for i in range(steps)]
        times = sorted({max(0, t) for t in times}, reverse=True)
        return [*map(self.node, times), CLEAN]


@dataclass(frozen=True)
class Posterior:
    """q(x_s | x_t, x_0) = N(of_x0 x_0 + of_xt x_t, variance I) for s before t (Ho et al. 2020, equations 6 and 7).

    `beta` is the variance of q(x_t | x_s): equation 4's beta_t where s = t - 1, and for a subset of the steps its
    counterpart (Nichol & Dhariwal 2021, section 4).
    """

    of_x0: float
    of_xt: float
    variance: float
    beta: float


def posterior(s: Node, t: Node) -> Posterior:
    """The posterior of the earlier moment s given the later moment t and x_0."""
    ratio = t.alpha / s.alpha
    beta = 1 - ratio**2
    within = t.sigma**2
    return Posterior(s.alpha * beta / within, ratio * s.sigma**2 / within, beta * s.sigma**2 / within, beta)
