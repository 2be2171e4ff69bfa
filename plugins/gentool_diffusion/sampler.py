"""How pictures are drawn: the solvers of `solvers.py` around a model, with guidance, a picture to start from, a mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gentool import Partial, Samples, Step, UsageError
from gentool.training.devices import autocast, measure

from . import solvers
from .model import Prediction
from .schedule import Node

SHOWN = 16  # pictures in a Partial
GLIMPSES = 25  # Partials with pictures


class Denoiser:
    """A model asked for x_0 at a moment: with classifier-free guidance, clipped, in the precision that is asked for."""

    def __init__(self, model: Any, labels: Tensor | None, guidance: float, clip: bool, precision: str):
        if guidance != 1 and not model.conditional:
            raise UsageError(
                f"guidance = {guidance:g} needs a model that knows classes: train one with --preset conditional, or leave 1."
            )
        self.model, self.labels, self.guidance, self.clip = model, labels, guidance, clip
        device = next(model.parameters()).device
        self.precision = measure(device).precision.value if precision == "auto" else precision
        self.device = device

    def say(self, x: Tensor, node: Node) -> Prediction:
        """Guidance: the network's answer given the class, pushed away from its answer without (Ho & Salimans 2022,
        equation 6 with 1 + w = guidance)."""
        model, n = self.model, len(x)
        labels, scale = self.labels, self.guidance
        both = model.conditional and scale not in (0, 1)
        if model.conditional and scale == 0:
            labels = None
        if both:
            assert labels is not None
            x_in, given = torch.cat([x, x]), torch.cat([labels, torch.full_like(labels, model.null)])
        else:
            x_in, given = x, labels
        t = torch.full((len(x_in),), node.t, device=x.device)
        with autocast(self.device, self.precision):
            out, between = model.output(x_in, t, given)
        if both:
            with_class, without = out[:n], out[n:]
            out = without + scale * (with_class - without)
            between = None if between is None else between[:n]
        x0, eps = model.translate(out, x, node.alpha, node.sigma)
        if self.clip and model.bounded:
            x0 = x0.clamp(-1, 1)
        return Prediction(x0, eps, between)

    def __call__(self, x: Tensor, node: Node) -> Tensor:
        return self.say(x, node).x0

    def with_variance(self, x: Tensor, node: Node) -> tuple[Tensor, Tensor | None]:
        said = self.say(x, node)
        return said.x0, said.between


Solve = Callable[[Denoiser, Tensor, Sequence[Node]], solvers.Steps]


def run(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None,
    solve: Solve,
    steps: int,
    spacing: str,
    guidance: float,
    clip: bool,
    precision: str,
    strength: float,
) -> Iterator[Partial | Samples]:
    """Noise, or a noised picture, through a solver. Partials show the estimate of x_0."""
    denoiser = Denoiser(model, labels, guidance, clip, precision)
    path = model.schedule.path(steps or model.schedule.steps, spacing)
    x = step.noise(n, *model.shape, purpose="x_T")
    every = max(1, len(path) // GLIMPSES)
    for done, (x, x0) in enumerate(solve(denoiser, x, path), 1):
        glimpse = model.pictures(x0[:SHOWN]) if done % every == 0 else None
        yield Partial(done, len(path) - 1, images=glimpse)
    yield Samples(images=model.pictures(x), labels=labels)


def ddpm(model: Any, n: int, *, step: Step, labels: Tensor | None = None, **options: Any) -> Iterator[Partial | Samples]:
    """The ancestral sampler, all T steps or a subset (Ho et al. 2020, algorithm 2)."""

    def solve(denoiser: Denoiser, x: Tensor, path: Sequence[Node]) -> solvers.Steps:
        return solvers.ancestral(
            denoiser.with_variance, x, path, noise=fresh(step, x), variance=model.config.variance
        )

    yield from run(model, n, step=step, labels=labels, solve=solve, spacing="linear", **options)


def ddim(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, eta: float = 0.0, **options: Any
) -> Iterator[Partial | Samples]:
    """Deterministic, or with fresh noise by eta (Song, Meng & Ermon 2021)."""

    def solve(denoiser: Denoiser, x: Tensor, path: Sequence[Node]) -> solvers.Steps:
        return solvers.ddim(denoiser, x, path, eta=eta, noise=fresh(step, x))

    yield from run(model, n, step=step, labels=labels, solve=solve, **options)


def heun(model: Any, n: int, *, step: Step, labels: Tensor | None = None, **options: Any) -> Iterator[Partial | Samples]:
    """Heun's method on the probability-flow ODE (Karras et al. 2022, algorithm 1)."""
    yield from run(model, n, step=step, labels=labels, solve=solvers.heun, **options)


def dpm_solver(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, **options: Any
) -> Iterator[Partial | Samples]:
    """DPM-Solver++(2M) (Lu et al. 2022)."""
    yield from run(model, n, step=step, labels=labels, solve=solvers.dpm_solver, **options)


def fresh(step: Step, like: Tensor) -> solvers.Noise:
    """Standard normal noise of the shape of `like` for each step of a solver."""
    return lambda i: step.noise(*like.shape, purpose=f"fresh-{i}")
