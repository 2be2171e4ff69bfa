"""Views of a model over real pictures: `gentool viz vae --interpolate`, `gentool viz vae --reconstruct`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Context, Picture, Report, Samples, UsageError
from gentool.latents import slerp

if TYPE_CHECKING:
    from . import InterpolateConfig, ReconstructConfig


def first_pictures(context: Context, n: int) -> Batch:
    """The first n pictures (and labels) of the split."""
    found: list[Batch] = []
    for batch in context.batches(limit=n):
        found.append(batch)
        if sum(map(len, found)) >= n:
            break
    if not found or found[0].images is None:
        raise UsageError(f"The split '{context.split}' of '{context.dataset}' has no pictures.")
    images = torch.cat([b.images for b in found if b.images is not None])[:n]
    labels = [b.labels for b in found if b.labels is not None]
    return Batch(images=images, labels=torch.cat(labels)[:n] if labels else None)


class View:
    """An evaluator that draws a picture and takes no stream."""

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        """Nothing streams to a view."""

    def merge(self, other: Any) -> None:
        """Views are drawn by one process."""


class Interpolate(View):
    """Each row goes from one test picture to another: both ends are real, between them z on the way from code to code.

    A conditional model keeps the first picture's class along the row, so it walks between pictures of one class.
    """

    def __init__(self, config: InterpolateConfig, context: Context):
        self.config, self.context = config, context

    @torch.no_grad()
    def compute(self) -> Report:
        config, model = self.config, self.context.model
        x, y = self.pairs(config.rows)
        z = model.encode(x, y)
        t = torch.linspace(0, 1, config.steps, device=z.device)
        start, end = z[0::2], z[1::2]
        if config.path == "spherical":
            between = slerp(start, end, t)
        else:
            between = torch.lerp(start[:, None], end[:, None], t[None, :, None])
        rows = len(between)
        labels = None if y is None else y[0::2].repeat_interleave(config.steps)
        decoded = model.decode(between.flatten(0, 1), labels).view(rows, config.steps, *x.shape[1:])
        images = torch.cat([x[0::2, None], decoded, x[1::2, None]], 1).flatten(0, 1)
        return Report(
            name="interpolate",
            protocol=f"{rows} pairs of {self.context.dataset} {self.context.split}: a picture, {config.steps} decoded "
            f"points on the {config.path} path between the two codes, the other picture",
            pictures=[Picture("rows", images.clamp(-1, 1), columns=config.steps + 2)],
        )

    def pairs(self, rows: int) -> tuple[Tensor, Tensor | None]:
        """2 * rows pictures, partners side by side: of different classes, or of one class for a conditional model."""
        many = first_pictures(self.context, 40 * rows)
        assert many.images is not None
        if len(many) < 2:
            raise UsageError("An interpolation needs two pictures, and this split has one.")
        conditional = getattr(self.context.model, "conditional", False)
        left = list(range(len(many)))
        chosen: list[int] = []
        while len(left) >= 2 and len(chosen) < 2 * rows:
            a = left.pop(0)
            partner = next((b for b in left if self.partners(many.labels, a, b, conditional)), None)
            if partner is not None:
                left.remove(partner)
                chosen += [a, partner]
        if not chosen:  # one class only, or nothing alike: any two
            chosen = [0, 1]
        index = torch.tensor(chosen, device=many.images.device)
        return many.images[index], many.labels[index] if conditional and many.labels is not None else None

    @staticmethod
    def partners(labels: Tensor | None, a: int, b: int, conditional: bool) -> bool:
        return labels is None or bool(labels[a] == labels[b]) == conditional


class Reconstruct(View):
    """Rows in pairs: test pictures above, and below each what the model makes of it."""

    def __init__(self, config: ReconstructConfig, context: Context):
        self.config, self.context = config, context

    @torch.no_grad()
    def compute(self) -> Report:
        columns = self.config.columns
        batch = first_pictures(self.context, columns * self.config.rows)
        x, y = batch.images, batch.labels if getattr(self.context.model, "conditional", False) else None
        assert x is not None
        again = self.context.model.reconstruct(x, y).clamp(-1, 1)
        parts = []
        for top, below in zip(x.split(columns), again.split(columns), strict=True):
            blank = top.new_full((columns - len(top), *top.shape[1:]), -1.0)
            parts += [top, blank, below, blank]
        return Report(
            name="reconstruct",
            protocol=f"the first {len(x)} of {self.context.dataset} {self.context.split} above, their reconstructions below",
            pictures=[Picture("rows", torch.cat(parts), columns=columns)],
        )
