"""The networks and the model around them: translations, shapes, conditioning, the bound against numerical integrals."""

from __future__ import annotations

import math

import pytest
import torch
from gentool_diffusion import likelihood
from gentool_diffusion.configs import DenoisingConfig, DiffusionConfig, HybridConfig
from gentool_diffusion.loss import Denoising, Hybrid, moments, weights
from gentool_diffusion.model import Diffusion
from gentool_diffusion.networks import groups_of, sinusoid
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gentool import Batch, DataInfo, Step, UsageError

CLASSES = ("a", "b", "c")


def tiny(image=(1, 8, 8), **settings) -> Diffusion:
    """A small model whose layers that begin at 0 are random too, so that everything is seen in the output."""
    torch.manual_seed(0)
    config = DiffusionConfig(**{"width": 8, "blocks": 1, "timesteps": 20, **settings})
    model = Diffusion(config, DataInfo(image=image, classes=CLASSES)).eval()
    for parameter in model.parameters():
        if not parameter.abs().any():
            nn.init.normal_(parameter, std=0.05)
    return model


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 7, 7), (1, 5, 9), (1, 1, 1), (2, 11, 6), (1, 28, 28)])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_every_picture_size_keeps_its_size(image, patch):
    model = tiny(image, patch=patch, multiply=(1, 2, 2))
    x = torch.randn(2, *image)
    out, between = model.output(x, torch.tensor([0, 19]), None)
    assert out.shape == x.shape
    assert between is None


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 5, 7)])
def test_the_dense_network_and_a_learned_variance(image):
    model = tiny(image, network="dense", width=32, variance="learned")
    said = model.predict(torch.randn(3, *image), torch.tensor([0, 5, 19]))
    assert said.x0.shape == said.eps.shape == said.between.shape == (3, *image)


def test_sizes_from_a_third_of_a_million_to_thirty_million():
    count = lambda **c: sum(  # noqa: E731
        p.numel() for p in Diffusion(DiffusionConfig(**c), DataInfo(image=(3, 32, 32))).parameters()
    )
    assert 0.2e6 < count(width=16, blocks=2) < 0.4e6
    assert 25e6 < count(width=96, multiply=(1, 2, 3), blocks=3) < 40e6


def test_the_time_and_the_class_reach_the_output():
    model = tiny(conditional=True)
    x = torch.randn(2, 1, 8, 8)
    t = torch.tensor([3, 3])
    one = model.output(x, t, torch.tensor([0, 0]))[0]
    assert not torch.allclose(one, model.output(x, torch.tensor([9, 9]), torch.tensor([0, 0]))[0])
    assert not torch.allclose(one, model.output(x, t, torch.tensor([1, 1]))[0])
    assert not torch.allclose(one, model.output(x, t, None)[0])


def test_examples_do_not_see_each_other():
    model = tiny()
    x, t = torch.randn(4, 1, 8, 8), torch.tensor([0, 5, 10, 19])
    torch.testing.assert_close(
        model.output(x, t, None)[0][2:3], model.output(x[2:3], t[2:3], None)[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("predict", ["eps", "x0", "v"])
def test_a_perfect_answer_gives_back_picture_and_noise(predict):
    model = tiny(predict=predict)
    x0, eps, t = torch.rand(6, 1, 8, 8) * 2 - 1, torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 5, 10, 15, 18])
    x_t = model.noised(x0, t, eps)
    alpha, sigma = model.alpha_sigma(t)
    back, noise = model.translate(model.target(x0, t, eps), x_t, alpha, sigma)
    torch.testing.assert_close(back, x0, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(noise, eps, rtol=1e-3, atol=1e-3)


def test_a_class_is_needed_for_conditioning():
    with pytest.raises(UsageError, match="classes"):
        Diffusion(DiffusionConfig(conditional=True), DataInfo(image=(1, 8, 8)))
    with pytest.raises(UsageError, match="pictures"):
        Diffusion(DiffusionConfig(), DataInfo())


@pytest.mark.parametrize("settings", [{"multiply": ()}, {"multiply": (1, 0)}, {"network": "dense", "shrink": (-1.0,)}])
def test_sizes_that_are_none_are_refused(settings):
    with pytest.raises(UsageError, match="above 0"):
        Diffusion(DiffusionConfig(**settings), DataInfo(image=(1, 8, 8)))


def test_any_width_has_attention_heads():
    model = tiny(width=50, multiply=(1, 2), attention=(8, 4), head=32)
    assert model.output(torch.randn(2, 1, 8, 8), torch.tensor([0, 1]), None)[0].shape == (2, 1, 8, 8)


def test_sinusoids_and_groups():
    table = sinusoid(torch.arange(1000), 32)
    assert table.shape == (1000, 32)
    assert torch.unique(table, dim=0).shape[0] == 1000
    for channels in (8, 12, 48, 64, 100, 129, 384):
        assert channels % groups_of(channels) == 0
        assert groups_of(channels) <= 32


# -- the loss ----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 64), steps=st.integers(2, 1000), seed=st.integers(0, 99))
def test_moments_are_spread_over_all_of_time(n, steps, seed):
    t = moments(n, steps, Step(seed=seed))
    assert t.min() >= 0
    assert t.max() < steps
    share = torch.histc(t.double(), bins=min(n, 8), min=0, max=steps) / n
    assert share.max() <= 1 / min(n, 8) + 2 / n + 2 / steps


@pytest.mark.parametrize("weight", ["min-snr", "snr"])
def test_weights_mean_the_same_for_every_prediction(weight):
    """The squared error of x_0 counts the same, whatever the network gives (Hang et al. 2023, section 3.4)."""
    snr = torch.tensor([0.01, 0.5, 3.0, 40.0])
    of_x0 = {"eps": snr, "x0": torch.ones(4), "v": snr + 1}  # squared errors, where that of x_0 is 1
    counted = [weights(snr, predict, weight, 5.0) * error for predict, error in of_x0.items()]
    for other in counted:
        torch.testing.assert_close(other, snr if weight == "snr" else snr.clamp(max=5.0))
    torch.testing.assert_close(weights(snr, "eps", "snr", 5.0), torch.ones(4))


def test_labels_are_dropped_in_training_alone():
    model = tiny(conditional=True)
    batch = Batch(images=torch.zeros(1000, 1, 8, 8), labels=torch.arange(1000) % 3)
    loss = Denoising(DenoisingConfig(drop_labels=0.3))
    assert torch.equal(loss.labels(model, batch, Step(seed=0)), batch.labels)
    dropped = loss.labels(model.train(), batch, Step(seed=0)) == model.null
    assert 0.25 < dropped.float().mean() < 0.35


def test_the_hybrid_loss_teaches_the_variance_alone():
    model = tiny(variance="learned", predict="eps").train()
    batch = Batch(images=torch.rand(8, 1, 8, 8) * 2 - 1)
    made = {}
    for weight in (0.0, 1.0):
        (phase,) = Hybrid(HybridConfig(vlb=weight))(model, batch, Step(seed=0))
        made[weight] = torch.autograd.grad(phase.loss, model.network.head.weight)[0]
    torch.testing.assert_close(made[0.0][:1], made[1.0][:1])
    assert not torch.allclose(made[0.0][1:], made[1.0][1:])


def test_losses_and_variances_that_do_not_fit_are_refused():
    batch = Batch(images=torch.zeros(2, 1, 8, 8))
    with pytest.raises(UsageError, match="choose --loss hybrid"):
        next(Denoising(DenoisingConfig())(tiny(variance="learned"), batch, Step(seed=0)))
    with pytest.raises(UsageError, match="variance=learned"):
        next(Hybrid(HybridConfig())(tiny(), batch, Step(seed=0)))


# -- the bound ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.floats(-2, 2), st.floats(-3, 1), st.floats(-2, 2), st.floats(-3, 1))
def test_gaussian_kl_is_the_integral(mean, log_var, other, other_log_var):
    p = torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), math.exp(0.5 * log_var))
    q = torch.distributions.Normal(torch.tensor(other, dtype=torch.float64), math.exp(0.5 * other_log_var))
    x = torch.linspace(mean - 16, mean + 16, 40_001, dtype=torch.float64)
    integral = torch.trapezoid(p.log_prob(x).exp() * (p.log_prob(x) - q.log_prob(x)), x)
    closed = likelihood.gaussian_kl(
        *(torch.tensor(v, dtype=torch.float64) for v in (mean, log_var, other, other_log_var))
    )
    torch.testing.assert_close(closed, integral, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("levels", [2, 5, 256])
@pytest.mark.parametrize(("mean", "log_s"), [(0.0, -1.0), (0.7, -5.0), (-1.2, -2.0), (0.1, 1.0)])
def test_the_levels_of_a_discretised_gaussian_sum_to_one(levels, mean, log_s):
    x = torch.linspace(-1, 1, levels, dtype=torch.float64)
    log_p = likelihood.discretised_gaussian(x, torch.full_like(x, mean), torch.full_like(x, log_s), levels)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-6)
    normal = torch.distributions.Normal(mean, math.exp(log_s))
    if levels > 2:
        middle, half = x[levels // 2], 1 / (levels - 1)
        mass = normal.cdf(middle + half) - normal.cdf(middle - half)
        if mass > 1e-12:
            assert float(log_p[levels // 2].exp()) == pytest.approx(float(mass), rel=1e-6)


def test_far_tails_have_finite_probabilities_and_slopes():
    mean = torch.tensor([0.9], requires_grad=True)
    log_p = likelihood.discretised_gaussian(torch.tensor([-0.5]), mean, torch.tensor([-4.5]), 256)
    assert torch.isfinite(log_p).all()
    assert log_p < -1000
    (slope,) = torch.autograd.grad(log_p.sum(), mean)
    assert torch.isfinite(slope).all()
    assert slope < 0


@pytest.mark.parametrize("t", [1, 7, 19])
def test_terms_are_numerical_kls_of_the_two_posteriors(t):
    """L_t-1 of single pixels, by integrating both densities in float64."""
    model = tiny((1, 1, 1), schedule="linear")
    x0, x_t, hat = 0.3, -0.2, 0.6
    shaped = [torch.tensor(v).view(1, 1, 1, 1) for v in (x0, x_t, hat)]
    found = likelihood.terms(model, shaped[0], shaped[1], torch.tensor([t]), shaped[2], None)
    tables = (model.schedule.betas[t], model.schedule.alpha_bar[t], model.schedule.alpha_bar[t - 1])
    beta, bar, before = map(float, tables)
    std = math.sqrt(beta * (1 - before) / (1 - bar))
    means = [(math.sqrt(before) * beta * v + math.sqrt(1 - beta) * (1 - before) * x_t) / (1 - bar) for v in (x0, hat)]
    grid = torch.linspace(means[0] - 12 * std, means[0] + 12 * std, 100_001, dtype=torch.float64)
    p, q = (torch.distributions.Normal(mean, std).log_prob(grid) for mean in means)
    integral = float(torch.trapezoid(p.exp() * (p - q), grid))
    assert float(found) == pytest.approx(integral, rel=1e-3, abs=1e-6)


def test_the_bound_is_the_mean_of_the_chains_weights():
    """E over chains of log p(x_0..T) - log q(x_1..T|x_0) is minus the bound: two different computations of one number."""
    model = tiny((1, 2, 2), timesteps=6, network="dense", width=16)
    x0 = torch.tensor([[-1.0, -0.2], [0.4, 1.0]]).view(1, 1, 2, 2).expand(4000, 1, 2, 2)
    with torch.no_grad():
        reconstruction, kl = model.elbo(x0, None, Step(seed=0))
        weight = model.log_weights(x0, None, 1, Step(seed=1))
    bound, chain = reconstruction - kl, weight[0]
    assert weight.shape == (1, 4000)
    error = math.sqrt(float(bound.var() + chain.var()) / 4000)
    assert float(bound.mean()) == pytest.approx(float(chain.mean()), abs=4 * error)
    assert torch.logsumexp(chain.double(), 0) - math.log(4000) > bound.mean()


def test_codes_of_pictures_decode_to_them():
    model = tiny(timesteps=400, predict="v")
    images = torch.rand(3, 1, 8, 8) * 1.6 - 0.8
    with torch.no_grad():
        z = model.encode(images)
        assert z.shape == (3, model.latent)
        assert (model.decode(z) - images).abs().mean() < 0.1
