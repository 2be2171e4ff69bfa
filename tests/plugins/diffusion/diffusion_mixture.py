"""A mixture of Gaussians, of which E[x_0 | x_t] is known exactly at every moment: an oracle for the solvers."""

from __future__ import annotations

import torch
from gentool_diffusion.schedule import CLEAN, Node, Schedule
from torch import Tensor


class Mixture:
    """Components N(m_k, s_k^2 I) with weights w_k in two dimensions, float64; x is (N, 2, 1, 1)."""

    def __init__(self) -> None:
        self.means = torch.tensor([[1.0, 0.3], [-0.6, 0.8], [-0.2, -0.9]], dtype=torch.float64)
        self.deviations = torch.tensor([0.3, 0.4, 0.25], dtype=torch.float64)
        self.weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)

    def denoise(self, x: Tensor, node: Node) -> Tensor:
        """E[x_0 | x_t = x]: each component's posterior mean, weighted by how likely it made x."""
        flat = x.flatten(1)[:, None]
        variance = node.alpha**2 * self.deviations**2 + node.sigma**2
        off = flat - node.alpha * self.means
        log = self.weights.log() - variance.log() - off.square().sum(2) / (2 * variance)
        share = log.softmax(1)[..., None]
        gain = (node.alpha * self.deviations**2 / variance)[:, None]
        return (share * (self.means + gain * off)).sum(1).view_as(x)


def even_path(steps: int, first: float = -4.0, last: float = 3.0, end: bool = False) -> list[Node]:
    """Moments evenly in lambda; with `end`, the picture itself last."""
    nodes = [Schedule.node_at(first + (last - first) * i / steps, float(steps - i)) for i in range(steps + 1)]
    return [*nodes, CLEAN] if end else nodes
