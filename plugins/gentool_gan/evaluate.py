"""Why the generator's loss is not the one of the minimax game: its gradient vanishes where D is good."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gentool import Batch, Context, Curve, Report, Samples, Scalar, Step, UsageError
from gentool.randomness import derive_seed, seed_default_generator

if TYPE_CHECKING:
    from gentool_gan import VanishingGradientConfig

MINIMAX = "minimax: log(1 - D(G(z)))"
NON_SATURATING = "non-saturating: -log D(G(z))"


def fresh(model: Any, step: Step) -> Any:
    """Another model of the same config, with weights as at the start of training, on the same device."""
    seed_default_generator(derive_seed(step.seed, step.stream, "weights"), torch.device("cpu"))
    return type(model)(model.config, model.info).to(step.device)


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
    """Arjovsky and Bottou 2017, figure 2: keep G as it is, train a new D against it, and watch both generator losses.

    While D nears its optimum, the gradient of E log(1 - D(G(z))) falls towards zero, that of -E log D(G(z)) does not.
    By default G is as at the start of training, where "D can reject samples with high confidence" (Goodfellow et al.
    2014, section 3). A trained G takes D longer to see through: more steps, or fewer examples, which D then learns by
    heart. The model is left untouched.
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
        """Both gradients at about config.points moments of D's training, as curves and as a table."""
        data, model = self.data(), self.context.model
        new: Any = fresh(model, self.context.step)
        old: Any = copy.deepcopy(model).requires_grad_(True)
        generator = (new if self.config.generator == "early" else old).generator.eval()
        with torch.enable_grad():
            return self.report(self.watch(generator, new.discriminator.train(), data), len(data))

    def watch(self, generator: Any, discriminator: Any, data: Batch) -> list[dict[str, float]]:
        """Train D on the examples and as many pictures of the fixed G; one row for each moment measured."""
        config, step, size = self.config, self.context.step, self.config.batch_size
        assert data.images is not None
        model: Any = self.context.model
        images, labels = data.images, data.labels if getattr(model, "conditional", False) else None
        z = step.noise(len(data), model.latent, purpose="latent")

        def draw(index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            return images[index], z[index], None if labels is None else labels[index]

        theta_g, theta_d = list(generator.parameters()), list(discriminator.parameters())
        optimiser = torch.optim.Adam(theta_d, lr=config.lr, betas=(0.5, 0.999))
        probe_x, probe_z, probe_y = draw(step.integers(len(data), size, purpose="probe"))
        at = moments(config.steps, config.points)
        rows = []
        for t in range(config.steps + 1):
            if t in at:
                discriminator.eval()
                d_fake = discriminator(generator(probe_z, probe_y), probe_y)
                minimax, non_saturating = generator_gradients(d_fake, theta_g)
                with torch.no_grad():
                    right = (discriminator(probe_x, probe_y) > 0).float().mean() + (d_fake < 0).float().mean()
                discriminator.train()
                rows.append(
                    {
                        "D steps": t,
                        "minimax": minimax,
                        "non-saturating": non_saturating,
                        "mean D(G(z))": float(d_fake.detach().sigmoid().mean()),
                        "D is right": float(right) / 2,
                    }
                )
            if t < config.steps:
                x, some_z, y = draw(step.at(t).integers(len(data), size, purpose="examples"))
                with torch.no_grad():
                    fake = generator(some_z, y)
                loss = softplus(-discriminator(x, y)).mean() + softplus(discriminator(fake, y)).mean()
                loss.backward(inputs=theta_d)  # type: ignore[no-untyped-call]
                optimiser.step()
                optimiser.zero_grad()
        return rows

    def report(self, rows: list[dict[str, float]], examples: int) -> Report:
        """The rows as a log plot of both norms over D's steps."""
        config = self.config
        tiny = torch.finfo(torch.float32).tiny  # a logarithm has to be taken of it
        minimax, non_saturating = ([max(row[key], tiny) for row in rows] for key in ("minimax", "non-saturating"))
        steps = [row["D steps"] for row in rows]
        return Report(
            name="vanishing-gradient",
            scalars=[
                Scalar("minimax, end / start", minimax[-1] / minimax[0]),
                Scalar("non-saturating, end / start", non_saturating[-1] / non_saturating[0]),
                Scalar("non-saturating / minimax, end", non_saturating[-1] / minimax[-1]),
                Scalar("share D gets right, end", rows[-1]["D is right"]),
            ],
            protocol=(
                f"norm of the gradient by all parameters of G ({config.generator}) on {config.batch_size} fixed z, while "
                f"a new D is trained on it for {config.steps} steps (Adam {config.lr:g}, batch {config.batch_size}) with "
                f"{examples} training examples of {self.context.dataset} and as many z"
            ),
            curves=[Curve(MINIMAX, steps, minimax), Curve(NON_SATURATING, steps, non_saturating)],
            axes=("discriminator steps with G fixed", "norm of G's gradient"),
            log_y=True,
            table=[dict(row) for row in rows],
        )
