"""Fit a data set's classifier, take its reference statistics, and write both with a card.

    python -m gentool_metrics.train_extractor fashion-mnist --minutes 3      # or --steps N: repeatable

The classifier learns from the training pictures at even places alone. Those at odd places, which it has never seen, are
the reference: so that unseen real pictures, and samples, meet it as the reference did, and the floor is near zero. (A
classifier is surer of the pictures it has learnt; a reference of those would hold that against every other picture.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gentool.data.config import DataConfig
from gentool.data.pipeline import Pipeline, open_pipeline
from gentool_metrics.augmentation import flips, no_augmentation
from gentool_metrics.distances import frechet_distance
from gentool_metrics.extractor import TOTAL_VARIANCE, FeatureNet, NetConfig, fit
from gentool_metrics.features import CHECKPOINTS, Collected, Extractor
from gentool_metrics.matching import ROWS


@dataclass(frozen=True)
class Recipe:
    """How a data set's classifier is made; standard_n: the N its distances are to be taken at."""

    widths: tuple[int, ...]
    features: int = 64
    steps: int = 3000
    augment: Callable[[Tensor, torch.Generator], Tensor] = no_augmentation
    standard_n: int = 10_000
    pixels: tuple[str, ...] = ("grey",)
    held_out: tuple[str, ...] = ("test",)


# standard_n of digits: there are 360 pictures outside its training split, and a floor has to be of the same N.
RECIPES = {
    "mnist": Recipe((16, 48, 64), steps=1000, pixels=("grey", "stochastic")),
    "fashion-mnist": Recipe((16, 48, 64), steps=1500, pixels=("grey", "stochastic")),
    "cifar10": Recipe((32, 64, 96, 96), steps=1600, augment=flips),
    "digits": Recipe(
        (32, 64),
        steps=600,
        standard_n=360,
        pixels=("grey", "stochastic"),
        held_out=("test", "validation"),
    ),
}


def open_data(name: str, pixels: str = "grey") -> Pipeline:
    """The data set as samples are compared with it."""
    return open_pipeline(DataConfig(name=name, binarize="none" if pixels == "grey" else "stochastic"))


def fitting_half(count: int) -> Tensor:
    """Places of the pictures the classifier learns from."""
    return torch.arange(0, count, 2)


def collect(extractor: Extractor, pipeline: Pipeline, splits: tuple[str, ...], parity: int | None = None) -> Collected:
    """Features of splits, or of the pictures at odd (1) or even (0) places alone."""
    found = Collected.empty(extractor, ROWS)
    for split in splits:
        for batch in pipeline.batches(split, 1000):
            assert batch.images is not None
            found.add(extractor, batch.images if parity is None else batch.images[parity::2])
    return found


def accuracy(extractor: Extractor, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 pictures put in their class."""
    right = 0
    for x, y in zip(torch.split(images, 1000), torch.split(labels, 1000), strict=True):
        right += int((extractor(x.float() / 127.5 - 1)[1].argmax(1) == y).sum())
    return right / len(images)


def make(name: str, out: Path, *, steps: int | None, minutes: float | None, seed: int) -> dict[str, Any]:
    """Everything that ships for one data set, written to `out`; gives the card."""
    recipe, data = RECIPES[name], open_data(name)
    train, image = data.split("train"), data.info.image
    assert image is not None
    assert train.labels is not None
    if steps is None and minutes is None:
        steps = recipe.steps
    torch.manual_seed(seed)
    net = FeatureNet(NetConfig(image=image, classes=len(train.classes), widths=recipe.widths, features=recipe.features))
    half = fitting_half(len(train))
    fitted = fit(
        net,
        train.images[half],
        train.labels[half],
        augment=recipe.augment,
        steps=steps,
        minutes=minutes,
        seed=seed,
        report=lambda text: print(f"{name}: {text}", file=sys.stderr),
    )
    begun = time.process_time()
    card: dict[str, Any] = {
        "dataset": name,
        "classes": list(train.classes),
        "net": net.config.to_json(),
        "parameters": sum(p.numel() for p in net.parameters()),
        "standard_n": recipe.standard_n,
        "fitted_on": f"{len(half)} training pictures at even places",
        "steps": fitted.steps,
        "cpu_seconds": round(fitted.cpu_seconds, 1),
        "device": "CPU, one thread",
        "command": f"python -m gentool_metrics.train_extractor {name} --steps {fitted.steps} --seed {seed}",
        "torch": torch.__version__,
    }
    out.mkdir(parents=True, exist_ok=True)
    probe = Extractor(net, card, "")
    spread = collect(probe, data, ("train",), parity=1).moments.covariance.trace()
    net.rescale(float((TOTAL_VARIANCE / spread).sqrt()))
    # In fp16 as they ship, and read back: the statistics are those of the weights a user has.
    weights = out / f"{name}.safetensors"
    _save({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, weights)
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()})
    extractor = Extractor(net, card, "")

    test = data.split("test")
    assert test.labels is not None
    card["accuracy_test"] = round(accuracy(extractor, test.images, test.labels), 4)
    unseen = torch.arange(1, len(train), 2)
    card["accuracy_reference"] = round(accuracy(extractor, train.images[unseen], train.labels[unseen]), 4)
    card["sha256"] = {"weights": _digest(weights)}
    card["reference"] = {}
    for pixels in recipe.pixels:
        source = data if pixels == "grey" else open_data(name, pixels)
        reference = collect(extractor, source, ("train",), parity=1)
        held_out = collect(extractor, source, recipe.held_out)
        path = out / f"{name}.{pixels}.safetensors"
        _save(
            {
                "mean": reference.moments.mean,
                "covariance": reference.moments.covariance.contiguous(),
                "rows": reference.features.half(),
                "held_out": held_out.features.half(),
                "histogram": reference.counts,
            },
            path,
        )
        card["sha256"][pixels] = _digest(path)
        card["reference"][pixels] = {
            "count": reference.n,
            "pictures": f"{reference.n} training pictures at odd places",
            "rows": len(reference.features),
            "held_out": f"{held_out.n} of {' and '.join(recipe.held_out)}",
            "fid_floor": round(frechet_distance(held_out.moments, reference.moments), 4),
        }
        if pixels == "stochastic":
            grey = collect(extractor, data, ("train",), parity=1).moments
            card["reference"][pixels]["fid_from_grey"] = round(frechet_distance(held_out.moments, grey), 3)
    card["notes"] = _notes(name, card)
    card["statistics_cpu_seconds"] = round(time.process_time() - begun, 1)
    (out / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def _notes(name: str, card: dict[str, Any]) -> list[str]:
    """What a reader of a figure has to know of these features; each is said in every protocol."""
    binary = card["reference"].get("stochastic")
    if binary and binary["fid_from_grey"] < 40:
        return [
            f"{name} features see little of binarisation (binary test pictures score {binary['fid_from_grey']:.1f})"
        ]
    return []


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors leaves 0600


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gentool_metrics.train_extractor", description=__doc__.split("\n")[0]
    )
    parser.add_argument("dataset", choices=sorted(RECIPES))
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, help="training steps (default: the recipe's)")
    budget.add_argument("--minutes", type=float, help="CPU-minutes of training instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=CHECKPOINTS, help="folder to write to (default: the plugin's)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    card = make(given.dataset, given.out, steps=given.steps, minutes=given.minutes, seed=given.seed)
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
