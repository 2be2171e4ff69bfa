"""The forward process: tables, posteriors in closed form, paths."""

from __future__ import annotations

import math

import pytest
import torch
from gentool_diffusion.schedule import CLEAN, Schedule, posterior
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("linear", "cosine")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [2, 10, 1000])
def test_the_tables_hold_together(name, steps):
    s = Schedule(name, steps)
    assert s.alpha_bar.dtype == torch.float64
    assert bool((s.betas > 0).all() and (s.betas <= 0.999).all())
    torch.testing.assert_close(s.alpha**2 + s.sigma**2, torch.ones(steps, dtype=torch.float64))
    assert bool((s.lamda.diff() < 0).all())
    if steps == 1000:
        assert s.alpha_bar[-1] < 1e-4
        assert s.alpha_bar[0] > 0.99


def test_the_papers_numbers():
    linear, cosine = Schedule("linear", 1000), Schedule("cosine", 1000)
    assert (linear.betas[0], linear.betas[-1]) == (pytest.approx(1e-4), pytest.approx(0.02))
    f = lambda t: math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    assert float(cosine.alpha_bar[499]) == pytest.approx(f(500) / f(0))


@settings(max_examples=50, deadline=None)
@given(name=st.sampled_from(NAMES), t=st.integers(1, 49), gap=st.integers(1, 49), seed=st.integers(0, 999))
def test_the_posterior_is_bayes_rule(name, t, gap, seed):
    """q(x_s|x_t, x_0) in closed form against the product of two Gaussian densities, on a fine grid in float64."""
    s = Schedule(name, 50)
    late, early = s.node(t), s.node(max(0, t - gap))
    x0, x_t = (torch.randn(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).tolist()
    q = posterior(early, late)
    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    ratio = late.alpha / early.alpha
    log = -((x_t - ratio * grid) ** 2) / (2 * q.beta) - (grid - early.alpha * x0) ** 2 / (2 * early.sigma**2)
    p = log.softmax(0)
    mean = float((p * grid).sum())
    variance = float((p * (grid - mean) ** 2).sum())
    assert mean == pytest.approx(q.of_x0 * x0 + q.of_xt * x_t, abs=1e-4)
    assert variance == pytest.approx(q.variance, rel=2e-2, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_single_steps_are_the_papers_posterior(name):
    """Equation 7 of Ho et al. 2020, by its own formula."""
    s = Schedule(name, 1000)
    for t in (1, 2, 500, 999):
        q = posterior(s.node(t - 1), s.node(t))
        beta, bar, before = float(s.betas[t]), float(s.alpha_bar[t]), float(s.alpha_bar[t - 1])
        assert q.beta == pytest.approx(beta)
        assert q.of_x0 == pytest.approx(math.sqrt(before) * beta / (1 - bar))
        assert q.of_xt == pytest.approx(math.sqrt(1 - beta) * (1 - before) / (1 - bar))
        assert q.variance == pytest.approx((1 - before) / (1 - bar) * beta)


@pytest.mark.parametrize("name", NAMES)
def test_moments_between_steps(name):
    s = Schedule(name, 100)
    assert s.node(-1) == CLEAN
    for t in (0.0, 3.25, 50.5, 98.9, 99.0):
        node = s.node(t)
        assert node.alpha**2 + node.sigma**2 == pytest.approx(1)
        assert s.time_of(node.lamda) == pytest.approx(t, abs=1e-6)


@pytest.mark.parametrize("spacing", ["linear", "quadratic", "logsnr"])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 100, 250])
def test_paths_fall_from_the_noisiest_to_the_picture(spacing, steps):
    s = Schedule("cosine", 100)
    path = s.path(steps, spacing)
    assert path[0].t == 99
    assert path[-1] == CLEAN
    lamdas = [node.lamda for node in path]
    assert lamdas == sorted(set(lamdas))
    assert len(path) <= min(steps, 100) + 1
    if spacing == "linear":
        assert len(path) == min(steps, 100) + 1
    if steps >= 100 and spacing == "linear":
        assert [node.t for node in path] == list(range(99, -2, -1))


@pytest.mark.parametrize("steps", [2, 10, 40])
def test_karras_moments(steps):
    """Equation 5 of Karras et al. 2022, from 80 to the least noise there is."""
    s = Schedule("cosine", 1000)
    sigmas = [node.sigma / node.alpha for node in s.path(steps, "karras")]
    least = float(s.sigma[0] / s.alpha[0])
    expected = [(80 ** (1 / 7) + i / (steps - 1) * (least ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(steps)]
    assert sigmas == pytest.approx([*expected, 0.0], rel=1e-4)


def test_a_path_may_begin_later():
    path = Schedule("cosine", 100).path(5, "linear", start=49)
    assert [node.t for node in path] == [49, 39, 29, 19, 9, -1]
