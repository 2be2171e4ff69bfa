"""Adversarial objectives. D gives a logit d; Goodfellow's probability is sigmoid(d), so -log D = softplus(-d).

    minimax          Goodfellow et al. 2014, equation 1
    non-saturating   the same, section 3: G maximises log D(G(z)) instead
    hinge            Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17
    least-squares    Mao et al. 2017, equation 9 (a = 0, b = c = 1)
    wgan-gp          Gulrajani et al. 2017, equation 3

Each may add R1 (Mescheder et al. 2018), a zero-centred gradient penalty on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from gentool import Batch, Like, Phase, Step, UsageError

if TYPE_CHECKING:
    from gentool_gan import GameConfig, WassersteinConfig

Critic = Callable[[Tensor, Tensor | None], Tensor]


def eager(module: Any) -> Critic:
    """The module without torch.compile, which has no second derivatives; hooks stay."""
    critic: Critic = getattr(module, "_call_impl", module)
    return critic


def gradient(critic: Critic, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """D(x, y), shape (N,), and the gradient of each logit by its own picture, (N, C*H*W), differentiable once more."""
    x = x.detach().requires_grad_()
    d = critic(x, y)
    (slope,) = torch.autograd.grad(d.sum(), x, create_graph=True)
    return d, slope.flatten(1).float()


def r1_penalty(critic: Critic, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """D(x) and E_x |grad D(x)|^2 (Mescheder et al. 2018, equation 9, without gamma / 2)."""
    d, slope = gradient(critic, x, y)
    return d, slope.square().sum(1).mean()


def one_centred_penalty(critic: Critic, x: Tensor, fake: Tensor, epsilon: Tensor, y: Tensor | None) -> Tensor:
    """E (|grad D(x^)| - 1)^2 at x^ = epsilon x + (1 - epsilon) G(z), epsilon (N, 1, 1, 1) in [0, 1)."""
    _, slope = gradient(critic, epsilon * x + (1 - epsilon) * fake, y)
    penalty: Tensor = (slope.norm(dim=1) - 1).square().mean()
    return penalty


class Game:
    """The alternation they share: k discriminator steps, then one of the generator (Goodfellow et al., algorithm 1).

    As there, every discriminator step sees examples and noise of its own: with k > 1 the batch is cut into k
    minibatches, so that train.batch_size = k m for the paper's m. Where algorithm 1 draws noise once more for the
    generator, the pictures of the last discriminator step serve again: k generator passes a step, not k + 1. Fake
    pictures of a conditional game take the labels of the real ones beside them: the label's distribution is the data's.
    """

    def __init__(self, config: GameConfig):
        self.config = config

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What D minimises, of the logits (N,) of real and fake pictures."""
        raise NotImplementedError

    def generator_loss(self, fake: Tensor) -> Tensor:
        """What G minimises, of the logits (N,) of its pictures."""
        raise NotImplementedError

    def penalty(
        self, critic: Critic, x: Tensor, fake: Tensor, y: Tensor | None, step: Step, i: int
    ) -> dict[str, tuple[float, Tensor]]:
        """Further terms of D's loss by name, each with its weight; i counts the discriminator steps of this step."""
        return {}

    def alike(self, step: Step) -> Like:
        """The steps whose discriminator updates have the same terms."""
        return Like(tuple(self.penalised(step, i) for i in range(self.config.critic_steps)))

    def penalised(self, step: Step, i: int) -> bool:
        """Whether the discriminator's update i of a step has R1's term."""
        return self.config.r1 > 0 and (step.index * self.config.critic_steps + i) % self.config.r1_every == 0

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.images is None:
            raise UsageError("An adversarial loss needs pictures: choose an image data set with --data.")
        k = self.config.critic_steps
        if len(batch) < k:
            raise UsageError(
                f"loss.critic_steps = {k} cuts the batch into {k} minibatches, but it has {len(batch)} examples: "
                f"set train.batch_size to {k} times the minibatch."
            )
        conditional = getattr(model, "conditional", False)
        parts = batch.chunk(k) if k > 1 else [batch]
        for i, part in enumerate(parts):
            assert part.images is not None
            x, y = part.images, part.labels if conditional else None
            z = step.noise(len(part), model.latent, purpose=f"latent-{i}")
            with torch.set_grad_enabled(i == len(parts) - 1):
                fake = model.generator(z, y)
            yield self.discriminator_phase(model.discriminator, x, fake.detach(), y, step, i)
        yield Phase("generator", self.generator_loss(model.discriminator(fake, y)))

    def discriminator_phase(
        self, discriminator: Any, x: Tensor, fake: Tensor, y: Tensor | None, step: Step, i: int
    ) -> Phase:
        """One update of D. R1 is lazy (Karras et al. 2020, appendix B): every few updates, as many times as heavy."""
        every = self.config.r1_every
        if self.penalised(step, i):
            real, r1 = r1_penalty(eager(discriminator), x, y)
            terms = {"r1": (every * self.config.r1 / 2, r1)}
            d_fake = discriminator(fake, y)
        else:  # one pass for both: no layer of D mixes examples
            real, d_fake = discriminator(torch.cat([x, fake]), None if y is None else torch.cat([y, y])).chunk(2)
            terms = {}
        terms |= self.penalty(eager(discriminator), x, fake, y, step, i)
        loss = self.discriminator_loss(real, d_fake) + sum(weight * term for weight, term in terms.values())
        scalars = {"real": real.detach().mean(), "fake": d_fake.detach().mean()}
        return Phase("discriminator", loss, scalars | {name: term.detach() for name, (_, term) in terms.items()})


class Minimax(Game):
    """min_G max_D V(D, G) = E log D(x) + E log(1 - D(G(z))): D minimises -V, G minimises V's second term."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        return -softplus(fake).mean()


class NonSaturating(Minimax):
    """The same D; G minimises -E log D(G(z)), which has the same fixed point and a gradient where D is sure."""

    def generator_loss(self, fake: Tensor) -> Tensor:
        return softplus(-fake).mean()


class Hinge(Game):
    """D minimises E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))), G minimises -E D(G(z))."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        return -fake.mean()


class LeastSquares(Game):
    """D minimises E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2, G minimises E (D(G(z)) - 1)^2 / 2."""

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - 1).square().mean() / 2 + fake.square().mean() / 2

    def generator_loss(self, fake: Tensor) -> Tensor:
        return (fake - 1).square().mean() / 2


class Wasserstein(Game):
    """D minimises E D(G(z)) - E D(x) + lambda E (|grad D(x^)| - 1)^2, G minimises -E D(G(z)).

    x^ is uniform on the line between a real and a fake picture; D is a critic, its logits are no probabilities.
    """

    config: WassersteinConfig

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        return -fake.mean()

    def penalty(
        self, critic: Critic, x: Tensor, fake: Tensor, y: Tensor | None, step: Step, i: int
    ) -> dict[str, tuple[float, Tensor]]:
        epsilon = step.uniform(len(x), 1, 1, 1, purpose=f"epsilon-{i}")
        return {"gradient-penalty": (self.config.penalty, one_centred_penalty(critic, x, fake, epsilon, y))}
