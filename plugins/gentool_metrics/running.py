"""Mean and standard error of streams of numbers, mergeable across ranks, in float64."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class RunningMean:
    """Count, mean and sum of squared deviations of numbers seen so far (Welford 1962; merged as Chan et al. 1979)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Tensor) -> None:
        """Numbers of any shape."""
        if values.numel():
            x = values.detach().double().flatten()
            mean = x.mean()
            self.merge(RunningMean(x.numel(), float(mean), float((x - mean).square().sum())))

    def merge(self, other: RunningMean) -> None:
        n = self.n + other.n
        if not other.n:
            return
        delta = other.mean - self.mean
        self.squares += other.squares + delta**2 * self.n * other.n / n
        self.mean += delta * other.n / n
        self.n = n

    @property
    def standard_error(self) -> float | None:
        """Of the mean; None where fewer than two numbers were seen."""
        return (self.squares / (self.n - 1) / self.n) ** 0.5 if self.n > 1 else None
