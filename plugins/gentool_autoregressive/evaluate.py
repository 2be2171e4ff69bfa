"""Views of grid densities: pictures completed from their upper part, and the receptive field by the gradient."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Context, Picture, Report, Samples, Scalar, UsageError
from gentool.specs import config_fields

from .density import levels_of, pictures_of
from .field import slope

if TYPE_CHECKING:
    from gentool.specs import NoConfig

    from .configs import CompleteConfig
    from .density import PixelNet


class View:
    """An evaluator that takes no stream: `compute` does everything."""

    def __init__(self, config: Any, context: Context):
        self.config, self.context = config, context

    def update(self, batch: Batch, outputs: Samples | None) -> None:
        pass

    def merge(self, other: View) -> None:
        pass


class Complete(View):
    """The upper rows of test pictures are given, the rest is drawn: x_below ~ p(x_below | x_above), exactly."""

    config: CompleteConfig

    def compute(self) -> Report:
        model: Any = self.context.model
        images, labels = self._pictures(self.config.n)
        rows = round(self.config.share * images.shape[2])
        known = levels_of(images, model.info.levels)
        known[:, :, rows:] = -1
        tries = self.config.tries
        drawn = None
        for drawn in model.draw_levels(  # noqa: B007 - the last one counts
            len(images) * tries,
            step=self.context.step,
            labels=None if labels is None else labels.repeat_interleave(tries),
            temperature=self.config.temperature,
            known=known.repeat_interleave(tries, 0),
        ):
            pass
        assert isinstance(drawn, Tensor)
        given = images.clone()
        given[:, :, rows:] = 0
        made = pictures_of(drawn, model.info.levels).view(len(images), tries, *images.shape[1:])
        picture = torch.cat([images[:, None], given[:, None], made], 1).flatten(0, 1)
        return Report(
            "complete",
            protocol=f"{self.context.split} pictures; left to right: whole, what is given ({rows} rows), {tries} drawn",
            pictures=[Picture("complete", picture, tries + 2)],
        )

    def _pictures(self, n: int) -> tuple[Tensor, Tensor | None]:
        found: list[Batch] = list(self.context.batches(limit=n))
        if not found or found[0].images is None:
            raise UsageError("There is no picture to complete: name a data set with --data.")
        images = torch.cat([b.images for b in found if b.images is not None])[:n]
        given = [b.labels for b in found if b.labels is not None]
        return images, torch.cat(given)[:n] if given and getattr(self.context.model, "conditional", False) else None


def seen(model: PixelNet, row: int, column: int, *, tries: int = 4, seed: int = 0) -> Tensor:
    """How much the logits of one pixel depend on each pixel: the sum of |d logits / d input|, (H, W), float64.

    In float64 and over a few random inputs, so that what is 0 is 0 by the structure of the net, not by chance.
    """
    net = copy.deepcopy(model).double().eval().cpu()
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(net.levels, (tries, net.channels, net.height, net.width), generator=random)
    labels = torch.zeros(tries, dtype=torch.int64) if net.conditional else None
    with torch.enable_grad():
        planes = net.planes(x).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(net.context(planes, labels)[:, row, column].abs().sum(), planes)
    return gradient.abs().sum((0, 3))


class ReceptiveField(View):
    """Which pixels the middle one depends on: none at or after it, and all earlier ones within the net's reach."""

    config: NoConfig

    def compute(self) -> Report:
        model: Any = self.context.model
        row, column = model.height // 2, model.width // 2
        settings = config_fields(type(model.config))
        amount = seen(model, row, column)
        place = row * model.width + column
        before, after = amount.flatten()[:place] > 0, amount.flatten()[place:] > 0
        shown = torch.where(amount > 0, amount, amount[amount > 0].min() if before.any() else 1.0).log()
        shown = (shown - shown.min()) / (shown.max() - shown.min()).clamp(min=1e-9)
        shown = torch.where(amount > 0, 0.6 * shown, -1.0)
        shown[row, column] = 1.0
        return Report(
            "receptive-field",
            [
                Scalar("earlier pixels seen", int(before.sum()), f"of {place}"),
                Scalar("itself or later ones seen", int(after.sum())),
            ]
            + ([Scalar("slope", slope(model.config), "columns a row (wavefront)")] if "field" in settings else []),
            protocol=f"gradient of the features at row {row}, column {column}, in float64",
            pictures=[Picture("receptive-field", shown.float()[None, None], 1)],
        )
