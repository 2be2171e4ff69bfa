"""Equation 3 and its gradients against hand-derived ones in float64; the two stages; the discretised logistic."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from gentool_vqvae import VQConfig
from gentool_vqvae.likelihood import discretised_logistic
from gentool_vqvae.loss import TwoStage, straight_through
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from vqvae_nets import labels, linear, pictures, tiny

from gentool import Batch, Phase, Step, UsageError


def only(objective: TwoStage, model: Any, x: Tensor, step: Step, y: Tensor | None = None) -> Phase:
    (phase,) = objective(model, Batch(images=x, labels=y), step)
    return phase


def by_hand(model: Any, x: Tensor, beta: float) -> dict[str, Tensor]:
    """dL/dV, dL/dW and dL/de of L = mean (x - V z_q)^2 + |sg[W x] - e|^2 + beta |W x - sg[e]|^2, without autograd.

    Vectors are rows: X (M, C), Z = X W^T, E the codes chosen, R = E V^T - X.
    """
    W = model.autoencoder.encoder.weight[:, :, 0, 0].detach()
    V = model.autoencoder.decoder.V.weight[:, :, 0, 0].detach()
    e = model.autoencoder.codebook.e.detach()
    X = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    Z = X @ W.T
    index = torch.cdist(Z, e).argmin(1)
    E = e[index]
    R = E @ V.T - X
    dV = 2 / R.numel() * R.T @ E
    through = 2 / R.numel() * R @ V  # dL/dz_q, handed to z_e as it is
    dZ = through + 2 * beta / Z.numel() * (Z - E)
    de = torch.zeros_like(e)
    for row, k in enumerate(index.tolist()):
        de[k] += 2 / Z.numel() * (E[row] - Z[row])
    return {"V": dV, "W": dZ.T @ X, "e": de}


@pytest.mark.parametrize("beta", [0.0, 0.25, 2.0])
def test_gradients_of_equation_3_are_those_derived_by_hand(beta: float) -> None:
    model = linear("gradient")
    x = pictures(5, (2, 3, 3)).double()
    objective = TwoStage(VQConfig(beta=beta, restart=0.0))
    only(objective, model, x, Step(seed=0, index=1)).loss.backward()
    expected = by_hand(model, x, beta)
    net = model.autoencoder
    torch.testing.assert_close(net.decoder.V.weight.grad[:, :, 0, 0], expected["V"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(net.encoder.weight.grad[:, :, 0, 0], expected["W"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(net.codebook.e.grad, expected["e"], rtol=1e-12, atol=1e-14)
    assert net.decoder.c.grad is not None  # the scales learn, and change nothing above
    assert net.decoder.c.grad != 0


def test_with_moving_averages_the_codes_have_no_gradient_and_the_encoder_the_same_one() -> None:
    model = linear("ema")
    x = pictures(5, (2, 3, 3)).double()
    expected = by_hand(model, x, 0.25)
    only(TwoStage(VQConfig(restart=0.0)), model, x, Step(seed=0, index=1)).loss.backward()
    torch.testing.assert_close(model.autoencoder.encoder.weight.grad[:, :, 0, 0], expected["W"], rtol=1e-12, atol=1e-14)
    assert "codebook.e" not in dict(model.autoencoder.named_parameters())


def test_the_loss_is_the_sum_of_its_terms() -> None:
    model = linear("gradient").eval()
    x = pictures(4, (2, 3, 3)).double()
    phase = only(TwoStage(VQConfig(beta=0.5)), model, x, Step(seed=0, index=1))
    z_e = model.vectors(x)
    index = torch.cdist(z_e, model.autoencoder.codebook.e).argmin(1)
    e = model.autoencoder.codebook.e[index]
    mu, log_s = model.autoencoder.decoder.distribution(model.as_grid(e))
    nats = -discretised_logistic(x, mu, log_s, 256).mean()
    terms = (mu - x).square().mean() + (z_e - e).square().mean() * 1.5 + nats
    torch.testing.assert_close(phase.loss, terms)
    assert phase.name == "autoencoder"
    assert math.isclose(float(phase.scalars["distortion"]), float(nats.detach()) / math.log(2), rel_tol=1e-6)


def test_the_logistic_likelihood_trains_the_decoder_by_what_is_scored() -> None:
    model = linear("ema").eval()
    x = pictures(4, (2, 3, 3)).double()
    phase = only(TwoStage(VQConfig(beta=0.0, likelihood="logistic")), model, x, Step(seed=0, index=1))
    log_p, _ = model.elbo(x, None, Step(seed=0))
    torch.testing.assert_close(phase.loss.detach(), -log_p.detach().mean() / x[0].numel(), rtol=1e-6, atol=1e-8)


def test_straight_through_has_the_codes_value_and_the_identitys_derivative() -> None:
    z_e = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    e = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    z_q = straight_through(z_e, e)
    torch.testing.assert_close(z_q, e, rtol=0, atol=1e-15)
    weight = torch.randn(7, 3, dtype=torch.float64)
    (z_q * weight).sum().backward()
    assert torch.equal(z_e.grad, weight)  # type: ignore[arg-type]
    assert e.grad is None


# -- the two stages ----------------------------------------------------------------------------------------------------


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    ("progress", "start", "name", "own"),
    [
        (0.0, 0.5, "autoencoder", 0.0),
        (0.25, 0.5, "autoencoder", 0.5),
        (0.4999, 0.5, "autoencoder", 0.9998),
        (0.5, 0.5, "prior", 0.0),
        (0.9, 0.6, "prior", 0.75),
        (0.0, 0.0, "prior", 0.0),
        (0.999, 1.0, "autoencoder", 0.999),
        (1.0, 1.0, "prior", 1.0),
    ],
)
def test_the_stage_follows_the_share_of_the_budget(progress: float, start: float, name: str, own: float) -> None:
    phase = only(TwoStage(VQConfig(prior_from=start)), tiny(), pictures(4), Step(seed=0, progress=progress))
    assert phase.name == name
    assert phase.progress == pytest.approx(own)


def test_the_prior_stage_leaves_the_autoencoder_and_its_codebook_untouched() -> None:
    model = tiny().train()
    before = snapshot(model.autoencoder)
    phase = only(TwoStage(VQConfig()), model, pictures(4), Step(seed=0, index=9, progress=0.7))
    phase.loss.backward()
    assert same(before, snapshot(model.autoencoder))
    assert all(p.grad is None for p in model.autoencoder.parameters())
    assert all(p.grad is not None for p in model.prior.parameters())
    assert not model.autoencoder.training


def test_the_autoencoder_stage_leaves_the_prior_untouched_and_moves_the_codebook() -> None:
    model = tiny().train()
    before, book = snapshot(model.prior), snapshot(model.autoencoder.codebook)
    only(TwoStage(VQConfig()), model, pictures(4), Step(seed=0)).loss.backward()
    assert same(before, snapshot(model.prior))
    assert all(p.grad is None for p in model.prior.parameters())
    assert not same(book, snapshot(model.autoencoder.codebook))
    assert all(p.grad is not None for p in model.autoencoder.parameters())


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_validation_changes_nothing(codebook: str) -> None:
    model = tiny(codebook=codebook).eval()
    before = snapshot(model)
    with torch.no_grad():
        phase = only(TwoStage(VQConfig()), model, pictures(4), Step(seed=0, index=0, stream="validation"))
    assert same(before, snapshot(model))
    assert torch.isfinite(phase.loss)


def test_the_priors_loss_is_the_exact_nll_of_the_codes() -> None:
    model = tiny(classes=("a", "b", "c"), conditional=True)
    x, y = pictures(5), labels(5, 3)
    phase = only(TwoStage(VQConfig()), model, x, Step(seed=0, progress=0.8), y)
    codes = model.encode_codes(x)
    logits = model.prior(codes[:, None], y)[:, :, :, 0].double().log_softmax(-1)  # (N, h, w, K)
    nll = -logits.gather(-1, codes[..., None]).sum((1, 2, 3)).mean().detach()
    torch.testing.assert_close(phase.scalars["nll"].double(), nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(phase.loss.detach().double(), nll / 16, rtol=1e-5, atol=1e-6)
    assert float(phase.scalars["bits/code"]) == pytest.approx(float(nll) / 16 / math.log(2), rel=1e-5)


def test_training_both_stages_lowers_the_error_and_the_codes_cost() -> None:
    model = tiny(codes=16, dim=4, hidden=16)
    x = torch.linspace(-1, 1, 12)[:, None, None, None] * torch.ones(12, 1, 8, 8)
    objective = TwoStage(VQConfig())
    optimisers = {k: torch.optim.Adam(model.get_submodule(k).parameters(), 1e-2) for k in ("autoencoder", "prior")}
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for i in range(60):
        phase = only(objective, model, x, Step(seed=0, index=i, progress=i / 60))
        phase.loss.backward(inputs=list(model.get_submodule(phase.name).parameters()))
        optimisers[phase.name].step()
        optimisers[phase.name].zero_grad()
        last[phase.name] = float(phase.scalars["mse" if phase.name == "autoencoder" else "nll"])
        first.setdefault(phase.name, last[phase.name])
    assert last["autoencoder"] < 0.5 * first["autoencoder"]
    assert last["prior"] < 0.5 * first["prior"]


def test_a_batch_without_pictures_is_refused() -> None:
    with pytest.raises(UsageError, match="--data"):
        next(TwoStage(VQConfig())(tiny(), Batch(labels=torch.zeros(2)), Step(seed=0)))


# -- the likelihood ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 256),
    st.floats(-3, 3),
    st.floats(-5, 1.5),
)
def test_the_discretised_logistic_is_a_distribution_over_its_levels(levels: int, mu: float, log_s: float) -> None:
    x = torch.linspace(-1, 1, levels, dtype=torch.float64)
    log_p = discretised_logistic(x, torch.full_like(x, mu), torch.full_like(x, log_s), levels)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)
    half, s = 1 / (levels - 1), math.exp(log_s)
    ends = torch.sigmoid((x + half - mu) / s) - torch.sigmoid((x - half - mu) / s)
    ends[0] = torch.sigmoid((x[0] + half - mu) / s)
    ends[-1] = torch.sigmoid(-(x[-1] - half - mu) / s)
    torch.testing.assert_close(log_p.exp(), ends, rtol=1e-6, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 255), st.floats(-1e3, 1e3, width=32), st.floats(-50, 50, width=32))
def test_the_discretised_logistic_is_finite_wherever_a_net_may_go(level: int, mu: float, log_s: float) -> None:
    x = torch.tensor([level * (2 / 255) - 1])
    m, s = torch.tensor([mu], requires_grad=True), torch.tensor([log_s], requires_grad=True)
    log_p = discretised_logistic(x, m, s, 256)
    log_p.sum().backward()
    assert torch.isfinite(log_p).all()
    assert log_p.item() <= 0
    assert torch.isfinite(m.grad).all()  # type: ignore[arg-type]
    assert torch.isfinite(s.grad).all()  # type: ignore[arg-type]


def test_of_two_levels_it_is_a_bernoulli_with_logit_mu_over_s() -> None:
    mu, log_s = torch.linspace(-2, 2, 9, dtype=torch.float64), torch.full((9,), -0.3, dtype=torch.float64)
    ones = discretised_logistic(torch.ones(9, dtype=torch.float64), mu, log_s, 2)
    torch.testing.assert_close(ones.exp(), torch.sigmoid(mu / math.exp(-0.3)))
