"""How near a picture is to another: MSE, PSNR and SSIM of each pair, for images in [-1, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DATA_RANGE = 2.0  # of images in [-1, 1]: the peak in PSNR
PSNR_CAP = 100.0  # dB, given to a pair without any difference, so that a mean stays finite


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of each pair, shape (N,), float64."""
    return (x.double() - y.double()).square().flatten(1).mean(1)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """10 log10(2² / MSE) of each pair in dB, shape (N,), float64; at most `PSNR_CAP`."""
    return (10 * torch.log10(DATA_RANGE**2 / mse(x, y))).clamp(max=PSNR_CAP)


def window_size(height: int, width: int) -> int:
    """SSIM's window: 11, or for smaller pictures the largest odd size that fits."""
    side = min(11, height, width)
    return side if side % 2 else max(1, side - 1)


def gaussian_window(size: int, sigma: float = 1.5) -> Tensor:
    """Weights of a 1-D Gaussian window that sum to 1, shape (size,), float64; the 2-D window is its outer product."""
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-at.square() / (2 * sigma**2))
    return weights / weights.sum()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each pair, shape (N,), float64: Wang et al. 2004, equation 13.

    Gaussian window 11x11, sigma 1.5, K1 = 0.01, K2 = 0.03, L = 1 on pictures brought to [0, 1], black being 0 (the index
    changes with an offset); the mean over all windows that lie wholly inside, and over channels. Pictures with a side
    under 11 take the largest odd window that fits (`window_size`), same sigma.
    x, y: (N, C, H, W) in [-1, 1].
    """
    n, c, h, w = x.shape
    size = window_size(h, w)
    g = gaussian_window(size).to(x.device)

    def blur(image: Tensor) -> Tensor:  # the 2-D Gaussian is separable
        rows = F.conv2d(image, g.view(1, 1, size, 1))
        return F.conv2d(rows, g.view(1, 1, 1, size))

    x, y = ((image.double().reshape(n * c, 1, h, w) + 1) / 2 for image in (x, y))
    mu_x, mu_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mu_x**2, blur(y * y) - mu_y**2
    cov = blur(x * y) - mu_x * mu_y
    c1, c2 = 0.01**2, 0.03**2  # (K L)²
    index = ((2 * mu_x * mu_y + c1) * (2 * cov + c2)) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))
    return index.reshape(n, -1).mean(1)
