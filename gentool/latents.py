"""Ways through a latent space."""

from __future__ import annotations

import torch
from torch import Tensor


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation (Shoemake 1985; for latent codes, White 2016): (n, D), (n, D), (T,) -> (n, T, D).

    The direction turns at a constant rate while the length goes linearly from one to the other: a straight line between
    two normal vectors would leave the shell where the prior's mass lies. Where the two directions (nearly) agree or
    oppose, or one of the vectors is 0, it is the straight line.
    """
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    unit_a, unit_b = a / length_a.clamp(min=1e-12), b / length_b.clamp(min=1e-12)
    cosine = (unit_a * unit_b).sum(1).clamp(-1, 1)
    angle = torch.acos(cosine)[:, None, None]
    t = t[None, :, None]
    sine = torch.sin(angle)
    turned = (torch.sin((1 - t) * angle) * unit_a[:, None] + torch.sin(t * angle) * unit_b[:, None]) / sine
    length = (1 - t) * length_a[:, None] + t * length_b[:, None]
    straight = (1 - t) * a[:, None] + t * b[:, None]
    vanishes = torch.minimum(length_a, length_b)[:, None] < 1e-6
    return torch.where((sine > 1e-3) & ~vanishes, turned * length, straight)
