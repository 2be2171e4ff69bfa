"""Networks, likelihoods and models: shapes for every size, densities against torch.distributions, labels that matter."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from gentool_autoencoders import VAEConfig
from gentool_autoencoders.likelihoods import Bernoulli as BernoulliPixels
from gentool_autoencoders.likelihoods import Gaussian
from gentool_autoencoders.model import VAE
from gentool_autoencoders.networks import resolutions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import nn
from torch.distributions import Bernoulli, Normal

from gentool import Batch, DataInfo, Step, UsageError
from gentool.registry import build_model, registry

MODELS = ("ae", "vae", "vae-gan")
SMALL = {"hidden": (12,), "width": 2, "latent": 3}


def info(c: int, h: int, w: int, classes: int = 3, levels: int = 256) -> DataInfo:
    return DataInfo(name="made", image=(c, h, w), levels=levels, classes=tuple(map(str, range(classes))))


@given(
    st.sampled_from(MODELS),
    st.sampled_from(["mlp", "conv"]),
    st.sampled_from([1, 3]),
    st.sampled_from([8, 12, 20, 28, 32, 36]),
    st.sampled_from([8, 28, 32, 64]),
    st.integers(0, 2),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_shapes(name: str, architecture: str, c: int, h: int, w: int, blocks: int, conditional: bool) -> None:
    conditional = conditional and name != "ae"
    more: dict[str, Any] = {"conditional": conditional} if name != "ae" else {}
    model: Any = build_model(name, info(c, h, w), architecture=architecture, blocks=blocks, **SMALL, **more)
    x, y = torch.rand(2, c, h, w) * 2 - 1, torch.tensor([0, 2]) if conditional else None
    z, rebuilt = model.encode(x, y), model.reconstruct(x, y)
    assert z.shape == (2, 3)
    assert rebuilt.shape == x.shape
    assert rebuilt.abs().max() <= 1
    if not conditional:
        assert model.features(x).shape == (2, model.encoder.width)
    if name != "ae":
        assert model.decode(torch.randn(5, 3), None if y is None else y[:1].expand(5)).shape == (5, c, h, w)


@given(st.integers(2, 60).map(lambda i: 4 * i), st.integers(2, 60).map(lambda i: 4 * i))
def test_resolutions_halve_exactly_and_end_small(h: int, w: int) -> None:
    sizes = resolutions(h, w)
    assert sizes[0] == (h, w)
    for (h1, w1), (h2, w2) in itertools.pairwise(sizes):
        assert (h1, w1) == (2 * h2, 2 * w2)
    assert any(side % 2 or side <= 7 for side in sizes[-1])


@pytest.mark.parametrize(("size", "nearest"), [(25, 24), (30, 32), (4, 8), (1, 8)])
def test_convolutions_refuse_odd_sizes_and_say_what_to_do(size: int, nearest: int) -> None:
    with pytest.raises(UsageError, match=rf"not {size}x{size}: set data\.resize={nearest}, or model\.architecture=mlp"):
        build_model("ae", info(1, size, size), architecture="conv", **SMALL)
    build_model("ae", info(1, size, size), architecture="mlp", **SMALL)


def test_by_itself_the_likelihood_fits_the_pixels() -> None:
    for levels, expected in ((2, BernoulliPixels), (17, Gaussian), (256, Gaussian)):
        assert type(VAE(VAEConfig(), info(1, 8, 8, levels=levels)).likelihood) is expected


@pytest.mark.parametrize("name", MODELS)
def test_data_without_pictures_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="needs pictures"):
        build_model(name, DataInfo(name="words"), **SMALL)


@pytest.mark.parametrize("name", ["vae", "vae-gan"])
def test_conditional_needs_classes(name: str) -> None:
    with pytest.raises(UsageError, match="needs classes"):
        build_model(name, info(1, 8, 8, classes=0), conditional=True, **SMALL)


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("name", ["vae", "vae-gan"])
def test_labels_change_code_and_picture(name: str, architecture: str) -> None:
    torch.manual_seed(0)
    model: Any = build_model(name, info(1, 8, 8), architecture=architecture, conditional=True, **SMALL)
    x, z = torch.rand(1, 1, 8, 8).expand(3, -1, -1, -1), torch.randn(1, 3).expand(3, -1)
    y = torch.tensor([0, 1, 2])
    for made in (model.encode(x, y), model.decode(z, y)):
        assert not torch.allclose(made[0], made[1])
        assert not torch.allclose(made[1], made[2])
    with pytest.raises(UsageError, match="needs a label"):
        model.decode(z)
    with pytest.raises(UsageError, match="reads the label"):
        model.features(x)


def test_the_importance_weighted_papers_network_can_be_said() -> None:
    """Burda et al. 2016, section 5: 784-200-200-50 with tanh."""
    model: Any = build_model("vae", info(1, 28, 28), hidden=(200, 200), latent=50, activation="tanh")

    def layers(part: nn.Module) -> list[tuple[int, int]]:
        return [(m.in_features, m.out_features) for m in part.modules() if isinstance(m, nn.Linear)]

    assert layers(model.encoder) == [(784, 200), (200, 200), (200, 100)]
    assert layers(model.decoder) == [(50, 200), (200, 200), (200, 784)]
    assert sum(isinstance(m, nn.Tanh) for m in model.modules()) == 4


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_every_parameter_is_trained_by_its_phase(name: str, architecture: str) -> None:
    spec = registry().find("model", name)
    batch = Batch(images=torch.rand(4, 1, 8, 8) * 2 - 1, labels=torch.tensor([0, 1, 2, 0]))
    for loss in registry().fitting("loss", spec):
        torch.manual_seed(0)
        model: Any = build_model(name, info(1, 8, 8), architecture=architecture, blocks=1, **SMALL)
        phases = []
        for phase in registry().load(loss.factory)(loss.config())(model, batch, Step(0)):
            part = model if phase.name == "model" else model.get_submodule(phase.name)
            parameters = list(part.parameters())
            phase.loss.backward(inputs=parameters)
            assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters)
            phases.append(phase.name)
        assert tuple(phases) == spec.phases


# -- likelihoods ---------------------------------------------------------------------------------------------------------


def grid(shape: tuple[int, ...], levels: int, seed: int) -> torch.Tensor:
    """Pictures whose pixels take `levels` values in [-1, 1]."""
    made = torch.randint(levels, shape, generator=torch.Generator().manual_seed(seed))
    return made.double() / (levels - 1) * 2 - 1


@pytest.mark.parametrize("levels", [2, 17])
def test_bernoulli_is_that_of_torch_distributions(levels: int) -> None:
    x, a = grid((3, 1, 4, 4), levels, 0), torch.randn(3, 1, 4, 4, dtype=torch.float64) * 3
    p = BernoulliPixels(VAEConfig(), info(1, 4, 4, levels=levels))
    expected = Bernoulli(logits=a, validate_args=False).log_prob((x + 1) / 2).sum((1, 2, 3))
    torch.testing.assert_close(p.log_prob(a, x), expected)
    torch.testing.assert_close((p.mean(a) + 1) / 2, Bernoulli(logits=a).mean)


@pytest.mark.parametrize("variance", ["fixed", "global", "pixel"])
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_gaussian_density_and_mass(variance: Any, levels: int) -> None:
    config = VAEConfig(likelihood="gaussian", variance=variance, sigma=0.07, sigma_min=0.02)
    p = Gaussian(config, info(2, 4, 4, levels=levels)).double()
    x = grid((3, 2, 4, 4), levels, 1)
    a = torch.randn(3, p.planes, 4, 4, generator=torch.Generator().manual_seed(2)).double() * 2
    m = torch.sigmoid(a[:, :2])
    if variance == "pixel":
        shift = math.log(math.expm1(math.log(0.1 / 0.02)))  # sigma is 0.1 where the decoder says nothing
        s = torch.exp(math.log(0.02) + torch.nn.functional.softplus(a[:, 2:] + shift))
    else:
        s = torch.tensor(0.07).double()
    u = (x + 1) / 2
    torch.testing.assert_close(p.log_prob(a, x).detach(), Normal(m, s).log_prob(u).sum((1, 2, 3)), rtol=1e-5, atol=1e-5)

    s = s.expand_as(m).numpy()
    half = 0.5 / (levels - 1)
    upper = torch.where(u > 1 - half / 2, math.inf, u + half).numpy()
    lower = torch.where(u < half / 2, -math.inf, u - half).numpy()
    z1, z0 = (upper - m.numpy()) / s, (lower - m.numpy()) / s
    mass = np.where(z0 + z1 < 0, norm.cdf(z1) - norm.cdf(z0), norm.sf(z0) - norm.sf(z1))  # the side that cancels less
    log_mass = torch.from_numpy(np.log(mass)).sum((1, 2, 3))
    torch.testing.assert_close(p.log_prob_levels(a, x).detach(), log_mass, rtol=1e-5, atol=1e-4)


@given(st.floats(-6, 6), st.sampled_from([2, 5, 17, 256]), st.floats(0.011, 3))
@settings(max_examples=60, deadline=None)
def test_the_mass_over_all_levels_is_one(a: float, levels: int, sigma: float) -> None:
    p = Gaussian(VAEConfig(likelihood="gaussian", variance="fixed", sigma=sigma), info(1, 1, 1, levels=levels))
    x = (torch.arange(levels).double() / (levels - 1) * 2 - 1).view(-1, 1, 1, 1)
    total = p.log_prob_levels(torch.full_like(x, a), x).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-6)


def test_mass_is_finite_and_trainable_far_from_the_mean() -> None:
    p = Gaussian(VAEConfig(likelihood="gaussian", variance="fixed", sigma=0.01), info(1, 2, 2))
    a = torch.full((1, 1, 2, 2), -8.0, requires_grad=True)
    nats = p.log_prob_levels(a, torch.ones(1, 1, 2, 2))
    nats.sum().backward()
    assert torch.isfinite(nats).all()
    assert torch.isfinite(a.grad).all()
    assert (a.grad > 0).all()


def test_a_learned_deviation_finds_the_spread_and_keeps_its_floor() -> None:
    config = VAEConfig(likelihood="gaussian", variance="global", sigma=0.5, sigma_min=0.01)
    for spread, expected in ((0.1, 0.1), (0.0, 0.01)):
        p = Gaussian(config, info(1, 8, 8))
        x = (torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * spread) * 2  # around 0.5 in [0, 1]
        optimiser = torch.optim.Adam(p.parameters(), 0.2)
        for _ in range(80):
            loss = -p.log_prob(torch.zeros(64, 1, 8, 8), x).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        _, log_s = p.parameters_of(torch.zeros(1, 1, 8, 8))
        assert float(torch.as_tensor(log_s).detach().exp()) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_drawn_pixels_have_the_decoders_mean(likelihood: Any) -> None:
    torch.manual_seed(0)
    model = VAE(VAEConfig(likelihood=likelihood, variance="fixed", sigma=0.05, **SMALL), info(1, 8, 8))  # type: ignore[arg-type]
    z = torch.randn(1, 3).expand(4000, -1)
    drawn = model.draw(z, None, Step(0))
    assert drawn.abs().max() <= 1
    torch.testing.assert_close(drawn.mean(0), model.decode(z[:1])[0], atol=0.08, rtol=0)
    assert torch.equal(drawn, model.draw(z, None, Step(0)))
    if likelihood == "bernoulli":
        assert set(drawn.unique().tolist()) == {-1.0, 1.0}


def test_log_weights_are_log_p_x_z_over_q() -> None:
    torch.manual_seed(0)
    model = VAE(VAEConfig(likelihood="gaussian", **SMALL), info(1, 8, 8))  # type: ignore[arg-type]
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    log_w = model.log_weights(x, None, 4, Step(0))
    mu, logvar = model.posterior(x)
    for i, eps in enumerate(Step(0).noise(4, 5, 3)):
        z = mu + (logvar / 2).exp() * eps
        ratio = (Normal(0.0, 1.0).log_prob(z) - Normal(mu, (logvar / 2).exp()).log_prob(z)).sum(1)
        torch.testing.assert_close(log_w[i], model.likelihood.log_prob(model.decoder(z), x) + ratio)
