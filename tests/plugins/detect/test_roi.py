"""RoI align and RoI pool against loops over samples and pixels in float64, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from gentool_detect.roi import roi_align, roi_pool
from torch import Tensor


def bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    """The value at (y, x) of a plane (C, H, W) whose pixel (i, j) stands at (i, j); 0 more than one pixel outside."""
    _, height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(plane), dtype=plane.dtype)
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    i, j = int(y), int(x)
    i2, j2 = min(i + 1, height - 1), min(j + 1, width - 1)
    v, u = y - i, x - j
    top, low = plane[:, i, j] * (1 - u) + plane[:, i, j2] * u, plane[:, i2, j] * (1 - u) + plane[:, i2, j2] * u
    return top * (1 - v) + low * v


def align_by_loops(features, rois, output, scale, ratio, aligned) -> Tensor:
    made = torch.zeros(len(rois), features.shape[1], *output, dtype=features.dtype)
    for k, (n, *roi) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (v * scale - (0.5 if aligned else 0) for v in roi)
        w, h = max(x2 - x1, 0 if aligned else 1), max(y2 - y1, 0 if aligned else 1)
        bh, bw = h / output[0], w / output[1]
        sy, sx = (ratio, ratio) if ratio else (max(1, math.ceil(bh)), max(1, math.ceil(bw)))
        for i in range(output[0]):
            for j in range(output[1]):
                for a in range(sy):
                    for b in range(sx):
                        y, x = y1 + (i + (a + 0.5) / sy) * bh, x1 + (j + (b + 0.5) / sx) * bw
                        made[k, :, i, j] += bilinear(features[int(n)], y, x) / (sy * sx)
    return made


def pool_by_loops(features, rois, output, scale) -> Tensor:
    made = torch.zeros(len(rois), features.shape[1], *output, dtype=features.dtype)
    height, width = features.shape[2:]
    for k, (n, *roi) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (math.floor(v * scale + 0.5) for v in roi)
        h, w = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i in range(output[0]):
            for j in range(output[1]):
                ys = range(max(0, y1 + i * h // output[0]), min(height, y1 - (-(i + 1) * h // output[0])))
                xs = range(max(0, x1 + j * w // output[1]), min(width, x1 - (-(j + 1) * w // output[1])))
                if len(ys) and len(xs):
                    made[k, :, i, j] = features[int(n), :, ys.start : ys.stop, xs.start : xs.stop].amax((1, 2))
    return made


FEATURES = torch.randn(2, 3, 11, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ROIS = torch.tensor(
    [
        [0, 2, 3, 41, 37],  # inside
        [1, -20, -9, 30, 25],  # partly outside
        [1, 40, 30, 90, 80],
        [0, 0, 0, 56, 44],  # all of it
        [1, 12.3, 7.7, 12.9, 8.1],  # less than a pixel of the map
        [0, 20, 20, 20, 20],  # empty
        [1, 300, 300, 400, 400],  # far outside
        [0, 30, 30, 20, 10],  # the wrong way round
    ]
)


@pytest.mark.parametrize("ratio", [1, 2, 3, 0])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("output", [(7, 7), (2, 3)])
def test_align_is_its_definition(ratio, aligned, output):
    made = roi_align(FEATURES, ROIS, output, 0.25, ratio, aligned)
    assert made.shape == (len(ROIS), 3, *output)
    expected = align_by_loops(FEATURES, ROIS, output, 0.25, ratio, aligned)
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)  # places are float32


@pytest.mark.parametrize("output", [(7, 7), (2, 3), (1, 1)])
def test_pool_is_its_definition(output):
    made = roi_pool(FEATURES, ROIS, output, 0.25)
    assert torch.equal(made, pool_by_loops(FEATURES, ROIS, output, 0.25))


def test_align_of_a_ramp_is_the_ramp():
    """Bilinear samples of a linear function are exact: bin centres in the picture's own pixels."""
    x = (torch.arange(32) + 0.5) * 8  # where the centres of the map's pixels lie in the picture
    features = torch.stack((x[None, :].expand(32, 32), x[:, None].expand(32, 32)))[None]
    made = roi_align(features, torch.tensor([[0, 40.0, 24.0, 180.0, 200.0]]), (4, 4), 1 / 8)
    at = (torch.arange(4) + 0.5) / 4
    torch.testing.assert_close(made[0, 0, 1], 40 + 140 * at)
    torch.testing.assert_close(made[0, 1, :, 1], 24 + 176 * at)


@pytest.mark.parametrize("ratio", [2, 0])
@pytest.mark.parametrize("aligned", [True, False])
def test_align_gradients(ratio, aligned):
    features = FEATURES[:, :2, :4, :5].clone().requires_grad_()
    align = lambda f: roi_align(f, ROIS[:5], (2, 1), 0.1, ratio, aligned)  # noqa: E731
    assert torch.autograd.gradcheck(align, (features,))
    assert torch.autograd.gradgradcheck(align, (features,))


def test_pool_gradients():
    features = FEATURES[:, :, :6, :5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: roi_pool(f, ROIS, (2, 3), 0.1), (features,))


@pytest.mark.parametrize("operation", [roi_align, roi_pool])
def test_no_regions_nan_and_dtypes(operation):
    features = FEATURES.float().requires_grad_()
    none = operation(features, ROIS[:0], (2, 3))
    assert none.shape == (0, 3, 2, 3)
    none.sum().backward()
    assert features.grad is not None
    assert not features.grad.any()
    assert torch.isfinite(
        operation(features, torch.full((1, 5), math.nan).index_fill(1, torch.tensor(0), 0), (2, 2))
    ).all()
    half = operation(features.bfloat16(), ROIS, (2, 3), 0.25)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(
        half.float(), operation(features.bfloat16().float(), ROIS, (2, 3), 0.25), rtol=0.01, atol=0.01
    )
    last = operation(features.contiguous(memory_format=torch.channels_last), ROIS, (2, 3), 0.25)
    assert torch.equal(last, operation(features, ROIS, (2, 3), 0.25))
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_wrong_shapes():
    with pytest.raises(ValueError, match="regions"):
        roi_align(FEATURES, ROIS[:, 1:], (7, 7))
    with pytest.raises(ValueError, match="bin"):
        roi_pool(FEATURES, ROIS, (0, 7))
