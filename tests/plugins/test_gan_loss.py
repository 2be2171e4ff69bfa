"""The adversarial losses against their formulas in float64, the penalties against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gentool_gan import GameConfig, GANConfig, WassersteinConfig, gentool_losses
from gentool_gan.loss import Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein, one_centred_penalty, r1_penalty
from gentool_gan.model import GAN
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gentool import Batch, DataInfo, Phase, Step, UsageError
from gentool.registry import registry

LOSSES = {
    "minimax": Minimax,
    "non-saturating": NonSaturating,
    "hinge": Hinge,
    "least-squares": LeastSquares,
    "wgan-gp": Wasserstein,
}


def sigmoid(d: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-d))


def by_hand(name: str, real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """(D's loss, G's loss) as the papers write them, of logits, in float64."""
    match name:
        case "minimax":  # V(D, G) is maximised by D; its second term minimised by G
            value = np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(fake)).mean()
            return -value, np.log(1 - sigmoid(fake)).mean()
        case "non-saturating":
            value = np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(fake)).mean()
            return -value, -np.log(sigmoid(fake)).mean()
        case "hinge":
            return -np.minimum(0, -1 + real).mean() - np.minimum(0, -1 - fake).mean(), -fake.mean()
        case "least-squares":
            return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean(), 0.5 * ((fake - 1) ** 2).mean()
    return fake.mean() - real.mean(), -fake.mean()


logits = st.lists(st.floats(-12, 12), min_size=1, max_size=20)


@pytest.mark.parametrize("name", LOSSES)
@given(real=logits, fake=logits)
def test_losses_are_the_papers(name, real, fake):
    game = LOSSES[name](WassersteinConfig())
    d_loss, g_loss = by_hand(name, np.array(real), np.array(fake))
    d_real, d_fake = torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64)
    assert game.discriminator_loss(d_real, d_fake).item() == pytest.approx(d_loss, rel=1e-6, abs=1e-6)
    assert game.generator_loss(d_fake).item() == pytest.approx(g_loss, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_finite_at_extreme_logits(name):
    game = LOSSES[name](WassersteinConfig())
    d = torch.tensor([-1e4, 1e4], requires_grad=True)
    total = game.discriminator_loss(d, -d) + game.generator_loss(d)
    (slope,) = torch.autograd.grad(total, d)
    assert total.isfinite()
    assert slope.isfinite().all()


def test_minimax_saturates_where_the_non_saturating_loss_does_not():
    d = torch.full((1,), -20.0, dtype=torch.float64, requires_grad=True)
    (minimax,) = torch.autograd.grad(Minimax(GameConfig()).generator_loss(d), d)
    (other,) = torch.autograd.grad(NonSaturating(GameConfig()).generator_loss(d), d)
    assert minimax.item() == pytest.approx(-sigmoid(np.array(-20.0)), rel=1e-9)  # d/dd log(1 - s(d)) = -s(d)
    assert other.item() == pytest.approx(-1, abs=1e-8)


def test_registered_names_and_defaults():
    specs = {spec.name: spec for spec in gentool_losses()}
    assert set(specs) == set(LOSSES)
    for name, spec in specs.items():
        assert registry().load(spec.factory) is LOSSES[name]
        assert spec.monitor is None
    assert specs["minimax"].config().r1 == 0
    assert specs["minimax"].config().critic_steps == 1
    assert (specs["wgan-gp"].config().critic_steps, specs["wgan-gp"].config().penalty) == (5, 10)


# -- penalties ---------------------------------------------------------------------------------------------------------


class Critic(nn.Module):
    """Smooth in everything, so that finite differences are accurate."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.b(torch.tanh(self.a(x.flatten(1)))).squeeze(1)


def slopes_by_differences(critic: nn.Module, x: torch.Tensor, h: float = 1e-5) -> torch.Tensor:
    """The gradient of each logit by each pixel of its own picture, by central differences: (N, pixels)."""
    columns = []
    for pixel in range(x[0].numel()):
        bump = torch.zeros_like(x).flatten(1)
        bump[:, pixel] = h
        bump = bump.view_as(x)
        columns.append((critic(x + bump) - critic(x - bump)) / (2 * h))
    return torch.stack(columns, dim=1)


def penalties(critic: nn.Module) -> dict[str, tuple]:
    x, fake = torch.randn(2, 4, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    epsilon = torch.tensor([0.0, 0.25, 0.5, 0.9], dtype=torch.float64).view(4, 1, 1, 1)
    between = x * epsilon + fake * (1 - epsilon)
    return {
        "r1": (
            lambda: r1_penalty(critic, x, None)[1],
            lambda: (slopes_by_differences(critic, x) ** 2).sum(1).mean(),
        ),
        "gradient-penalty": (
            lambda: one_centred_penalty(critic, x, fake, epsilon, None),
            lambda: ((slopes_by_differences(critic, between).pow(2).sum(1).sqrt() - 1) ** 2).mean(),
        ),
    }


@pytest.mark.parametrize("name", ["r1", "gradient-penalty"])
def test_penalty_and_its_gradient_by_finite_differences(name):
    torch.manual_seed(0)
    critic = Critic().double()
    ours, by_differences = penalties(critic)[name]
    assert ours().item() == pytest.approx(by_differences().item(), rel=1e-4)
    analytic = torch.autograd.grad(ours(), list(critic.parameters()), allow_unused=True)
    for parameter, slope in zip(critic.parameters(), analytic):
        for place in range(parameter.numel()):
            flat, h = parameter.data.view(-1), 1e-4
            kept = flat[place].item()
            with torch.no_grad():
                flat[place] = kept + h
                above = by_differences().item()
                flat[place] = kept - h
                below = by_differences().item()
                flat[place] = kept
            want = (above - below) / (2 * h)
            got = 0.0 if slope is None else slope.reshape(-1)[place].item()
            assert got == pytest.approx(want, rel=1e-2, abs=1e-4)


def test_penalties_of_a_linear_critic():
    critic = nn.Linear(6, 1, bias=False).double()

    def call(x, y):
        return critic(x.flatten(1)).squeeze(1)

    with torch.no_grad():
        critic.weight.fill_(2.0)
    x = torch.zeros(3, 1, 2, 3, dtype=torch.float64)
    norm = math.sqrt(6 * 4)
    assert r1_penalty(call, x, None)[1].item() == pytest.approx(norm**2)
    epsilon = torch.zeros(3, 1, 1, 1, dtype=torch.float64)
    assert one_centred_penalty(call, x, x, epsilon, None).item() == pytest.approx((norm - 1) ** 2)


# -- the alternation ---------------------------------------------------------------------------------------------------


def tiny(conditional: bool = False, **config) -> GAN:
    torch.manual_seed(0)
    info = DataInfo(image=(1, 8, 8), classes=("a", "b", "c"))
    return GAN(GANConfig(width=4, latent=3, conditional=conditional, **config), info)


def batch_of(n: int) -> Batch:
    g = torch.Generator().manual_seed(5)
    return Batch(images=torch.rand(n, 1, 8, 8, generator=g) * 2 - 1, labels=torch.arange(n) % 3)


def train(model: GAN, game, batch: Batch, steps: int, lr: float = 1e-2) -> list[Phase]:
    """A bare loop with the trainer's rule: backward into the phase's own parameters, update, resume."""
    optimisers = {
        name: torch.optim.SGD(model.get_submodule(name).parameters(), lr) for name in ("generator", "discriminator")
    }
    seen = []
    for index in range(steps):
        for phase in game(model, batch, Step(seed=1, index=index)):
            phase.loss.backward(inputs=list(model.get_submodule(phase.name).parameters()))
            optimisers[phase.name].step()
            optimisers[phase.name].zero_grad()
            seen.append(phase)
    return seen


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_k_discriminator_steps_before_a_generator_step(k):
    phases = train(tiny(), Minimax(GameConfig(critic_steps=k)), batch_of(10), steps=2)
    assert [p.name for p in phases] == (["discriminator"] * k + ["generator"]) * 2


def test_every_discriminator_step_sees_its_own_examples_and_noise():
    model = tiny()
    seen, drawn = [], []
    model.discriminator.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))
    model.generator.register_forward_pre_hook(lambda module, args: drawn.append(args[0].detach().clone()))
    batch = batch_of(12)
    train(model, Minimax(GameConfig(critic_steps=3)), batch, steps=1)
    assert batch.images is not None
    real = torch.cat([both[:4] for both in seen[:3]])
    assert torch.equal(real, batch.images)
    assert len(drawn) == 3
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])
    assert torch.equal(seen[3], seen[2][4:])  # the generator's step looks at the last fakes again


def test_a_batch_smaller_than_k_is_refused():
    with pytest.raises(UsageError, match="batch_size"):
        next(Minimax(GameConfig(critic_steps=5))(tiny(), batch_of(4), Step(seed=0)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("conditional", [False, True])
def test_phases_update_only_their_own_submodule(name, conditional):
    model = tiny(conditional)
    game = LOSSES[name](WassersteinConfig(critic_steps=2, r1=1.0, r1_every=1))
    snapshot = lambda: {key: p.detach().clone() for key, p in model.named_parameters()}  # noqa: E731
    for phase in game(model, batch_of(6), Step(seed=1)):
        parameters = list(model.get_submodule(phase.name).parameters())
        before = snapshot()
        phase.loss.backward(inputs=parameters)
        assert all(p.grad is None for key, p in model.named_parameters() if not key.startswith(phase.name))
        torch.optim.SGD(parameters, 0.1).step()
        after = snapshot()
        changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
        assert changed == {phase.name}
        model.zero_grad()


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_is_a_function_of_its_index(name):
    def weights(index: int) -> torch.Tensor:
        model = tiny(conditional=True, norm="batch", spectral_norm=True)
        game = LOSSES[name](WassersteinConfig(critic_steps=2, r1=0.1))
        for phase in game(model, batch_of(6), Step(seed=3, index=index)):
            parameters = list(model.get_submodule(phase.name).parameters())
            phase.loss.backward(inputs=parameters)
            torch.optim.SGD(parameters, 0.1).step()
            model.zero_grad()
        return torch.cat([t.flatten().float() for t in model.state_dict().values()])

    assert torch.equal(weights(4), weights(4))
    assert not torch.equal(weights(4), weights(5))


def test_lazy_r1_has_the_same_mean_weight():
    batch = batch_of(8)

    def losses(config: GameConfig, r1: bool) -> list[float]:
        game = NonSaturating(config)
        found = []
        for index in range(4):
            phase = next(game(tiny(), batch, Step(seed=0, index=index)))
            assert ("r1" in phase.scalars) == (r1 and index % config.r1_every == 0)
            found.append(phase.loss.item())
        return found

    plain = losses(GameConfig(r1=0.0), r1=False)
    each = np.subtract(losses(GameConfig(r1=2.0, r1_every=1), r1=True), plain)
    lazy = np.subtract(losses(GameConfig(r1=2.0, r1_every=2), r1=True), plain)
    assert each[0] > 0
    assert lazy == pytest.approx([2 * each[0], 0, 2 * each[2], 0], rel=1e-4, abs=1e-6)
    phase = next(NonSaturating(GameConfig(r1=2.0))(tiny(), batch, Step(seed=0)))
    want = r1_penalty(tiny().discriminator, batch.images, None)[1].item()
    assert each[0] == pytest.approx(2.0 / 2 * want, rel=1e-4)
    assert float(phase.scalars["r1"]) == pytest.approx(want, rel=1e-5)


def test_wasserstein_adds_its_penalty():
    batch = batch_of(8)
    without = next(Wasserstein(WassersteinConfig(critic_steps=1, penalty=0.0))(tiny(), batch, Step(seed=0)))
    phase = next(Wasserstein(WassersteinConfig(critic_steps=1, penalty=10.0))(tiny(), batch, Step(seed=0)))
    penalty = float(phase.scalars["gradient-penalty"])
    assert penalty > 0
    assert phase.loss.item() == pytest.approx(without.loss.item() + 10 * penalty, rel=1e-5)


def test_generator_step_computes_no_discriminator_weight_gradients():
    """The generator's phase does no dead work: no weight-gradient of a discriminator layer is computed."""
    model = tiny()
    phases = Minimax(GameConfig())(model, batch_of(6), Step(seed=0))
    next(phases)
    phase = next(phases)
    computed = []
    for key, parameter in model.discriminator.named_parameters():
        parameter.register_hook(lambda slope, key=key: computed.append(key))
    phase.loss.backward(inputs=list(model.generator.parameters()))
    assert computed == []
    assert all(p.grad is not None for p in model.generator.parameters())


class Line(nn.Module):
    """G(z) = mu + z and D(x) = a x + b x^2 + c on one pixel: the game's solution is known."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator, self.latent, self.conditional = Shift(), Quadratic(), 1, False


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(1))

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return (self.mu + 0.5 * z).view(-1, 1, 1, 1)


class Quadratic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.w[0] * x.flatten() + self.w[1]


@pytest.mark.parametrize("name", LOSSES)
def test_every_game_moves_the_generator_onto_the_data(name):
    """x ~ N(2, 0.5), G(z) = mu + 0.5 z: at the solution mu = 2.

    R1 makes the alternation converge; with the one-centred penalty in its place it would cycle for ever
    (Mescheder et al. 2018, section 3), which is why the weight of that one is 0 here.
    """
    config = WassersteinConfig(critic_steps=1, penalty=0.0, r1=0.5, r1_every=1)
    game = LOSSES[name](config)
    model = Line()
    optimisers = {key: torch.optim.SGD(getattr(model, key).parameters(), 0.1) for key in ("generator", "discriminator")}
    late = []
    for index in range(400):
        step = Step(seed=0, index=index)
        batch = Batch(images=2 + 0.5 * step.noise(64, 1, 1, 1, purpose="data"))
        for phase in game(model, batch, step):
            phase.loss.backward(inputs=list(getattr(model, phase.name).parameters()))
            optimisers[phase.name].step()
            optimisers[phase.name].zero_grad()
        if index >= 250:
            late.append(model.generator.mu.item())
    assert np.mean(late) == pytest.approx(2.0, abs=0.2)


def test_a_conditional_gan_learns_which_class_looks_how():
    """Two classes of 8x8 pictures, a bright upper and a bright lower half: after seconds each is drawn for its label."""
    torch.manual_seed(0)
    info = DataInfo(image=(1, 8, 8), classes=("upper", "lower"))
    model = GAN(GANConfig(width=8, latent=4, conditional=True), info)
    labels = torch.arange(32) % 2
    images = torch.full((32, 1, 8, 8), -0.8)
    images[labels == 0, :, :4], images[labels == 1, :, 4:] = 0.8, 0.8
    game = NonSaturating(GameConfig(r1=0.1, r1_every=4))
    names = ("generator", "discriminator")
    optimisers = {
        name: torch.optim.Adam(model.get_submodule(name).parameters(), 3e-3, betas=(0.5, 0.99)) for name in names
    }
    for index in range(100):
        step = Step(seed=0, index=index)
        noisy = images + 0.1 * step.noise(32, 1, 8, 8, purpose="data")
        for phase in game(model, Batch(images=noisy, labels=labels), step):
            phase.loss.backward(inputs=list(model.get_submodule(phase.name).parameters()))
            optimisers[phase.name].step()
            optimisers[phase.name].zero_grad()
    drawn = model.eval().decode(Step(seed=1).noise(32, 4), labels)
    assert (drawn - images).abs().mean() < 0.35  # a grey picture is 0.8 away, the other class 0.8 on average
