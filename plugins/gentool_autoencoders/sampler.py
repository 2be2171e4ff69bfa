"""Samplers: every one decodes latent vectors z (N, latent) whose prior is a standard normal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gentool import Partial, Samples, Step, UsageError


@torch.no_grad()
def prior(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    pixels: str = "mean",
) -> Iterator[Partial | Samples]:
    """z ~ N(0, temperature^2 I), and the mean of p(x|z), or pixels drawn from it."""
    z = temperature * step.noise(n, model.latent)
    if pixels == "draw":
        if not hasattr(model, "draw"):
            raise UsageError("This model's decoder gives pictures, not a distribution: leave out sampler.pixels=draw.")
        images = model.draw(z, labels, step)
    else:
        images = model.decode(z, labels)
    yield Samples(images=images, labels=labels)


@torch.no_grad()
def traverse(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    dims: int = 10,
    columns: int = 9,
    reach: float = 2.5,
) -> Iterator[Partial | Samples]:
    """One row for each latent dimension: it goes from -reach to reach while the others stay where one draw put them.

    The `dims` dimensions whose traversal changes the picture most, in that order: the ones a VAE has pruned do nothing.
    """
    base = step.noise(1, model.latent)
    values = torch.linspace(-reach, reach, columns, device=base.device)
    y = None if labels is None else labels[:1].expand(columns)

    def row(j: int) -> Tensor:
        z = base.repeat(columns, 1)
        z[:, j] = values
        return model.decode(z, y)

    # Two passes, so that memory holds one row of each dimension shown and no more.
    change = []
    for j in range(model.latent):
        change.append(float(row(j).var(0).sum()))
        yield Partial(j + 1, model.latent)
    chosen = sorted(range(model.latent), key=lambda j: -change[j])[:dims]
    yield Samples(
        images=torch.cat([row(j) for j in chosen]),
        labels=None if labels is None else labels[:1].expand(columns * len(chosen)),
        columns=columns,
        captions=[
            f"z{j} = {float(v):+.1f}" if i == 0 else f"{float(v):+.1f}" for j in chosen for i, v in enumerate(values)
        ],
        title=f"each row: one dimension of z from {-reach:g} to {reach:g}",
    )


@torch.no_grad()
def manifold(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, side: int = 15
) -> Iterator[Partial | Samples]:
    """The plane of a two-dimensional z, at equal steps of probability: z = Phi^-1(u), u on a grid in (0, 1)^2.

    Kingma & Welling 2014, figure 4. Refused unless latent is 2.
    """
    if model.latent != 2:
        raise UsageError(
            f"The manifold of z is a picture only where z has two dimensions, and this model has {model.latent}: "
            "train one with --preset manifold (or --set model.latent=2), or look at --traverse."
        )
    u = (torch.arange(side, device=step.device) + 0.5) / side
    along = torch.special.ndtri(u)
    down, across = torch.meshgrid(along.flip(0), along, indexing="ij")
    z = torch.stack([across.flatten(), down.flatten()], 1)
    y = None if labels is None else labels[:1].expand(len(z))
    yield Samples(
        images=model.decode(z, y),
        labels=y,
        columns=side,
        title="z1 from left to right, z2 from bottom to top, at equal steps of probability",
    )


@torch.no_grad()
def classes(
    model: Any, n: int, *, step: Step, labels: Tensor | None = None, columns: int = 10
) -> Iterator[Partial | Samples]:
    """One row for each class, one z for each column: what z keeps when the label changes (Kingma et al. 2014, fig. 1)."""
    if not getattr(model, "conditional", False):
        raise UsageError("Only a class-conditional model has rows of classes: train one with --preset conditional.")
    names = model.info.classes
    z = step.noise(columns, model.latent).repeat(len(names), 1)
    y = torch.arange(len(names), device=z.device).repeat_interleave(columns)
    yield Samples(
        images=model.decode(z, y),
        labels=y,
        columns=columns,
        title="each row: a class; each column: one z for all classes",
    )
