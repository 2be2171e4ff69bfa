"""The round trip through a bottleneck: MSE, PSNR, SSIM, with pictures of the first and of the worst."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gentool.data.batch import Batch
from gentool.evaluating import Context, Picture, Report, Scalar
from gentool.sampling import Samples
from gentool_metrics import ReconstructionConfig
from gentool_metrics.likelihood import labels_for
from gentool_metrics.quality import PSNR_CAP, mse, psnr, ssim, window_size
from gentool_metrics.running import RunningMean

COLUMNS = 8


def pair_rows(above: Tensor, below: Tensor, columns: int = COLUMNS) -> tuple[Tensor, int]:
    """Rows of `above` with their partners right beneath, for a grid: (images, columns). Both (n, C, H, W)."""
    columns = min(columns, len(above))
    short = -len(above) % columns
    if short:  # an unfinished row would shift the partners: fill it with empty pictures
        empty = above.new_full((short, *above.shape[1:]), -1.0)
        above, below = torch.cat([above, empty]), torch.cat([below, empty])
    rows = [torch.cat([a, b]) for a, b in zip(torch.split(above, columns), torch.split(below, columns), strict=True)]
    return torch.cat(rows), columns


class Reconstruction:
    """Streams (images, model.reconstruct(images)); the means are over pictures."""

    def __init__(self, config: ReconstructionConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.mse, self.psnr, self.ssim = RunningMean(), RunningMean(), RunningMean()
        self.exact = 0
        self.first: tuple[Tensor, Tensor] | None = None
        self.worst: tuple[Tensor, Tensor, Tensor] | None = None  # errors, originals, reconstructions

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        model: Any = self.context.model
        assert batch.images is not None
        images = batch.images
        with torch.no_grad():
            made = model.reconstruct(images, labels_for(self.context, batch)).float().clamp(-1, 1)
        errors = mse(images, made)
        self.mse.add(errors)
        self.psnr.add(psnr(images, made))
        self.ssim.add(ssim(images, made))
        self.exact += int((errors == 0).sum())
        pair = (images.cpu(), made.cpu())
        self._keep_first(*pair)
        self._keep_worst(errors.cpu(), *pair)

    def _keep_first(self, images: Tensor, made: Tensor) -> None:
        if self.first is not None:
            images, made = torch.cat([self.first[0], images]), torch.cat([self.first[1], made])
        self.first = (images[: self.config.show].clone(), made[: self.config.show].clone())

    def _keep_worst(self, errors: Tensor, images: Tensor, made: Tensor) -> None:
        if self.worst is not None:
            errors = torch.cat([self.worst[0], errors])
            images, made = torch.cat([self.worst[1], images]), torch.cat([self.worst[2], made])
        order = errors.argsort(descending=True, stable=True)[: self.config.show]
        self.worst = (errors[order], images[order], made[order])

    def merge(self, other: Reconstruction) -> None:
        self.mse.merge(other.mse)
        self.psnr.merge(other.psnr)
        self.ssim.merge(other.ssim)
        self.exact += other.exact
        if other.first is not None:
            self._keep_first(*other.first)
        if other.worst is not None:
            self._keep_worst(*other.worst)

    def compute(self) -> Report:
        context = self.context
        assert context.info.image is not None
        assert self.first is not None  # the host refuses an empty split
        assert self.worst is not None
        side = window_size(*context.info.image[1:])
        window = f"SSIM window {side}x{side}, sigma 1.5" + ("" if side == 11 else " (pictures are under 11 pixels)")
        exact = f"; {self.exact} exact pictures count as {PSNR_CAP:.0f} dB" if self.exact else ""
        first, columns = pair_rows(*self.first)
        worst, _ = pair_rows(*self.worst[1:])
        return Report(
            name="reconstruction",
            scalars=[
                Scalar("MSE", self.mse.mean, "", self.mse.standard_error),
                Scalar("PSNR", self.psnr.mean, "dB", self.psnr.standard_error),
                Scalar("SSIM", self.ssim.mean, "", self.ssim.standard_error),
            ],
            protocol=f"{context.dataset} {context.split}, N={self.mse.n} pictures in [-1, 1], means over pictures; "
            f"PSNR with peak 2{exact}; {window}; originals stand above",
            pictures=[
                Picture("reconstructions", first, columns),
                Picture("worst reconstructions", worst, columns),
            ],
        )
