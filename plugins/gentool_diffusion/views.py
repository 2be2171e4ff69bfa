"""Views: the forward process over real pictures, the way back step by step, and what guidance does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Context, Partial, Picture, Report, Samples, Step, UsageError

from . import solvers
from .sampler import Denoiser

if TYPE_CHECKING:
    from .configs import ForwardConfig


class Forward:
    """Each row one test picture, from left to right more of the forward process: x_t = alpha_t x_0 + sigma_t eps."""

    def __init__(self, config: ForwardConfig, context: Context):
        self.config, self.context = config, context

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        """Nothing streams to a view."""

    def merge(self, other: Any) -> None:
        """Views are drawn by one process."""

    @torch.no_grad()
    def compute(self) -> Report:
        context, columns = self.context, self.config.columns
        model: Any = context.model
        batch = next(iter(context.batches(limit=self.config.n)), None)
        if batch is None or batch.images is None:
            raise UsageError(f"The split '{context.split}' of '{context.dataset}' has no pictures.")
        images = batch.images[: self.config.n]
        x0 = model.prepared(images, context.step)
        eps = context.step.noise(*x0.shape)
        last = model.schedule.steps - 1
        times = [round(last * i / (columns - 1)) for i in range(1, columns)]
        shown = [images]
        for moment in times:
            t = torch.full((len(x0),), moment, device=x0.device, dtype=torch.int64)
            shown.append(model.pictures(model.noised(x0, t, eps)))
        rows = torch.stack(shown, 1).flatten(0, 1)
        signal = ", ".join(f"{float(model.schedule.alpha[t]):.2f}" for t in times)
        return Report(
            name="forward",
            protocol=(
                f"the first {len(images)} of {context.dataset} {context.split}; {model.schedule.name} schedule, "
                f"T = {last + 1}; columns: the picture, then alpha = {signal}"
            ),
            pictures=[Picture("rows", rows, columns=columns)],
        )


def denoise(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    rows: int = 6,
    columns: int = 10,
    steps: int = 20,
    spacing: str = "linear",
    guidance: float = 1.0,
    clip: bool = True,
    precision: str = "auto",
) -> Iterator[Partial | Samples]:
    """DDIM's way from noise to picture: rows in pairs, x_t above, and below it what the network takes for x_0 then."""
    if labels is not None:
        labels = labels[torch.arange(rows, device=labels.device) % len(labels)]
    denoiser = Denoiser(model, labels, guidance=guidance, clip=clip, precision=precision)
    x = step.noise(rows, *model.shape, purpose="x_T")
    path = model.schedule.path(steps, spacing)
    moments = {round((len(path) - 2) * i / (columns - 1)) for i in range(columns)}
    above, below = [], []
    for i, (after, x0) in enumerate(solvers.ddim(denoiser, x, path)):
        if i in moments:
            above.append(model.pictures(x))
            below.append(model.pictures(x0))
        x = after
        yield Partial(i + 1, len(path) - 1, images=model.pictures(x0))
    pairs = torch.stack([torch.stack(above, 1), torch.stack(below, 1)], 1)  # (rows, 2, columns, C, H, W)
    yield Samples(
        images=pairs.flatten(0, 2), columns=len(above), title="x_t above, the network's estimate of x_0 below"
    )


def guidance_scales(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    scales: tuple[float, ...] = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0),
    rows: int = 8,
    steps: int = 20,
) -> Iterator[Partial | Samples]:
    """Each row one noise and one class, each column a strength of classifier-free guidance (Ho & Salimans 2022)."""
    if labels is None:
        raise UsageError("guidance needs a model that knows classes: train one with --preset conditional.")
    labels = labels[torch.arange(rows, device=labels.device) % len(labels)]
    noise = step.noise(rows, *model.shape, purpose="x_T")
    path = model.schedule.path(steps, "linear")
    made = []
    for done, scale in enumerate(scales, 1):
        denoiser = Denoiser(model, labels, guidance=scale, precision="auto")
        *_, (x, _) = solvers.dpm_solver(denoiser, noise, path)
        made.append(model.pictures(x))
        yield Partial(done, len(scales))
    yield Samples(
        images=torch.stack(made, 1).flatten(0, 1),
        columns=len(scales),
        title=f"guidance {', '.join(f'{scale:g}' for scale in scales)}",
    )
