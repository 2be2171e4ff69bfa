"""The solvers on a mixture of Gaussians: their orders, and what they agree upon."""

from __future__ import annotations

import math

import pytest
import torch
from diffusion_mixture import Mixture, even_path
from gentool_diffusion import solvers
from gentool_diffusion.schedule import CLEAN, Schedule

ORACLE = Mixture()


def start(n: int = 64) -> torch.Tensor:
    return torch.randn(n, 2, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def last(steps: solvers.Steps) -> torch.Tensor:
    *_, (x, _) = steps
    return x


def observed_order(solver, coarse: int) -> float:
    """log2 of how much the error shrinks when the steps are doubled, against Heun with very many."""
    truth = last(solvers.heun(ORACLE.denoise, start(), even_path(4096)))
    errors = [float((last(solver(ORACLE.denoise, start(), even_path(n))) - truth).norm()) for n in (coarse, 2 * coarse)]
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize(
    ("solver", "coarse", "low", "high"),
    [(solvers.ddim, 128, 0.93, 1.07), (solvers.dpm_solver, 128, 1.85, 2.15), (solvers.heun, 128, 1.85, 2.15)],
    ids=["ddim 1.0", "dpm-solver++(2m) 1.9", "heun 2.0"],
)
def test_order(solver, coarse, low, high):
    assert low < observed_order(solver, coarse) < high


def test_second_order_solvers_are_nearer_with_equal_calls():
    truth = last(solvers.heun(ORACLE.denoise, start(), even_path(2048)))
    calls = {"ddim": (solvers.ddim, 20), "dpm": (solvers.dpm_solver, 20), "heun": (solvers.heun, 10)}
    error = {k: float((last(f(ORACLE.denoise, start(), even_path(n))) - truth).norm()) for k, (f, n) in calls.items()}
    assert error["dpm"] < error["ddim"] / 3
    assert error["heun"] < error["ddim"]


def test_solvers_reach_the_mixture():
    """Weights, means and spread of what DPM-Solver++ draws in 40 steps, the end included."""
    n = 4000
    x = last(solvers.dpm_solver(ORACLE.denoise, start(n), even_path(40, -6.0, 4.0, end=True))).flatten(1)
    nearest = torch.cdist(x, ORACLE.means).argmin(1)
    for k in range(3):
        mine = x[nearest == k]
        assert abs(len(mine) / n - float(ORACLE.weights[k])) < 0.05
        assert (mine.mean(0) - ORACLE.means[k]).norm() < 0.1


@pytest.mark.parametrize(
    ("solver", "spacing"), [(solvers.ddim, "linear"), (solvers.dpm_solver, "linear"), (solvers.heun, "karras")]
)
def test_from_the_noisy_end_of_a_real_schedule(solver, spacing):
    """sigma / alpha begins at some 20,000 in the cosine schedule; the samples stay on the mixture all the same."""
    x = last(solver(ORACLE.denoise, start(500), Schedule("cosine", 1000).path(20, spacing))).flatten(1)
    assert torch.cdist(x, ORACLE.means).amin(1).max() < 2
    assert (x.mean(0) - (ORACLE.weights[:, None] * ORACLE.means).sum(0)).norm() < 0.15


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_ancestral_chain_reaches_the_mixture(variance):
    schedule, n = Schedule("cosine", 200), 4000
    generator = torch.Generator().manual_seed(1)
    noise = lambda i: torch.randn(n, 2, 1, 1, dtype=torch.float64, generator=generator)  # noqa: E731
    steps = solvers.ancestral(
        lambda x, t: (ORACLE.denoise(x, t), None),
        start(n),
        schedule.path(200, "linear"),
        noise=noise,
        variance=variance,
    )
    x = last(steps).flatten(1)
    mean = (ORACLE.weights[:, None] * ORACLE.means).sum(0)
    assert (x.mean(0) - mean).norm() < 0.06
    second = (ORACLE.weights[:, None] * (ORACLE.means.square() + ORACLE.deviations[:, None] ** 2)).sum(0)
    torch.testing.assert_close(x.square().mean(0), second, rtol=0.1, atol=0.02)


def test_ddim_at_eta_1_is_the_ancestral_chain_with_the_posteriors_variance():
    path = Schedule("linear", 50).path(10, "linear")
    made = []
    for kind in ("ddim", "ancestral"):
        generator = torch.Generator().manual_seed(1)
        noise = lambda i, g=generator: torch.randn(64, 2, 1, 1, dtype=torch.float64, generator=g)  # noqa: E731
        if kind == "ddim":
            steps = solvers.ddim(ORACLE.denoise, start(), path, eta=1.0, noise=noise)
        else:
            steps = solvers.ancestral(lambda x, t: (ORACLE.denoise(x, t), None), start(), path, noise=noise)
        made.append(last(steps))
    torch.testing.assert_close(*made)


def test_the_first_step_of_every_solver_is_ddims():
    path = [*Schedule("cosine", 100).path(1, "linear")]
    assert path[-1] == CLEAN
    firsts = [last(f(ORACLE.denoise, start(), path)) for f in (solvers.ddim, solvers.dpm_solver, solvers.heun)]
    for other in firsts[1:]:
        torch.testing.assert_close(firsts[0], other)


def test_a_learned_variance_lies_between_the_bounds():
    """At 0 and 1 the chain is that of the posterior's variance and of beta."""
    path = Schedule("cosine", 40).path(40, "linear")

    def chain(between: float | None, variance: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)

        def say(x, t):
            return ORACLE.denoise(x, t), None if between is None else torch.full_like(x, between)

        noise = lambda i: torch.randn(64, 2, 1, 1, dtype=torch.float64, generator=generator)  # noqa: E731
        return last(solvers.ancestral(say, start(), path, noise=noise, variance=variance))

    torch.testing.assert_close(chain(0.0, "large"), chain(None, "small"))
    torch.testing.assert_close(chain(1.0, "small"), chain(None, "large"))
