"""The vanishing-gradient diagnostic: both norms against closed forms, the fall of one, and that the model is untouched."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from gentool_gan import GANConfig, VanishingGradientConfig
from gentool_gan.evaluate import VanishingGradient, generator_gradients, moments
from gentool_gan.model import GAN
from sklearn.datasets import load_digits
from torch import nn

from gentool import Batch, Context, DataInfo, Step, UsageError


def digits() -> Batch:
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    return Batch(images=images, labels=torch.tensor(found.target))


def context(model: nn.Module, data: list[Batch]) -> Context:
    return Context(
        model=model,
        model_name="gan",
        info=model.info,
        step=Step(seed=0, stream="eval"),
        device=torch.device("cpu"),
        dataset="digits",
        split="train",
        limit=None,
        open_batches=lambda split, limit: iter(data),
        draw_samples=lambda n: iter(()),
    )


def model_of(conditional: bool = False) -> GAN:
    torch.manual_seed(0)
    info = DataInfo(name="digits", image=(1, 8, 8), classes=tuple("0123456789"))
    return GAN(GANConfig(width=8, latent=8, conditional=conditional), info)


def test_gradient_norms_are_those_of_the_two_losses():
    """G = theta (a scalar), D = identity: |d/dtheta log(1 - s(theta))| = s(theta), |d/dtheta -log s(theta)| = s(-theta)."""
    theta = nn.Parameter(torch.tensor([-6.0], dtype=torch.float64))
    minimax, other = generator_gradients(theta.expand(5), [theta])
    assert minimax == pytest.approx(torch.sigmoid(theta).item(), rel=1e-9)
    assert other == pytest.approx(torch.sigmoid(-theta).item(), rel=1e-9)


@pytest.mark.parametrize(("steps", "points"), [(1, 2), (10, 5), (400, 25), (7, 100), (100, 2)])
def test_moments_span_the_run(steps, points):
    at = moments(steps, points)
    assert at[0] == 0
    assert at[-1] == steps
    assert at == sorted(set(at))
    assert len(at) <= points + 1


@pytest.mark.parametrize(("conditional", "generator"), [(False, "trained"), (True, "early")])
def test_minimax_vanishes_and_non_saturating_does_not(conditional, generator):
    model = model_of(conditional).eval().requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    data = digits()
    config = VanishingGradientConfig(generator=generator, steps=120, points=6, examples=300, lr=1e-2)
    with torch.no_grad():  # as the host may call it
        report = VanishingGradient(config, context(model, [data])).compute()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.training
    minimax, other = report.curves
    assert list(minimax.x) == list(other.x) == [float(row["D steps"]) for row in report.table]
    assert minimax.y[-1] < 0.05 * minimax.y[0]
    assert other.y[-1] > 20 * minimax.y[-1]
    assert other.y[-1] > 0.5 * other.y[0]
    assert report.table[-1]["D is right"] > 0.95
    assert report.log_y
    assert report.to_json()["protocol"].startswith("norm of")


def test_it_is_a_function_of_the_seed():
    config = VanishingGradientConfig(steps=5, points=3)

    def curve(seed: int) -> list[float]:
        made = dataclasses.replace(context(model_of(), [digits()]), step=Step(seed=seed, stream="eval"))
        torch.rand(seed + 1)  # the default generator's state has no say in it
        return list(VanishingGradient(config, made).compute().curves[0].y)

    assert curve(0) == curve(0)
    assert curve(0) != curve(1)


def test_it_takes_no_more_than_the_examples_asked_for():
    model = model_of()
    asked = []
    data = digits()
    made = dataclasses.replace(
        context(model, []),
        open_batches=lambda split, limit: asked.append((split, limit)) or iter([data.map(lambda t: t[:limit])]),
    )
    report = VanishingGradient(VanishingGradientConfig(steps=2, points=2, examples=33), made).compute()
    assert asked == [("train", 33)]
    assert "33 training examples" in report.protocol


def test_without_pictures_it_says_so():
    with pytest.raises(UsageError, match="image data set"):
        VanishingGradient(VanishingGradientConfig(), context(model_of(), [])).compute()
