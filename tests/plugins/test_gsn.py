"""gsn: the step of the chain by a slow loop, damage by its share, walkback by hand, and a chain that finds its data."""

from __future__ import annotations

import pytest
import torch
from gentool_autoencoders.configs import GSNConfig, WalkbackConfig
from gentool_autoencoders.gsn import GSN, Walkback, chain, markov_chain
from torch.nn.functional import binary_cross_entropy

from gentool import Batch, DataInfo, Partial, Samples, Step, UsageError


def gsn(side=4, **config) -> GSN:
    torch.manual_seed(0)
    return GSN(GSNConfig(**{"hidden": 12, **config}), DataInfo(image=(1, side, side), levels=2))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_layers_are_updated_odd_ones_first(layers, activation):
    """Each unit by its own sum over both neighbours, in float64."""
    model = gsn(layers=layers, activation=activation).double()
    for bias in model.bias:
        torch.nn.init.normal_(bias)
    state = [torch.rand(3, 16).double(), *(torch.randn(3, 12).double() for _ in range(layers))]
    expected = [s.clone() for s in state]
    for i in [*range(1, layers + 1, 2), *range(2, layers + 1, 2)]:
        for unit in range(12):
            a = (expected[i - 1] * model.up[i - 1][unit]).sum(1) + model.bias[i][unit]
            if i < layers:
                a = a + (expected[i + 1] * model.up[i][:, unit]).sum(1)
            expected[i][:, unit] = a.sigmoid() if activation == "sigmoid" else a.tanh()
    for mine, theirs in zip(model.hidden(state[0], state[1:], None, ""), expected[1:], strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(model.log_odds(expected[1:]), expected[1] @ model.up[0] + model.bias[0])


@pytest.mark.parametrize("noise", [0.0, 0.4, 1.0])
def test_damage_is_salt_and_pepper(noise):
    x = torch.full((500, 16), 0.5)
    damaged = gsn(noise=noise).corrupt(x, Step(seed=0), "a")
    shares = [float((damaged == value).float().mean()) for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([noise / 2, 1 - noise, noise / 2], abs=0.02)


def test_hidden_noise_has_its_sigma_before_and_after():
    model = gsn(hidden_noise=0.3, layers=1, activation="tanh")
    with torch.no_grad():
        model.up[0].zero_()
        (h,) = model.hidden(torch.zeros(4000, 16), model.begin(4000), Step(seed=0), "a")
    z = 0.3 * torch.randn(200_000)
    assert float(h.std()) == pytest.approx(float((z.tanh().var() + 0.09).sqrt()), rel=0.02)


def test_walkback_is_the_mean_over_the_steps_that_the_chain_makes():
    model, step = gsn(), Step(seed=1)
    images = (torch.rand(5, 1, 4, 4) < 0.4).float() * 2 - 1
    (phase,) = Walkback(WalkbackConfig(steps=3))(model, Batch(images=images), step)
    target = (images.flatten(1) + 1) / 2
    x, h, losses = target, model.begin(5), []
    for k in range(3):
        a, h = model.transition(x, h, step, f"walkback {k}")
        losses.append(binary_cross_entropy(a.sigmoid(), target))
        x = (step.uniform(5, 16, purpose=f"draw {k}") < a.sigmoid()).float()
    torch.testing.assert_close(phase.loss, sum(losses) / 3)
    torch.testing.assert_close(phase.scalars["first"], losses[0].detach() * 16)
    assert len({loss.item() for loss in losses}) == 3
    phase.loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_chain_visits_what_it_was_trained_on_and_all_of_it():
    """Three patterns of 4x4: after training, nearly every picture of a walk is one of them, and each is visited."""
    patterns = torch.zeros(3, 1, 4, 4)
    patterns[0, 0, :, :2] = patterns[1, 0, :2] = 1
    patterns[2, 0, 1:3, 1:3] = 1
    model = gsn(hidden=40, noise=0.3, hidden_noise=0.1)
    optimiser, objective = torch.optim.Adam(model.parameters(), 1e-2), Walkback(WalkbackConfig(steps=3))
    for index in range(250):
        images = patterns[torch.arange(30) % 3] * 2 - 1
        (phase,) = objective(model, Batch(images=images), Step(seed=0, index=index))
        optimiser.zero_grad()
        phase.loss.backward()
        optimiser.step()
    *partials, samples = markov_chain(model, 300, step=Step(seed=0), steps=20)
    assert all(isinstance(p, Partial) for p in partials)
    drawn = ((samples.images + 1) / 2).round()
    same = (drawn[:, None] == patterns[None]).flatten(2).all(2)
    assert same.any(1).float().mean() > 0.9
    assert (same.float().mean(0) > 0.1).all()


def test_the_strip_is_the_walk():
    model, step = gsn(), Step(seed=2)
    *_, strip = chain(model, 1, step=step, rows=3, columns=4, start=2, every=3)
    assert isinstance(strip, Samples)
    assert strip.columns == 4
    assert strip.captions[:4] == ["3", "6", "9", "12"]
    walked = [p.images for p in markov_chain(model, 3, step=step, steps=12) if isinstance(p, Partial)]
    for column, k in enumerate((2, 5, 8, 11)):
        assert torch.equal(strip.images.view(3, 4, 1, 4, 4)[:, column], walked[k])


def test_pictures_are_needed():
    with pytest.raises(UsageError, match="--data"):
        GSN(GSNConfig(), DataInfo(image=None))
