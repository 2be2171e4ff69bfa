"""How a codebook is used, and the bits a picture costs through prior and decoder."""

from __future__ import annotations

import math
from typing import Any, cast

import torch

from gentool import Batch, Context, Curve, Picture, Report, Samples, Scalar

from .codebook import perplexity


class CodebookUsage:
    """Counts the codes of a split: the share that is used at all, the perplexity, and the dead ones."""

    def __init__(self, config: Any, context: Context):
        self.context = context
        self.model: Any = context.model
        self.counts = torch.zeros(cast(int, context.model.codes), dtype=torch.int64)
        self.pictures = 0

    @torch.no_grad()
    def update(self, batch: Batch, outputs: Samples | None) -> None:
        assert batch.images is not None
        index = self.model.encode_codes(batch.images).flatten()
        self.counts += torch.bincount(index, minlength=self.model.codes).cpu()
        self.pictures += len(batch)

    def merge(self, other: CodebookUsage) -> None:
        self.counts += other.counts
        self.pictures += other.pictures

    def compute(self) -> Report:
        counts, codes = self.counts, self.model.codes
        n = int(counts.sum())
        used = int((counts > 0).sum())
        share = counts.double() / max(1, n)
        falling, order = share.sort(descending=True, stable=True)
        entropy = math.log2(float(perplexity(counts.double()))) if n else 0.0
        return Report(
            name="codebook",
            scalars=[
                Scalar("usage", 100 * used / codes, "%"),
                Scalar("perplexity", 2**entropy, "codes"),
                Scalar("entropy", entropy, f"bits/code, of {math.log2(codes):.2f}"),
                Scalar("dead codes", codes - used, f"of {codes}"),
            ],
            protocol=(
                f"{self.context.dataset} {self.context.split}, {self.pictures} pictures, {n} codes; "
                "a code is dead when no picture has it"
            ),
            curves=[
                Curve("by index", list(range(codes)), share.tolist()),
                Curve("the most used first", list(range(codes)), falling.tolist()),
            ],
            axes=("code", "share of all codes"),
            log_y=True,
            pictures=[Picture("usage map", self._map(), 1)],
            table=[
                {"most used": int(k), "count": int(counts[k]), "share %": round(100 * float(share[k]), 2)}
                for k in order[:8]
            ],
        )

    def _map(self) -> torch.Tensor:
        """log(1 + count) of every code in index order, as one near-square grey picture (1, 1, rows, columns)."""
        columns = math.ceil(math.sqrt(self.model.codes))
        rows = math.ceil(self.model.codes / columns)
        shade = torch.log1p(self.counts.float())
        cells = torch.full((rows * columns,), -1.0)
        cells[: len(shade)] = 2 * shade / shade.max().clamp(min=1e-9) - 1
        return cells.view(1, 1, rows, columns)


class CodeBits:
    """[-log2 p(x|z_q(x)) - log2 p(z_q(x))] / D, an upper bound on -log2 p(x) / D: minus the ELBO of a posterior that
    puts all its mass on one grid of codes (van den Oord et al. 2017, section 3.1).

    Its parts: the distortion, which the decoder's discretised logistic pays, and the rate, which the prior pays.
    """

    def __init__(self, config: Any, context: Context):
        self.context = context
        self.model: Any = context.model
        self.distortion: list[torch.Tensor] = []  # nats, a picture each
        self.rate: list[torch.Tensor] = []

    @torch.no_grad()
    def update(self, batch: Batch, outputs: Samples | None) -> None:
        labels = batch.labels if self.model.conditional else None
        log_p, rate = self.model.elbo(batch.images, labels, self.context.step)
        self.distortion.append(-log_p.double().cpu())
        self.rate.append(rate.double().cpu())

    def merge(self, other: CodeBits) -> None:
        self.distortion += other.distortion
        self.rate += other.rate

    def compute(self) -> Report:
        distortion, rate = torch.cat(self.distortion), torch.cat(self.rate)
        n, dims = len(rate), math.prod(self.context.info.image or (1,))
        places = math.prod(self.model.grid)

        def mean(name: str, nats: torch.Tensor, of: int, unit: str) -> Scalar:
            bits = nats / (of * math.log(2))
            error = float(bits.std() / math.sqrt(n)) if n > 1 else None
            return Scalar(name, float(bits.mean()), unit, error)

        return Report(
            name="code-bits",
            scalars=[
                mean("bits/dim, at most", distortion + rate, dims, "bits/dim"),
                mean("distortion: decoder", distortion, dims, "bits/dim"),
                mean("rate: prior", rate, dims, "bits/dim"),
                mean("rate of a code", rate, places, f"bits, of {math.log2(self.model.codes):.2f}"),
            ],
            protocol=(
                f"{self.context.dataset} {self.context.split}, {n} pictures; upper bound by one grid of codes a "
                f"picture; p(x|z): {self.model.protocol().partition(';')[0]}; p(z): {self.model.config.prior}"
            ),
        )
