"""Distances between two sets of feature vectors: Fréchet (FID) and the unbiased kernel distance (KID)."""

from __future__ import annotations

import torch
from torch import Tensor

from gentool_metrics.moments import Moments


def _symmetric_sqrt(matrix: Tensor) -> Tensor:
    """The positive square root of a positive semi-definite matrix; rounding below zero is cut off."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^(1/2)): Heusel et al. 2017, equation 6 (Dowson & Landau 1982).

    C_a C_b is not symmetric and its square root by Schur form is unstable where a covariance is near singular. But its
    eigenvalues are those of A B B A with A = C_a^(1/2), B = C_b^(1/2), whose root has the singular values of A B for
    eigenvalues: the trace is their sum, and only symmetric decompositions are needed. Never below 0 but by rounding,
    which is cut off.
    """
    shift = (a.mean - b.mean).square().sum()
    ca, cb = a.covariance, b.covariance
    overlap = torch.linalg.svdvals(_symmetric_sqrt(ca) @ _symmetric_sqrt(cb)).sum()
    return max(0.0, float(shift + ca.trace() + cb.trace() - 2 * overlap))


def polynomial_kernel(x: Tensor, y: Tensor, scale: float, degree: int = 3) -> Tensor:
    """k(x, y) = (<x, y> / scale + 1)^degree, shape (len(x), len(y)); Bińkowski et al. have scale = D, degree 3."""
    return (x @ y.T / scale + 1) ** degree


def squared_mmd(x: Tensor, y: Tensor, scale: float, degree: int = 3) -> float:
    """The unbiased estimate of MMD² (Gretton et al. 2012, equation 3) between x (n, D) and y (m, D); may be negative."""
    n, m = len(x), len(y)
    kxx, kyy = polynomial_kernel(x, x, scale, degree), polynomial_kernel(y, y, scale, degree)
    kxy = polynomial_kernel(x, y, scale, degree)
    within_x = (kxx.sum() - kxx.diagonal().sum()) / (n * (n - 1))
    within_y = (kyy.sum() - kyy.diagonal().sum()) / (m * (m - 1))
    return float(within_x + within_y - 2 * kxy.mean())


def kernel_distance(
    x: Tensor, y: Tensor, *, block: int = 1000, degree: int = 3, scale: float | None = None
) -> tuple[float, float | None, int]:
    """(KID, its standard error, blocks): the mean of MMD² over disjoint pairs of blocks of rows.

    Blocks are disjoint, hence independent, and so the standard error over them is an honest one (random subsets that
    overlap understate it). None where there is only one block. x (n, D), y (m, D); blocks shrink to the smaller set.
    """
    x, y = x.double(), y.double()
    block = min(block, len(x), len(y))
    if block < 2:
        raise ValueError("a kernel distance needs at least 2 rows on either side")
    blocks = min(len(x), len(y)) // block
    scale = float(x.shape[1]) if scale is None else scale
    values = torch.tensor(
        [
            squared_mmd(x[i * block : (i + 1) * block], y[i * block : (i + 1) * block], scale, degree)
            for i in range(blocks)
        ],
        dtype=torch.float64,
    )
    error = float(values.std() / blocks**0.5) if blocks > 1 else None
    return float(values.mean()), error, blocks
