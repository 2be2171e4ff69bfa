"""fid, kid and precision-recall: samples against training pictures, over the features of a small classifier.

Every report names the classifier and its digest, N, the pictures compared with, and the same figure for real pictures
that were held out (of the training set where that is large): a generator cannot be expected to do better. A histogram
of the classes the classifier sees goes with them, since precision and recall alone miss a class that is never drawn.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from gentool.data.batch import Batch
from gentool.errors import UsageError
from gentool.evaluating import Context, Report, Scalar
from gentool.sampling import Samples
from gentool_metrics import FeatureConfig, KidConfig, PrecisionRecallConfig
from gentool_metrics.distances import frechet_distance, kernel_distance
from gentool_metrics.extractor import TOTAL_VARIANCE
from gentool_metrics.features import Collected, Extractor, Reference
from gentool_metrics.matching import choose_extractor, choose_reference
from gentool_metrics.moments import Moments
from gentool_metrics.neighbours import manifold_figures

KEEP = 50_000  # rows of features kept of the samples, for neighbours and kernels; Fréchet needs none


class FeatureEvaluator:
    """Draws N samples (once for all three evaluators of a call) and hands their features to `figures`."""

    name = ""
    histogram = True

    def __init__(self, config: FeatureConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.extractor = choose_extractor(context, config.extractor)
        self.n = config.n or context.limit or self.extractor.standard_n
        if self.n < 2:
            raise UsageError(
                f"{self.name} needs at least 2 samples, not {self.n}; its standard is {self.extractor.standard_n}."
            )
        self.collected = Collected.empty(self.extractor, KEEP)

    def update(self, batch: Batch | None, outputs: Samples | None) -> None:
        """Takes in samples. Need not be called: `compute` draws what is missing to N."""
        if outputs is not None and outputs.images is not None:
            self.collected.add(self.extractor, outputs.images, outputs.labels)

    def merge(self, other: FeatureEvaluator) -> None:
        self.collected.merge(other.collected)

    def compute(self) -> Report:
        if not self.collected.n:
            self.collected = self._drawn()
        reference = choose_reference(self.context, self.extractor, self.collected.two_valued)
        scalars, notes = self.figures(self.collected, reference)
        table: list[dict[str, object]] = []
        if self.histogram:
            classes, table = class_histogram(self.extractor, self.collected, reference)
            scalars += classes
        return Report(name=self.name, scalars=scalars, protocol=self._protocol(reference, notes), table=table)

    def figures(self, samples: Collected, reference: Reference) -> tuple[list[Scalar], str]:
        """The evaluator's own figures, and what its protocol adds."""
        raise NotImplementedError

    def _drawn(self) -> Collected:
        if self.n != self.extractor.standard_n:
            print(f"{self.name}: {self._warning()}", file=sys.stderr)
        shared: dict[Any, Any] = self.context.shared
        key = ("gentool_metrics.samples", self.extractor.name, self.n)
        if key not in shared:
            collected = Collected.empty(self.extractor, KEEP)
            with torch.no_grad():
                for samples in self.context.samples(self.n):
                    if samples.images is None:
                        raise UsageError(f"'{self.context.model_name}' gives no pictures to compare.")
                    collected.add(self.extractor, samples.images, samples.labels)
            shared[key] = collected
        made: Collected = shared[key]
        if made.n < 2:
            raise UsageError(f"{self.name} needs at least 2 samples; '{self.context.model_name}' gave {made.n}.")
        return made

    def _warning(self) -> str:
        return (
            f"N={self.n:,} instead of the standard {self.extractor.standard_n:,}: bias and noise fall with N, so compare "
            "only figures of equal N"
        )

    def _protocol(self, reference: Reference, notes: str) -> str:
        extractor = self.extractor
        words = [
            f"N={self.collected.n:,} samples against {reference.what}",
            f"features of a {extractor.name} classifier ({extractor.digest}, D={extractor.dim}), not Inception",
        ]
        if self.collected.n != extractor.standard_n:
            words.append(self._warning())
        if self.context.info.image != extractor.image and self.context.info.image is not None:
            words.append("pictures resized to " + "x".join(str(side) for side in extractor.image[1:]))
        words.append(notes)
        words += extractor.notes
        return "; ".join(word for word in words if word)

    def _named(self, figure: str) -> str:
        return f"{figure} ({self.extractor.name} classifier features)"


class FrechetEvaluator(FeatureEvaluator):
    """Fréchet distance of two Gaussians fitted to the features (Heusel et al. 2017)."""

    name = "fid"

    def figures(self, samples: Collected, reference: Reference) -> tuple[list[Scalar], str]:
        scalars = [Scalar(self._named("FID"), frechet_distance(samples.moments, reference.moments))]
        held_out = reference.held_out[: samples.n]
        if len(held_out) > 1:
            floor = frechet_distance(Moments.of(held_out), reference.moments)
            scalars.append(Scalar(f"FID floor: {len(held_out):,} {reference.held_out_what}", floor))
        scale = f"features scaled to total variance {TOTAL_VARIANCE:.0f} over the reference"
        return scalars, "; ".join(word for word in (reference.remark, scale) if word)


class KernelEvaluator(FeatureEvaluator):
    """Unbiased MMD² with a polynomial kernel (Bińkowski et al. 2018)."""

    name = "kid"
    histogram = False  # it stands with fid and precision-recall
    config: KidConfig

    def figures(self, samples: Collected, reference: Reference) -> tuple[list[Scalar], str]:
        # Small sets are cut into five blocks at least, for a standard error.
        size = max(2, min(self.config.block, min(samples.n, len(reference.rows)) // 5))

        def distance(rows: Tensor) -> tuple[float, float | None, int]:
            # Features have total variance 1000: with scale 1000 the kernel is Bińkowski's on features of unit variance.
            return kernel_distance(rows, reference.rows, block=size, degree=self.config.degree, scale=TOTAL_VARIANCE)

        value, error, blocks = distance(samples.features)
        scalars = [Scalar(self._named("KID"), value, "", error)]
        held_out = reference.held_out[: samples.n]
        if len(held_out) > 1:
            floor, floor_error, _ = distance(held_out)
            scalars.append(Scalar(f"KID floor: {len(held_out):,} {reference.held_out_what}", floor, "", floor_error))
        return scalars, (
            f"(<x,y>/{TOTAL_VARIANCE:.0f} + 1)^{self.config.degree}, mean and standard error over {blocks} disjoint "
            f"blocks of {size:,}"
        )


class PrecisionRecallEvaluator(FeatureEvaluator):
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

    name = "precision-recall"
    config: PrecisionRecallConfig

    def figures(self, samples: Collected, reference: Reference) -> tuple[list[Scalar], str]:
        k = self.config.k
        count = min(samples.n, len(samples.features), len(reference.rows))
        if count <= k:
            raise UsageError(
                f"precision-recall with k={k} needs more than {k} samples and real pictures, there are {count}; "
                "draw more, or set precision-recall.k lower."
            )
        real = reference.rows[:count]
        found = manifold_figures(real, samples.features[:count], k)
        names = ("precision", "recall", "density", "coverage")
        scalars = [Scalar(self._named(name), getattr(found, name)) for name in names]
        held_out = reference.held_out[:count]
        if len(held_out) > k:
            # Coverage and recall depend on how many there are: the floor is like for like.
            floor = manifold_figures(real[: len(held_out)], held_out, k)
            scalars += [
                Scalar(f"{name} of {len(held_out):,} {reference.held_out_what}", getattr(floor, name)) for name in names
            ]
        return scalars, f"k={k}, {count:,} samples and as many of the reference pictures"


def class_histogram(
    extractor: Extractor, samples: Collected, reference: Reference
) -> tuple[list[Scalar], list[dict[str, object]]]:
    """Which classes the classifier sees: scalars, and a table of shares beside those of the reference pictures.

    A class is missing when its share is under a tenth of its share of the reference.
    """
    drawn = samples.counts.double() / samples.counts.sum()
    real = reference.histogram / reference.histogram.sum()
    missing = int(((drawn < real / 10) & (real > 0)).sum())
    scalars = [
        Scalar("missing classes", missing, f"of {int((real > 0).sum())}"),
        Scalar("class entropy", entropy(drawn), "nats"),
        Scalar("class entropy of the reference", entropy(real), "nats"),
    ]
    if samples.labelled:
        scalars.append(Scalar("class agreement", samples.agreed / samples.labelled, "of samples drawn for a class"))
    table: list[dict[str, object]] = [
        {f"{extractor.name} class": name, "samples": round(float(a), 4), "real": round(float(b), 4)}
        for name, a, b in zip(extractor.classes, drawn, real, strict=True)
    ]
    return scalars, table


def entropy(shares: Tensor) -> float:
    """-sum p log p in nats."""
    return float(torch.special.entr(shares).sum())
