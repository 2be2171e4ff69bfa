"""The machine against exhaustive enumeration, and a run from end to end."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import torch
from gentool_rbm import Config, LossConfig
from gentool_rbm.evaluate import log_partition
from gentool_rbm.loss import ContrastiveDivergence
from gentool_rbm.model import RBM

from gentool import Batch, DataInfo, Step


def machine() -> RBM:
    torch.manual_seed(0)
    made = RBM(Config(hidden=6, chains=2000), DataInfo(image=(1, 3, 3), levels=2))
    with torch.no_grad():
        made.W.mul_(60)
        made.a.normal_()
        made.b.normal_()
    return made.double()


def every(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def test_free_energy_sums_over_the_hidden_units() -> None:
    m = machine()
    v, h = every(9), every(6)
    energy = -(v @ m.a)[:, None] - (h @ m.b)[None] - v @ m.W @ h.t()
    torch.testing.assert_close(m.free_energy(v), -torch.logsumexp(-energy, 1))


def test_annealed_importance_sampling_finds_log_z() -> None:
    m = machine()
    exact = torch.logsumexp(-m.free_energy(every(9)), 0)
    found, error = log_partition(m, Step(seed=1), runs=500, temperatures=300)
    assert abs(found - exact) < 4 * error + 0.02


def test_chains_reach_the_machines_own_distribution() -> None:
    m = machine()
    p = torch.softmax(-m.free_energy(every(9)), 0)
    v, _ = m.gibbs(m.chains.double(), Step(seed=1).generator(), 200)
    torch.testing.assert_close(v.mean(0), p @ every(9), atol=0.06, rtol=0)


def test_the_gradient_is_that_of_the_likelihood_when_the_chains_have_mixed() -> None:
    m = machine()
    data = every(9)[:40]
    exact = m.free_energy(data).mean() + torch.logsumexp(-m.free_energy(every(9)), 0)
    expected = torch.autograd.grad(exact, m.a)[0]
    images = m.images(data)
    phases = ContrastiveDivergence(LossConfig(k=200))(m, Batch(images=images), Step(seed=2))
    found = torch.autograd.grad(next(iter(phases)).loss, m.a)[0]
    torch.testing.assert_close(found, expected, atol=0.06, rtol=0)


def test_it_trains_samples_scores_and_shows(tmp_path: Path) -> None:
    def gentool(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gentool", *words],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    gentool("train", "rbm", "--preset", "debug", "--quiet")
    gentool("sample", "rbm", "-n", "4", "--set", "sweeps=20", "--out", "four.png")
    assert (tmp_path / "four.png").stat().st_size > 100
    assert "log-likelihood" in gentool("eval", "rbm", "--ais", "--set", "ais.temperatures=20")
    gentool("viz", "rbm", "--filters", "--out", "filters.png")
