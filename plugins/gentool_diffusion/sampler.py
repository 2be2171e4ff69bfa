"""How pictures are drawn: the solvers of `solvers.py` around a model, with guidance, a picture to start from, a mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gentool import Batch, Partial, Samples, Step, UsageError
from gentool.training.devices import autocast, measure

from . import solvers
from .masks import mask_of
from .model import Prediction
from .schedule import Node

SHOWN = 16  # pictures in a Partial
GLIMPSES = 25  # Partials with pictures, at most

Solve = Callable[["Denoiser", Tensor, Sequence[Node]], solvers.Steps]


class Denoiser:
    """A model asked for x_0 at a moment: with classifier-free guidance, clipped, in the precision that is asked for.

    known: (x_0, mask) of a picture that is kept where the mask is 1. There the estimate is the picture itself, so every
    solver carries the picture with its own noise: what Lugmayr et al. 2022 (RePaint, equation 8) paste in at each step.
    """

    def __init__(
        self,
        model: Any,
        labels: Tensor | None,
        *,
        guidance: float = 1.0,
        clip: bool = True,
        precision: str = "fp32",
        known: tuple[Tensor, Tensor] | None = None,
    ):
        if guidance != 1 and not model.conditional:
            raise UsageError(
                f"guidance = {guidance:g} needs a model that knows classes: train one with --preset conditional, or leave 1."
            )
        self.model, self.labels, self.guidance, self.clip, self.known = model, labels, guidance, clip, known
        self.device = next(model.parameters()).device
        self.precision = measure(self.device).precision.value if precision == "auto" else precision

    def say(self, x: Tensor, node: Node) -> Prediction:
        """Guidance: the network's answer given the class, pushed away from its answer without (Ho & Salimans 2022,
        equation 6 with 1 + w = guidance)."""
        model, scale = self.model, self.guidance
        t = torch.full((len(x),), node.t, device=x.device)
        with autocast(self.device, self.precision):
            if not model.conditional or scale in (0, 1):
                out, between = model.output(x, t, self.labels if scale else None)
            else:
                assert self.labels is not None
                labels = torch.cat([self.labels, torch.full_like(self.labels, model.null)])
                both, variance = model.output(torch.cat([x, x]), torch.cat([t, t]), labels)
                given, without = both.chunk(2)
                out = without + scale * (given - without)
                between = None if variance is None else variance[: len(x)]
        x0, eps = model.translate(out, x, node.alpha, node.sigma)
        if self.clip and model.bounded:
            x0 = x0.clamp(-1, 1)
        if self.known is not None:
            picture, mask = self.known
            x0 = torch.where(mask > 0, picture, x0)
        return Prediction(x0, eps, between)

    def __call__(self, x: Tensor, node: Node) -> Tensor:
        return self.say(x, node).x0

    def with_variance(self, x: Tensor, node: Node) -> tuple[Tensor, Tensor | None]:
        said = self.say(x, node)
        return said.x0, said.between


def run(
    model: Any,
    n: int,
    solve: Solve,
    *,
    step: Step,
    labels: Tensor | None,
    given: Batch | None,
    steps: int,
    spacing: str,
    guidance: float,
    clip: bool,
    precision: str,
    strength: float,
    mask: str,
) -> Iterator[Partial | Samples]:
    """From noise, or from a noised picture, through a solver. Partials show the estimate of x_0.

    With pictures and a mask, what the mask keeps stays as it is and the rest is painted (`strength` then has no
    meaning: all of it is new). With pictures alone, the path begins where so much noise has been added as `strength`
    says (Meng et al. 2022, SDEdit).
    """
    if mask and (given is None or given.images is None):
        raise UsageError("A mask says which part of a picture is painted: name the picture with --image FILE.")
    steps = steps or model.schedule.steps
    noise = step.noise(n, *model.shape, purpose="x_T")
    known, start, x = None, None, noise
    if given is not None and given.images is not None:
        picture = model.prepared(given.images, step)
        if mask:
            known = (picture, mask_of(mask, picture, model))
            path = model.schedule.path(steps, spacing)
        else:
            start = round(strength * model.schedule.steps) - 1
            path = model.schedule.path(max(1, round(steps * strength)), spacing, start=max(0, start))
        x = path[0].alpha * picture + path[0].sigma * noise if start is not None else noise
    else:
        path = model.schedule.path(steps, spacing)
    denoiser = Denoiser(model, labels, guidance=guidance, clip=clip, precision=precision, known=known)
    every = max(1, (len(path) - 1) // GLIMPSES)
    for done, (after, x0) in enumerate(solve(denoiser, x, path), 1):
        x = after
        glimpse = model.pictures(x0[:SHOWN]) if done % every == 0 else None
        yield Partial(done, len(path) - 1, images=glimpse)
    if known is not None:  # Heun gives it back but for rounding
        x = torch.where(known[1] > 0, known[0], x)
    yield Samples(images=model.pictures(x), labels=labels)


def ddpm(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, given: Batch | None = None, **options: Any
) -> Iterator[Partial | Samples]:
    """The ancestral sampler, all T steps or a subset (Ho et al. 2020, algorithm 2)."""

    def solve(denoiser: Denoiser, x: Tensor, path: Sequence[Node]) -> solvers.Steps:
        return solvers.ancestral(denoiser.with_variance, x, path, noise=fresh(step, x), variance=model.config.variance)

    yield from run(model, n, solve, step=step, labels=labels, given=given, spacing="linear", **options)


def ddim(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    given: Batch | None = None,
    eta: float = 0.0,
    **options: Any,
) -> Iterator[Partial | Samples]:
    """Deterministic, or with fresh noise by eta (Song, Meng & Ermon 2021)."""

    def solve(denoiser: Denoiser, x: Tensor, path: Sequence[Node]) -> solvers.Steps:
        return solvers.ddim(denoiser, x, path, eta=eta, noise=fresh(step, x))

    yield from run(model, n, solve, step=step, labels=labels, given=given, **options)


def heun(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, given: Batch | None = None, **options: Any
) -> Iterator[Partial | Samples]:
    """Heun's method on the probability-flow ODE (Karras et al. 2022, algorithm 1), at their moments (equation 5)."""
    yield from run(model, n, solvers.heun, step=step, labels=labels, given=given, spacing="karras", **options)


def dpm_solver(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, given: Batch | None = None, **options: Any
) -> Iterator[Partial | Samples]:
    """DPM-Solver++(2M) (Lu et al. 2022)."""
    yield from run(model, n, solvers.dpm_solver, step=step, labels=labels, given=given, **options)


def fresh(step: Step, like: Tensor) -> solvers.Noise:
    """Standard normal noise of the shape of `like` for each step of a solver."""
    return lambda i: step.noise(*like.shape, purpose=f"fresh-{i}")
