"""Nearest neighbours by chunks of rows: precision, recall, density, coverage, and the search for copied pictures.

No matrix of all distances is held: memory is `CHUNK` rows of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 512


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|², shape (len(x), len(y)), never negative. Use float64 (or centred rows): the expansion cancels."""
    cross = torch.addmm(x.square().sum(1, keepdim=True) + y.square().sum(1), x, y.T, alpha=-2)
    return cross.clamp_(min=0)


def ball_radii(x: Tensor, k: int) -> Tensor:
    """Squared distance of each row to its k-th nearest *other* row, shape (N,)."""
    if not 1 <= k < len(x):
        raise ValueError(f"the {k}-th neighbour of one of {len(x)} rows does not exist")
    radii = torch.empty(len(x), dtype=x.dtype)
    for start in range(0, len(x), CHUNK):
        rows = torch.arange(start, min(start + CHUNK, len(x)))
        d = squared_distances(x[rows], x)
        d[torch.arange(len(rows)), rows] = torch.inf  # not itself; a duplicate elsewhere does count
        radii[rows] = d.kthvalue(k, dim=1).values
    return radii


@dataclass(frozen=True)
class Manifold:
    """The four figures, each in [0, 1] but density, which may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_figures(real: Tensor, fake: Tensor, k: int = 5) -> Manifold:
    """Precision and recall (Kynkäänniemi et al. 2019, equation 2), density and coverage (Naeem et al. 2020).

    A ball around each row reaches to its k-th nearest other row of the same set.
    precision: share of fakes inside some real ball; recall: share of reals inside some fake ball;
    density: how many real balls hold a fake, over k; coverage: share of real balls that hold a fake.
    real (N, D), fake (M, D).
    """
    # Float64 after centring: distances by expansion lose what the mean has in common.
    centre = real.double().mean(0)
    real, fake = real.double() - centre, fake.double() - centre
    real_radii, fake_radii = ball_radii(real, k), ball_radii(fake, k)
    inside_real = torch.zeros(len(fake), dtype=torch.int64)
    recalled = covered = 0
    for start in range(0, len(real), CHUNK):
        d = squared_distances(real[start : start + CHUNK], fake)
        holds = d <= real_radii[start : start + CHUNK, None]
        inside_real += holds.sum(0)
        covered += int(holds.any(1).sum())
        recalled += int((d <= fake_radii).any(1).sum())
    return Manifold(
        precision=float((inside_real > 0).double().mean()),
        recall=recalled / len(real),
        density=float(inside_real.double().mean()) / k,
        coverage=covered / len(real),
    )


class NearestTwo:
    """The two nearest rows of a stream for each query: feed the stream by `add`, in any chunks.

    queries: (Q, D). Afterwards `distances` (Q, 2) are Euclidean, ascending; `indices` (Q,) is the nearest's place in
    the stream (of equals the first).
    """

    def __init__(self, queries: Tensor) -> None:
        self.queries = queries.detach().flatten(1).float().cpu()
        self._norms = self.queries.square().sum(1, keepdim=True)
        self._best = torch.full((len(queries), 2), torch.inf)
        self.indices = torch.full((len(queries),), -1, dtype=torch.int64)
        self.seen = 0

    def add(self, rows: Tensor) -> None:
        """One chunk (n, ...) of the stream."""
        rows = rows.detach().flatten(1).float().cpu()
        d = torch.addmm(self._norms + rows.square().sum(1), self.queries, rows.T, alpha=-2)
        near = d.topk(min(2, d.shape[1]), dim=1, largest=False)
        # The expansion loses small distances to cancellation, and those are the ones that matter: take them again.
        found = rows[near.indices]
        exact = (found - self.queries[:, None]).square().sum(2)
        distance, order = torch.cat([self._best, exact], 1).sort(dim=1, stable=True)
        source = torch.cat([self.indices[:, None], self.indices[:, None], self.seen + near.indices], 1)
        self._best = distance[:, :2].contiguous()
        self.indices = source.gather(1, order[:, :1]).squeeze(1)
        self.seen += len(rows)

    @property
    def distances(self) -> Tensor:
        return self._best.sqrt()
