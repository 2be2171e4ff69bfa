"""Does a classifier's FID see what an eye sees? Real pictures, spoilt in known ways, scored like samples.

    python -m gentool_metrics.sanity fashion-mnist [--json]

The pictures are those outside the training split (test, then validation), at most N of them, against the shipped
reference; "train against other train" is two disjoint parts of the training pictures the classifier never saw.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gentool_metrics.distances import frechet_distance, kernel_distance
from gentool_metrics.extractor import TOTAL_VARIANCE, dequantise
from gentool_metrics.features import Collected, Extractor, available, load_extractor
from gentool_metrics.train_extractor import open_data

Change = Callable[[Tensor, torch.Generator], Tensor]


def blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """The mean of 3x3 pixels."""
    channels = images.shape[1]
    kernel = images.new_full((channels, 1, 3, 3), 1 / 9)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """One pixel to the right; the edge is repeated."""
    return torch.cat([images[..., :1], images[..., :-1]], dim=-1)


def noise(deviation: float) -> Change:
    """Gaussian noise; deviation in units of the range from black to white."""

    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        return images + 2 * deviation * torch.randn(images.shape, generator=generator)

    return change


def five_levels(images: Tensor, generator: torch.Generator) -> Tensor:
    return (images * 2).round() / 2


def threshold(images: Tensor, generator: torch.Generator) -> Tensor:
    return (images > 0).float() * 2 - 1


def stochastic(images: Tensor, generator: torch.Generator) -> Tensor:
    """Binary: white with the grey value as probability."""
    return (torch.rand(images.shape, generator=generator) < (images + 1) / 2).float() * 2 - 1


def same(images: Tensor, generator: torch.Generator) -> Tensor:
    return images


SPOILT: dict[str, Change] = {
    "blurred 3x3": blur,
    "shifted by 1 pixel": shift,
    "noise 0.05": noise(0.05),
    "noise 0.1": noise(0.1),
    "five grey levels": five_levels,
    "binarised at half": threshold,
    "stochastically binarised": stochastic,
}


def held_out(name: str) -> tuple[Tensor, Tensor]:
    """(uint8 pictures, labels) outside the training split, test first."""
    data = open_data(name)
    splits = [data.split("test"), data.split("validation")]
    labels = [split.labels for split in splits if split.labels is not None]
    return torch.cat([split.images for split in splits]), torch.cat(labels)


def features_of(extractor: Extractor, pixels: Tensor, change: Change = same, seed: int = 0) -> Collected:
    """What a stream of these uint8 pictures, changed, leaves."""
    generator = torch.Generator().manual_seed(seed)
    found = Collected.empty(extractor, keep=len(pixels))
    for part in torch.split(pixels, 500):
        found.add(extractor, change(dequantise(part), generator))
    return found


def table(name: str) -> list[dict[str, object]]:
    """Rows of (what, N, FID, KID, its standard error)."""
    extractor = load_extractor(name)
    reference, n = extractor.reference(), extractor.standard_n
    rows: list[dict[str, object]] = []

    def score(what: str, found: Collected, against: Collected | None = None) -> None:
        moments, features = (
            (reference.moments, reference.rows) if against is None else (against.moments, against.features)
        )
        block = min(1000, max(2, min(len(found.features), len(features)) // 4))
        kid, error, _ = kernel_distance(found.features, features, block=block, scale=TOTAL_VARIANCE)
        fid = frechet_distance(found.moments, moments)
        rows.append({"what": what, "N": found.n, "FID": fid, "KID": kid, "±": error})
        print(f"{name}: {what}: {fid:.3f}", file=sys.stderr)

    train = open_data(name).split("train").images[1::2]
    count = min(n, len(train) // 2)
    score("train against other train", features_of(extractor, train[:count]), features_of(extractor, train[count:]))
    pictures, labels = held_out(name)
    score("held-out real pictures", features_of(extractor, pictures[:n]))
    for c, label in enumerate(extractor.classes):
        score(f"class {label} dropped", features_of(extractor, pictures[labels != c][:n]))
    for what, change in SPOILT.items():
        score(what, features_of(extractor, pictures[:n], change))
    few = max(2, n // 100)
    score(f"only {few} different pictures", features_of(extractor, pictures[:few].repeat(n // few, 1, 1, 1)))
    mean = pictures.float().mean(0, keepdim=True).round().to(torch.uint8)
    score("the mean picture alone", features_of(extractor, mean.repeat(n, 1, 1, 1)))
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m gentool_metrics.sanity", description=__doc__.split("\n")[0])
    parser.add_argument("dataset", choices=sorted(available()))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    rows = table(given.dataset)
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':32} {'N':>6} {'FID':>9} {'KID':>10} {'±':>8}")
    for row in rows:
        error = "" if row["±"] is None else f"{row['±']:8.4f}"
        print(f"{row['what']!s:32} {row['N']!s:>6} {row['FID']:9.3f} {row['KID']:10.4f} {error}")


if __name__ == "__main__":
    main()
