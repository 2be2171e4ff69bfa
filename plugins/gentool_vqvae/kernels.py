"""The two operations of a vector-quantised bottleneck: the nearest code of each vector, and the statistics of codes.

z is float32 (N, D), codebook float32 (K, D), index int64 (N,). No function here makes an N x K matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 1024  # rows scored at once: 1024 x 512 scores stay in a core's second-level cache


def _nearest_index(z: Tensor, codebook: Tensor) -> Tensor:
    """argmin_k |z - e_k|^2 = argmin_k |e_k|^2 / 2 - z.e_k, by chunks of rows; ties go to the lowest index."""
    half = codebook.square().sum(1).mul_(0.5)
    transposed = codebook.t()
    index = torch.empty(len(z), dtype=torch.int64, device=z.device)
    for start in range(0, len(z), CHUNK):
        rows = z[start : start + CHUNK]
        torch.argmin(torch.addmm(half, rows, transposed, alpha=-1), 1, out=index[start : start + CHUNK])
    return index


def nearest_code(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest code of each row of z (N, D) in codebook (K, D): (index int64 (N,), codebook[index] (N, D)).

    Scores are float32 whatever autocast says; ties go to the lowest index. The second output carries gradient to the
    codebook (never to z: see `straight_through`).
    """
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        index = _nearest_index(z.detach().float(), codebook.detach().float())
    return index, F.embedding(index, codebook)


def straight_through(z: Tensor, zq: Tensor) -> Tensor:
    """zq in value, z in gradient: z + sg(zq - z) (van den Oord et al. 2017, section 3.2)."""
    return z + (zq - z).detach()


def code_statistics(z: Tensor, index: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """How often each code was used (codes,) and the sum of the vectors that chose it (codes, D), without gradient."""
    z = z.detach()
    counts = torch.bincount(index, minlength=codes).to(z.dtype)
    return counts, z.new_zeros(codes, z.shape[1]).index_add_(0, index, z)
