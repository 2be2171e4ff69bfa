"""Why the generator's loss is not the one of the minimax game: its gradient vanishes where D is good."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gentool import Batch, Context, Curve, Report, Samples, Scalar, UsageError

if TYPE_CHECKING:
    from gentool_gan import VanishingGradientConfig

MINIMAX = "minimax: log(1 - D(G(z)))"
NON_SATURATING = "non-saturating: -log D(G(z))"


def start_anew(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter again: weights with variance 2 / fan-in, gains 1, biases 0."""
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5, generator=generator)
            elif name.endswith("weight"):
                parameter.fill_(1)
            else:
                parameter.zero_()


def generator_gradients(d_fake: Tensor, parameters: list[nn.Parameter]) -> tuple[float, float]:
    """Norm of the gradient by the generator's parameters of the minimax and of the non-saturating loss."""
    norms = []
    for loss in (-softplus(d_fake).mean(), softplus(-d_fake).mean()):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        norms.append(float(torch.stack([g.double().square().sum() for g in gradients if g is not None]).sum().sqrt()))
    return norms[0], norms[1]


def moments(steps: int, points: int) -> list[int]:
    """About `points` whole numbers from 0 to steps, dense at the start: where the curves are measured."""
    inner = (round((steps + 1) ** (i / max(1, points - 1))) - 1 for i in range(points))
    return sorted({0, steps, *(min(steps, i) for i in inner)})


class VanishingGradient:
    """Arjovsky and Bottou 2017, figure 2: keep G as it is, train a new D on it, and watch both generator losses.

    While D nears its optimum, the gradient of E log(1 - D(G(z))) falls towards zero, that of -E log D(G(z)) does not.
    The model is left untouched.
    """

    def __init__(self, config: VanishingGradientConfig, context: Context):
        self.config, self.context = config, context

    def update(self, batch: Batch, outputs: Samples | None) -> None:
        """Nothing: `compute` takes its data by the context."""

    def merge(self, other: Any) -> None:
        """Nothing to merge: every rank computes the same."""

    def data(self) -> Batch:
        """The examples D is trained on: the first of the training split, at most config.examples."""
        batches = list(self.context.batches("train", limit=self.config.examples))
        if not batches or batches[0].images is None:
            raise UsageError("vanishing-gradient needs pictures: choose an image data set with --data.")
        labels = [b.labels for b in batches if b.labels is not None]
        images = torch.cat([b.images for b in batches if b.images is not None])
        return Batch(images=images, labels=torch.cat(labels) if labels else None)

    def compute(self) -> Report:
        config, step = self.config, self.context.step
        model: Any = self.context.model
        conditional = getattr(model, "conditional", False)
        data = self.data()
        assert data.images is not None
        generator = copy.deepcopy(model.generator).eval().requires_grad_(True)
        discriminator = copy.deepcopy(model.discriminator).train().requires_grad_(True)
        start_anew(discriminator, step.generator("discriminator"))
        theta_g, theta_d = list(generator.parameters()), list(discriminator.parameters())
        optimiser = torch.optim.Adam(theta_d, lr=config.lr, betas=(0.5, 0.999))
        probe_z = step.noise(config.batch_size, model.latent, purpose="probe")
        at = moments(config.steps, config.points)
        probe_y = draw(data, step.integers(len(data), config.batch_size, purpose="probe"), conditional)[1]
        rows: list[dict[str, object]] = []
        norms: list[tuple[float, float]] = []
        for t in range(config.steps + 1):
            x, y = draw(data, step.at(t).integers(len(data), config.batch_size, purpose="examples"), conditional)
            with torch.enable_grad():
                if t in at:
                    discriminator.eval()
                    d_fake = discriminator(generator(probe_z, probe_y), probe_y)
                    norms.append(generator_gradients(d_fake, theta_g))
                    with torch.no_grad():
                        right = (discriminator(x, y) > 0).float().mean() / 2 + (d_fake < 0).float().mean() / 2
                    discriminator.train()
                    rows.append(
                        {
                            "D steps": t,
                            "minimax": norms[-1][0],
                            "non-saturating": norms[-1][1],
                            "mean D(G(z))": float(d_fake.detach().sigmoid().mean()),
                            "D is right": float(right),
                        }
                    )
                if t == config.steps:
                    break
                with torch.no_grad():
                    fake = generator(step.at(t).noise(config.batch_size, model.latent, purpose="fake"), y)
                loss = softplus(-discriminator(x, y)).mean() + softplus(discriminator(fake, y)).mean()
                loss.backward(inputs=theta_d)  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad()
        x_axis = [float(t) for t in at]
        (first, first_ns), (last, last_ns) = norms[0], norms[-1]
        tiny = torch.finfo(torch.float32).tiny
        return Report(
            name="vanishing-gradient",
            scalars=[
                Scalar("minimax: gradient norm at the end / at the start", last / max(first, tiny)),
                Scalar("non-saturating: gradient norm at the end / at the start", last_ns / max(first_ns, tiny)),
                Scalar("non-saturating / minimax at the end", last_ns / max(last, tiny)),
                Scalar("how often D is right at the end", float(rows[-1]["D is right"])),  # type: ignore[arg-type]
            ],
            protocol=(
                f"G fixed, a new D trained for {config.steps} steps (Adam {config.lr:g}, batch {config.batch_size}) on "
                f"{len(data)} training examples of {self.context.dataset} against fresh G(z); gradient norm over all "
                f"parameters of G, on {config.batch_size} fixed z"
            ),
            curves=[
                Curve(MINIMAX, x_axis, [max(a, tiny) for a, _ in norms]),
                Curve(NON_SATURATING, x_axis, [max(b, tiny) for _, b in norms]),
            ],
            axes=("discriminator steps with G fixed", "norm of G's gradient"),
            log_y=True,
            table=rows,
        )


def draw(data: Batch, index: Tensor, conditional: bool) -> tuple[Tensor, Tensor | None]:
    """The examples at `index`, with labels where the model takes them."""
    assert data.images is not None
    return data.images[index], data.labels[index] if conditional and data.labels is not None else None
