"""Changes to training pictures of the classifier, drawn from a generator; images (N, C, H, W) in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def no_augmentation(images: Tensor, generator: torch.Generator) -> Tensor:
    return images


def flips(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures mirrored left to right."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)
