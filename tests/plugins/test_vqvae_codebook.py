"""The codebook against brute force: moving averages, first codes, restarts; and that all of it can be resumed."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from gentool_vqvae import VQConfig
from gentool_vqvae.codebook import Codebook, perplexity
from gentool_vqvae.loss import TwoStage
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from vqvae_nets import pictures, tiny

from gentool import Batch, Step


def book(codes: int = 5, dim: int = 2, *, ema: bool = True, decay: float = 0.9, seed: int = 0) -> Codebook:
    """A codebook in the middle of training: random codes with a history."""
    generator = torch.Generator().manual_seed(seed)
    made = Codebook(codes, dim, ema=ema, decay=decay)
    made.e.data.normal_(generator=generator)
    made.usage.uniform_(0.5, 3, generator=generator)
    if ema:
        made.sums.copy_(made.e * made.usage[:, None])
    made.initialised.fill_(True)
    return made


def vectors(n: int, dim: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), codes=st.integers(1, 12), dim=st.integers(1, 5), rounds=st.integers(1, 4))
def test_moving_averages_are_equations_6_to_8_written_out(n: int, codes: int, dim: int, rounds: int) -> None:
    made = book(codes, dim, decay=0.8)
    e = made.e.double().tolist()
    N = made.usage.double().tolist()
    m = made.sums.double().tolist()
    for t in range(rounds):
        z = vectors(n, dim, seed=t)
        index, _ = made(z)
        for j, row in enumerate(z.tolist()):  # the nearest code, by looking at every one
            squares = [sum((a - b) ** 2 for a, b in zip(row, e[k])) for k in range(codes)]
            assert squares[index[j]] <= min(squares) + 1e-5
        counts = made.update(z, index)
        assert counts.tolist() == [index.tolist().count(k) for k in range(codes)]
        for k in range(codes):
            chosen = [z[j].double().tolist() for j in range(n) if index[j] == k]
            N[k] = 0.8 * N[k] + 0.2 * len(chosen)
            m[k] = [0.8 * m[k][d] + 0.2 * sum(v[d] for v in chosen) for d in range(dim)]
            e[k] = [m[k][d] / N[k] for d in range(dim)]
        torch.testing.assert_close(made.usage.double(), torch.tensor(N, dtype=torch.float64), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(made.e.double(), torch.tensor(e, dtype=torch.float64), rtol=1e-4, atol=1e-5)


def test_a_code_nothing_ever_chooses_keeps_its_place_for_ever() -> None:
    made = book(3, decay=0.5)
    made.e[2] = torch.tensor([50.0, 50.0])
    made.sums[2] = made.e[2] * made.usage[2]
    for t in range(400):  # 0.5^400 is far below the smallest float32
        z = vectors(20, seed=t)
        made.update(z, made(z)[0])
    torch.testing.assert_close(made.e[2], torch.tensor([50.0, 50.0]))
    assert torch.isfinite(made.e).all()


# -- first codes -------------------------------------------------------------------------------------------------------


def quantisation_error(z: Tensor, made: Codebook) -> float:
    return float((z - made(z)[1]).square().sum(1).mean())


def test_k_means_is_better_than_a_draw_and_both_are_functions_of_data_and_step() -> None:
    z = torch.cat([vectors(60, seed=s) * 0.05 + 3 * vectors(1, seed=50 + s) for s in range(8)])
    errors = {}
    for how in ("samples", "kmeans"):
        made = [Codebook(8, 2, ema=True, decay=0.9) for _ in range(3)]
        for m, seed in zip(made, (0, 0, 1)):
            m.initialise(z, Step(seed=seed), how)
            assert bool(m.initialised)
        assert torch.equal(made[0].e, made[1].e)
        assert not torch.equal(made[0].e, made[2].e)
        errors[how] = quantisation_error(z, made[0])
        torch.testing.assert_close(made[0].sums / made[0].usage[:, None], made[0].e)
        assert made[0].usage.sum().item() == pytest.approx(len(z))
    assert errors["kmeans"] < 0.7 * errors["samples"]


def test_drawn_codes_are_different_vectors_of_the_batch() -> None:
    z = vectors(30)
    made = Codebook(20, 2, ema=True, decay=0.9)
    made.initialise(z, Step(seed=3), "samples")
    rows = {tuple(r) for r in z.tolist()}
    assert {tuple(r) for r in made.e.tolist()} <= rows
    assert len({tuple(r) for r in made.e.tolist()}) == 20


@pytest.mark.parametrize("how", ["kmeans", "samples", "uniform"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_fewer_vectors_than_codes_give_finite_codes(how: str, n: int) -> None:
    made = Codebook(16, 3, ema=True, decay=0.9)
    made.initialise(vectors(n, 3), Step(seed=0), how)
    assert torch.isfinite(made.e).all()
    if how == "samples" and n > 1:
        assert len({tuple(r) for r in made.e.tolist()}) == 16


def test_uniform_codes_stay_as_they_are() -> None:
    made = Codebook(16, 3, ema=True, decay=0.9)
    before = made.e.clone()
    made.initialise(vectors(40, 3), Step(seed=0), "uniform")
    assert torch.equal(before, made.e)
    assert before.abs().max() <= 1 / 16


# -- restarts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [True, False])
def test_restart_moves_the_dead_codes_alone_onto_vectors_of_the_batch(ema: bool) -> None:
    made = book(6, ema=ema)
    made.usage.copy_(torch.tensor([10.0, 0.0, 10.0, 0.99, 1.01, 38.0]))  # the even share is 10, a tenth of it 1
    before = made.e.detach().clone()
    z = vectors(9)
    assert made.restart(z, Step(seed=4, index=7), 0.1).item() == 2
    moved = [k for k in range(6) if not torch.equal(made.e[k], before[k])]
    assert moved == [1, 3]
    rows = {tuple(r) for r in z.tolist()}
    assert all(tuple(made.e[k].tolist()) in rows for k in moved)
    torch.testing.assert_close(made.usage, torch.tensor([10.0, 10.0, 10.0, 10.0, 1.01, 38.0]), rtol=1e-6, atol=1e-6)
    if ema:
        torch.testing.assert_close(made.sums[1], made.e[1] * 10)


def test_restarts_are_a_function_of_seed_and_step() -> None:
    def after(seed: int, index: int) -> Tensor:
        made = book(8)
        made.usage[::2] = 0
        made.restart(vectors(50), Step(seed=seed, index=index), 0.5)
        return made.e.clone()

    assert torch.equal(after(1, 5), after(1, 5))
    assert not torch.equal(after(1, 5), after(1, 6))
    assert not torch.equal(after(1, 5), after(2, 5))


def test_restarts_bring_every_code_into_use() -> None:
    """All vectors far from most codes: without restarts one code is used, with them all are."""
    usage = {}
    for below in (0.0, 0.5):
        made = book(8, decay=0.8)
        made.e.mul_(0.01)
        made.sums.mul_(0.01)
        for t in range(40):
            z = vectors(64, seed=t) + 10
            index, _ = made(z)
            made.update(z, index)
            if below:
                made.restart(z, Step(seed=0, index=t), below)
        usage[below] = len(made(vectors(256, seed=99) + 10)[0].unique())
    assert usage[0.0] < 4
    assert usage[0.5] == 8


@pytest.mark.parametrize(("counts", "expected"), [([5, 5, 5, 5], 4.0), ([9, 0, 0, 0], 1.0), ([1, 1, 2, 0], 2**1.5)])
def test_perplexity(counts: list[float], expected: float) -> None:
    assert perplexity(torch.tensor(counts, dtype=torch.float64)).item() == pytest.approx(expected)


# -- in a run ----------------------------------------------------------------------------------------------------------


def advance(model: torch.nn.Module, steps: range, total: int = 8) -> list[float]:
    """Plain gradient descent on both phases: the only state is the model's."""
    objective, losses = TwoStage(VQConfig(restart=0.9)), []
    for i in steps:
        n = 1 if i == 3 else 6  # a last partial batch: fewer vectors than codes
        batch = Batch(images=pictures(n, seed=i))
        for phase in objective(model, batch, Step(seed=0, index=i, progress=i / total)):
            parameters = list(model.get_submodule(phase.name).parameters())
            phase.loss.backward(inputs=parameters)
            with torch.no_grad():
                for p in parameters:
                    if p.grad is not None:
                        p.sub_(p.grad, alpha=0.01)
                        p.grad = None
            losses.append(float(phase.loss.detach()))
    return losses


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
@pytest.mark.parametrize("at", [1, 3, 4, 6])
def test_all_that_training_leaves_is_in_the_state_dict(codebook: str, at: int) -> None:
    whole = tiny(codes=40, codebook=codebook).train()
    losses = advance(whole, range(8))
    assert all(math.isfinite(v) for v in losses)
    first = tiny(codes=40, codebook=codebook).train()
    advance(first, range(at))
    second = tiny(codes=40, codebook=codebook).train()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert advance(second, range(at, 8)) == losses[at:]
    state = second.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in whole.state_dict().items())


def test_first_codes_are_taken_once_even_when_a_step_is_split() -> None:
    model = tiny().train()
    objective = TwoStage(VQConfig(restart=0.0))
    step = Step(seed=0, index=0)
    next(objective(model, Batch(images=pictures(4, seed=0)), step))
    codes = model.autoencoder.codebook.e.clone()
    next(objective(model, Batch(images=pictures(4, seed=1)), step.at(0, stream="train.1")))
    moved = (model.autoencoder.codebook.e - codes).norm() / codes.norm()
    assert moved < 0.2  # the averages moved it a little; a second beginning would have replaced it
