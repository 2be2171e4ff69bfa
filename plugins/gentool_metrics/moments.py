"""Mean and covariance of a stream, mergeable: the pairwise update of Chan, Golub and LeVeque 1979, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Count n, mean (D,) and the sum of outer products of deviations `scatter` (D, D), both float64 on the CPU."""

    n: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def empty(cls, dim: int) -> Moments:
        return cls(0, torch.zeros(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64))

    @classmethod
    def of(cls, rows: Tensor) -> Moments:
        """The moments of rows (N, D), N may be 0."""
        x = rows.detach().to("cpu", torch.float64)
        if len(x) == 0:
            return cls.empty(x.shape[1])
        mean = x.mean(0)
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred)

    @classmethod
    def from_covariance(cls, n: int, mean: Tensor, covariance: Tensor) -> Moments:
        """The inverse of (n, mean, covariance)."""
        return cls(n, mean.double(), covariance.double() * (n - 1))

    def merge(self, other: Moments) -> Moments:
        """The moments of both streams together; associative and commutative up to rounding."""
        if not self.n or not other.n:
            return other if not self.n else self
        n = self.n + other.n
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.n / n)
        scatter = self.scatter + other.scatter + torch.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, mean, scatter)

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (D, D); needs n >= 2."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 rows, there are {self.n}")
        return self.scatter / (self.n - 1)
