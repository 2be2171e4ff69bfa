"""Does a classifier's FID see what an eye sees? Real pictures, spoilt in known ways, scored like samples.

    python -m gentool_metrics.sanity fashion-mnist [--json]

The pictures are those that neither the classifier nor the reference has seen: the floor's (10,000 training pictures; of
digits all outside the training split).
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
from gentool_metrics.train_extractor import RECIPES, open_data, reference_places

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


def unseen(name: str) -> tuple[Tensor, Tensor]:
    """(uint8 pictures, labels) of the floor."""
    data, splits = open_data(name), RECIPES[name].held_out
    if splits:
        parts = [data.split(split) for split in splits]
        return torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts if p.labels is not None])
    train = data.split("train")
    assert train.labels is not None
    _, places = reference_places(name, len(train))
    return train.images[places], train.labels[places]


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

    def score(what: str, found: Collected) -> None:
        block = max(2, min(1000, found.n // 5, len(reference.rows) // 5))
        kid, error, _ = kernel_distance(found.features, reference.rows, block=block, scale=TOTAL_VARIANCE)
        fid = frechet_distance(found.moments, reference.moments)
        rows.append({"what": what, "N": found.n, "FID": fid, "KID": kid, "±": error})
        print(f"{name}: {what}: {fid:.3f}", file=sys.stderr)

    pictures, labels = unseen(name)
    score("unseen real pictures", features_of(extractor, pictures[:n]))
    score("test pictures", features_of(extractor, open_data(name).split("test").images))
    for c, label in enumerate(extractor.classes):
        score(f"class {label} dropped", features_of(extractor, pictures[labels != c][:n]))
    for what, change in SPOILT.items():
        score(what, features_of(extractor, pictures[:n], change))
    few = max(2, n // 100)
    score(f"only {few} different pictures", features_of(extractor, pictures[:few].repeat(n // few, 1, 1, 1)))
    mean = pictures.float().mean(0, keepdim=True).round().to(torch.uint8)
    score("the mean picture alone", features_of(extractor, mean.repeat(n, 1, 1, 1)))
    rubbish = torch.randint(0, 256, pictures[:n].shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    score("random pixels", features_of(extractor, rubbish))
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
