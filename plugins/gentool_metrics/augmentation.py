"""Changes to training pictures of the classifier, drawn from a generator; images (N, C, H, W) in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def no_augmentation(images: Tensor, generator: torch.Generator) -> Tensor:
    return images


def flips(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures mirrored left to right."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def affine(degrees: float, scale: float, shift: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Random rotation, scaling by 1 ± scale and shift by a share of the side, each uniform; outside is background."""

    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        n = len(images)
        u = torch.rand(4, n, generator=generator) * 2 - 1
        angle, zoom = u[0] * degrees * torch.pi / 180, 1 + u[1] * scale
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        theta = torch.stack(
            [torch.stack([cos, -sin, u[2] * 2 * shift], 1), torch.stack([sin, cos, u[3] * 2 * shift], 1)], 1
        )
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images + 1, grid, align_corners=False) - 1  # background is -1

    return change
