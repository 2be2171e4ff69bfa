"""MSE, PSNR, SSIM against float64 loops in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gentool_metrics.quality import PSNR_CAP, gaussian_window, mse, psnr, ssim, window_size


def images(n, c, h, w, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, c, h, w, generator=g) * 2 - 1


def ssim_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """One pair (C, H, W) in [-1, 1], every window written out, on pictures in [0, 1]."""
    x, y = (x + 1) / 2, (y + 1) / 2
    c, h, w = x.shape
    side = min(11, h, w)
    side -= 1 - side % 2
    at = np.arange(side) - side // 2
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for channel in range(c):
        for i in range(h - side + 1):
            for j in range(w - side + 1):
                a, b = x[channel, i : i + side, j : j + side], y[channel, i : i + side, j : j + side]
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
                cov = (window * (a - ma) * (b - mb)).sum()
                values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize(
    "shape", [(2, 1, 28, 28), (1, 3, 16, 13), (2, 1, 8, 8), (1, 1, 11, 30), (1, 1, 1, 1), (1, 1, 2, 5)]
)
def test_ssim_agrees_with_loops(shape):
    x = images(*shape)
    y = (x * 0.7 + 0.3 * images(*shape, seed=1)).clamp(-1, 1)
    expected = [ssim_by_loops(a.double().numpy(), b.double().numpy()) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(x, y), expected, rtol=1e-9, atol=1e-12)


def test_ssim_of_equals_is_one_and_of_negatives_below_zero():
    x = images(3, 1, 28, 28)
    np.testing.assert_allclose(ssim(x, x), 1, rtol=1e-12)
    assert (ssim(x, -x) < 0).all()


def test_windows():
    assert [window_size(28, 28), window_size(8, 8), window_size(8, 11), window_size(1, 4)] == [11, 7, 7, 1]
    assert float(gaussian_window(11).sum()) == pytest.approx(1)
    ratio = gaussian_window(11)[5] / gaussian_window(11)[4]
    assert float(ratio) == pytest.approx(math.exp(1 / (2 * 1.5**2)))


def test_psnr_has_peak_2_and_a_cap():
    x = torch.zeros(2, 1, 4, 4)
    y = x.clone()
    y[0] += 0.2
    assert mse(x, y).tolist() == pytest.approx([0.04, 0])
    assert psnr(x, y).tolist() == pytest.approx([20, PSNR_CAP])
    assert psnr(-torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).item() == pytest.approx(0)
