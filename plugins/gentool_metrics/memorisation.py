"""Are samples copies of training pictures? Their distances to the training set, beside those of unseen test pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gentool.data.batch import Batch
from gentool.errors import UsageError
from gentool.evaluating import Context, Curve, Picture, Report, Scalar
from gentool.sampling import Samples
from gentool_metrics import MemorisationConfig
from gentool_metrics.extractor import TOTAL_VARIANCE
from gentool_metrics.matching import ALL, choose_extractor
from gentool_metrics.neighbours import NearestTwo
from gentool_metrics.reconstruction import pair_rows

SUSPICIOUS = 0.01  # the share of test pictures that are as near to a training picture


@dataclass(frozen=True)
class CopyFigures:
    """See `copy_figures`."""

    nearer: float
    nearer_error: float
    ratio: float
    suspicious: float
    sharpest: float


def copy_figures(samples: Tensor, test: Tensor) -> CopyFigures:
    """What two lists of (nearest, second nearest) distances to the training set, (n, 2) and (m, 2), say.

    nearer: the chance that a sample is nearer to the training set than a test picture is, ties half: the Mann-Whitney
    statistic of Meehan et al. 2020 (section 3). 0.5 is what unseen pictures have; 1 is a copying machine. Its standard
    error is that of the null hypothesis, sqrt((n + m + 1) / (12 n m)).
    ratio: median distance of the samples over that of the test pictures.
    suspicious: share of samples whose distance is below the 1 % quantile of the test pictures'.
    sharpest: share of samples whose nearest over second nearest distance is below the 1 % quantile of the test
    pictures'. A blurred picture is near to everything, a copy is near to one: this figure does not mistake the two.
    """
    a, b = samples[:, 0].double().contiguous(), test[:, 0].double()
    ordered = b.sort().values.contiguous()
    below = torch.searchsorted(ordered, a, right=False)
    upto = torch.searchsorted(ordered, a, right=True)
    n, m = len(a), len(b)
    nearer = float((m - (below + upto).double() / 2).mean() / m)
    return CopyFigures(
        nearer=nearer,
        nearer_error=((n + m + 1) / (12 * n * m)) ** 0.5,
        ratio=float(a.median() / b.median().clamp(min=1e-12)),
        suspicious=_share_below(a, b),
        sharpest=_share_below(_sharpness(samples), _sharpness(test)),
    )


def _sharpness(distances: Tensor) -> Tensor:
    d = distances.double()
    return d[:, 0] / d[:, 1].clamp(min=1e-12)


def _share_below(values: Tensor, against: Tensor) -> float:
    return float((values < against.quantile(SUSPICIOUS)).double().mean())


class Memorisation:
    """Looks up n samples and n test pictures among all training pictures, in one pass over these."""

    def __init__(self, config: MemorisationConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.extractor = choose_extractor(context) if config.space == "features" else None
        self.n = min(config.n, context.limit) if context.limit else config.n
        self.samples: list[Tensor] = []

    def update(self, batch: Batch | None, outputs: Samples | None) -> None:
        """Takes in samples. Need not be called: `compute` draws n."""
        room = self.n - sum(len(part) for part in self.samples)
        if outputs is not None and outputs.images is not None and room > 0:
            self.samples.append(outputs.images[:room].float().clamp(-1, 1).cpu())

    def merge(self, other: Memorisation) -> None:
        for images in other.samples:
            self.update(None, Samples(images=images))

    def _place(self, images: Tensor) -> Tensor:
        """Where a picture lies in the space of distances, (N, D)."""
        if self.extractor is None:
            rows, unit = images.flatten(1), float(images[0].numel())  # so a distance is a root mean square over pixels
        else:
            rows, unit = self.extractor(images)[0], TOTAL_VARIANCE  # and here in units of the reference's spread
        return rows.div(unit**0.5)

    def _like_the_data(self, samples: Tensor) -> tuple[Tensor, str]:
        """Samples in the pixels of binarised data: a grey mean lies nearer to binary pictures than they to each other."""
        binarize = str(self.context.info.extra.get("binarize", "none"))
        if self.context.info.levels != 2 or bool((samples.abs() == 1).all()):
            return samples, ""
        chance = (samples + 1) / 2
        if binarize in ("stochastic", "fixed"):
            at = torch.rand(samples.shape, generator=torch.Generator().manual_seed(self.context.step.seed))
            return (at < chance).float() * 2 - 1, "; grey samples were drawn to binary ones, as the data are"
        return (chance >= 0.5).float() * 2 - 1, "; grey samples were cut at half, as the data are"

    def compute(self) -> Report:
        context, show = self.context, self.config.show
        with torch.no_grad():
            if not self.samples:
                for drawn in context.samples(self.n):
                    self.update(None, drawn)
            tests = [batch.images.cpu() for batch in context.batches(limit=self.n) if batch.images is not None]
            if not self.samples or not tests or len(self.samples[0]) + len(tests[0]) < 4:
                raise UsageError(
                    f"memorisation needs samples and pictures of the split '{context.split}', at least 2 of each."
                )
            samples, test = torch.cat(self.samples), torch.cat(tests)
            samples, pixels = self._like_the_data(samples)
            near_samples, near_test = NearestTwo(self._place(samples)), NearestTwo(self._place(test))
            for batch in context.batches("train", limit=ALL):
                assert batch.images is not None
                rows = self._place(batch.images)
                near_samples.add(rows)
                near_test.add(rows)
            if near_samples.seen < 2:
                raise UsageError("memorisation needs at least 2 training pictures.")
            found = copy_figures(near_samples.distances, near_test.distances)
            # By the ratio, not the distance: else the simplest class is all one sees (ones, of digits).
            order = _sharpness(near_samples.distances).argsort(stable=True)[:show]
            picked = [samples[order], samples[:show]]
            wanted = [near_samples.indices[order], near_samples.indices[:show]]
            partners = self._training_pictures(wanted, samples.shape[1:])
        pictures = []
        for title, above, below in zip(
            (
                "most suspicious pairs",
                "first pairs",
            ),
            picked,
            partners,
            strict=True,
        ):
            images, columns = pair_rows(above, below)
            pictures.append(Picture(title, images, columns))
        space = "root mean square pixel" if self.extractor is None else f"{self.extractor.name} classifier feature"
        return Report(
            name="memorisation",
            scalars=[
                Scalar(
                    "nearer to training than test pictures are",
                    found.nearer,
                    "(0.5: like unseen, 1: copies)",
                    found.nearer_error,
                ),
                Scalar("distance ratio, samples over test", found.ratio),
                Scalar("suspiciously near samples", found.suspicious, f"(test pictures: {SUSPICIOUS})"),
                Scalar("samples with one outstanding neighbour", found.sharpest, f"(test pictures: {SUSPICIOUS})"),
            ],
            protocol=f"{space} distance of {len(samples):,} samples and {len(test):,} {context.dataset} {context.split} "
            f"pictures to the nearest of {near_samples.seen:,} training pictures{pixels}; blurred samples lie nearer in pixels "
            "without being copies: look at the pairs (sample above its neighbour)",
            curves=[
                _cumulative("samples", near_samples.distances[:, 0]),
                _cumulative(f"{context.split} pictures", near_test.distances[:, 0]),
            ],
            axes=("distance to the nearest training picture", "share that is nearer"),
            pictures=pictures,
        )

    def _training_pictures(self, wanted: list[Tensor], shape: torch.Size) -> list[Tensor]:
        """The training pictures at these places, by a second pass: none but these are kept."""
        found = [torch.empty(len(places), *shape) for places in wanted]
        start = 0
        for batch in self.context.batches("train", limit=ALL):
            assert batch.images is not None
            for places, images in zip(wanted, found, strict=True):
                here = (places >= start) & (places < start + len(batch))
                if here.any():
                    images[here] = batch.images.cpu()[places[here] - start]
            start += len(batch)
        return found


def _cumulative(name: str, distances: Tensor, points: int = 100) -> Curve:
    levels = torch.linspace(0, 1, points, dtype=torch.float64)
    return Curve(name, torch.quantile(distances.double(), levels).tolist(), levels.tolist())
