"""The terms of the losses against formulas written out in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gentool_detect import loss
from gentool_detect.coding import encode
from gentool_detect.regions import WEIGHTS, Chosen, region_losses
from torch.nn import functional as F


def test_focal_loss_is_equation_5() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 3, 200), (rng.random(200) < 0.3).astype(float)
    p = 1 / (1 + np.exp(-x))
    p_t = np.where(y == 1, p, 1 - p)
    expected = -np.where(y == 1, 0.25, 0.75) * (1 - p_t) ** 2 * np.log(p_t)
    found = loss.focal(torch.tensor(x), torch.tensor(y), 0.25, 2.0)
    assert np.allclose(found.numpy(), expected, rtol=1e-10)


def test_focal_loss_without_focus_is_half_the_cross_entropy() -> None:
    x, y = torch.randn(50, dtype=torch.float64), torch.ones(50, dtype=torch.float64)
    assert torch.allclose(loss.focal(x, y, 0.5, 0.0), 0.5 * F.binary_cross_entropy_with_logits(x, y, reduction="none"))


@pytest.mark.parametrize("beta", [1.0, 1 / 9])
def test_smooth_l1_is_square_then_straight(beta: float) -> None:
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    assert torch.allclose(
        loss.smooth_l1(x, beta), F.smooth_l1_loss(x, torch.zeros_like(x), beta=beta, reduction="none")
    )


def test_distribution_focal_loss_is_equation_6() -> None:
    rng = np.random.default_rng(1)
    logits, y = rng.normal(size=(40, 9)), np.concatenate((rng.random(36) * 8, [0.0, 8.0, 3.0, 7.999]))
    expected = []
    for row, value in zip(logits, y, strict=True):
        s = np.exp(row) / np.exp(row).sum()
        i = min(math.floor(value), 7)
        expected.append(-((i + 1 - value) * np.log(s[i]) + (value - i) * np.log(s[i + 1])))
    found = loss.distribution_focal(torch.tensor(logits), torch.tensor(y))
    assert np.allclose(found.numpy(), expected, rtol=1e-10)


def test_the_distribution_that_has_the_least_loss_has_the_distance_as_its_mean() -> None:
    y = torch.tensor([2.3], dtype=torch.float64)
    logits = torch.full((1, 9), -40.0, dtype=torch.float64)
    logits[0, 2], logits[0, 3] = math.log(0.7), math.log(0.3)
    logits.requires_grad_()
    loss.distribution_focal(logits, y).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-10
    assert abs(float((logits.softmax(-1) @ torch.arange(9.0, dtype=torch.float64)).item()) - 2.3) < 1e-9


def test_region_losses_are_those_of_fast_rcnn() -> None:
    rng = np.random.default_rng(2)
    corner = rng.random((6, 2)) * 50
    rois = torch.tensor(np.concatenate((np.zeros((6, 1)), corner, corner + 5 + rng.random((6, 2)) * 30), 1))
    target = rois[:, 1:] + torch.tensor(rng.normal(0, 2, (6, 4)))
    labels = torch.tensor([0, 1, 3, 0, 2, 0])
    logits, t = torch.tensor(rng.normal(size=(6, 4))), torch.tensor(rng.normal(size=(6, 3, 4)))
    found = region_losses(logits, t, Chosen(rois, labels, target))
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = -np.mean([np.log(p[i, labels[i]]) for i in range(6)])
    assert np.isclose(float(found["classes"]), expected, rtol=1e-10)
    total = 0.0
    for i in range(6):
        if labels[i] > 0:
            off = (t[i, labels[i] - 1] - encode(target[i], rois[i, 1:], WEIGHTS)).numpy()
            total += np.where(abs(off) < 1, 0.5 * off**2, abs(off) - 0.5).sum()
    assert np.isclose(float(found["boxes"]), total / 6, rtol=1e-10)


def test_regions_learn_how_well_their_boxes_fit_and_their_boxes_by_giou() -> None:
    """Three regions moved by nothing, two of them positive: IoU 1/2 and GIoU 1/2, and IoU 1/7 and GIoU 1/7 - 2/9."""
    rois = torch.tensor([[0.0, 0, 0, 2, 1], [0, 0, 0, 2, 2], [0, 5, 5, 9, 9]], dtype=torch.float64)
    target = torch.tensor([[0.0, 0, 1, 1], [1, 1, 3, 3], [0, 0, 1, 1]], dtype=torch.float64)
    logits, t = torch.randn(3, 4, dtype=torch.float64), torch.zeros(3, 3, 4, dtype=torch.float64)
    chosen = Chosen(rois, torch.tensor([2, 3, 0]), target)
    found = region_losses(logits, t, chosen, box="giou", quality=True)
    p = logits.log_softmax(1)
    terms = (p[0, 2] + p[0, 0]) / 2, (p[1, 3] + 6 * p[1, 0]) / 7, p[2, 0]
    assert np.isclose(float(found["classes"]), -float(sum(terms)) / 3, rtol=1e-10)
    assert np.isclose(float(found["boxes"]), (0.5 + 1 - (1 / 7 - 2 / 9)) / 3, rtol=1e-10)
    t.requires_grad_()  # what fits is told, not made to fit, by the class term
    assert not region_losses(logits, t, chosen, quality=True)["classes"].requires_grad


def test_region_losses_of_background_alone_are_finite_and_of_nothing_too() -> None:
    logits, t = torch.randn(3, 4, requires_grad=True), torch.randn(3, 3, 4, requires_grad=True)
    rois = torch.tensor([[0.0, 0, 0, 9, 9]] * 3)
    for rows in (3, 0):
        chosen = Chosen(rois[:rows], torch.zeros(rows, dtype=torch.int64), rois[:rows, 1:])
        found = region_losses(logits[:rows], t[:rows], chosen)
        assert float(found["boxes"].detach()) == 0
        assert torch.isfinite(found["classes"])
