"""Fit a data set's classifier, take its reference statistics, and write both with a card.

    python -m gentool_metrics.train_extractor fashion-mnist --minutes 3      # or --steps N: repeatable
    python -m gentool_metrics.train_extractor fashion-mnist --statistics     # of the weights that are there

The classifier learns from the training pictures at even places alone. Those at odd places, which it has never seen, are
the reference, but for 10,000 that are held out: the floor. (A classifier is surer of the pictures it has learnt; a
reference of those would hold that against every other picture. And the floor is of training pictures, because the test
set of mnist is by other writers: it scores more than a generator of perfect training pictures would.)
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
from gentool.data.sets import scramble
from gentool_metrics.augmentation import flips, no_augmentation
from gentool_metrics.distances import frechet_distance
from gentool_metrics.extractor import TOTAL_VARIANCE, FeatureNet, NetConfig, fit
from gentool_metrics.features import CHECKPOINTS, Extractor
from gentool_metrics.matching import ROWS
from gentool_metrics.moments import Moments


@dataclass(frozen=True)
class Recipe:
    """How a data set's classifier is made; standard_n: the N its distances are to be taken at."""

    widths: tuple[int, ...]
    features: int = 64
    steps: int = 3000
    augment: Callable[[Tensor, torch.Generator], Tensor] = no_augmentation
    standard_n: int = 10_000
    pixels: tuple[str, ...] = ("grey",)
    held_out: tuple[str, ...] = ()  # splits that are the floor; none: standard_n of the pictures at odd places


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


def fitting_places(count: int) -> Tensor:
    """Places of the training pictures the classifier learns from."""
    return torch.arange(0, count, 2)


def unseen_places(count: int, held_out: int) -> tuple[Tensor, Tensor]:
    """(reference, held out): the other training pictures, shuffled once and for all."""
    odd = torch.arange(1, count, 2)
    odd = odd[torch.from_numpy(scramble(len(odd), salt=3))]
    return odd[held_out:], odd[:held_out]


def reference_places(name: str, train: int) -> tuple[Tensor, Tensor]:
    """`unseen_places` by the recipe of a data set with so many training pictures."""
    recipe = RECIPES[name]
    return unseen_places(train, 0 if recipe.held_out else recipe.standard_n)


def read(extractor: Extractor, pipeline: Pipeline, split: str) -> tuple[Tensor, Tensor]:
    """(features (N, D), predicted classes (N,)) of a split, in its order."""
    features, predicted = [], []
    for batch in pipeline.batches(split, 1000):
        found, logits = extractor(batch.images)  # type: ignore[arg-type]
        features.append(found)
        predicted.append(logits.argmax(1))
    return torch.cat(features), torch.cat(predicted)


def fit_weights(name: str, out: Path, *, steps: int | None, minutes: float | None, seed: int) -> dict[str, Any]:
    """Fit the classifier and write its weights, in fp16; gives the card so far."""
    recipe, data = RECIPES[name], open_data(name)
    train, image = data.split("train"), data.info.image
    assert image is not None
    assert train.labels is not None
    if steps is None and minutes is None:
        steps = recipe.steps
    torch.manual_seed(seed)
    net = FeatureNet(NetConfig(image=image, classes=len(train.classes), widths=recipe.widths, features=recipe.features))
    places = fitting_places(len(train))
    fitted = fit(
        net,
        train.images[places],
        train.labels[places],
        augment=recipe.augment,
        steps=steps,
        minutes=minutes,
        seed=seed,
        report=lambda text: print(f"{name}: {text}", file=sys.stderr),
    )
    card: dict[str, Any] = {
        "dataset": name,
        "classes": list(train.classes),
        "net": net.config.to_json(),
        "parameters": sum(p.numel() for p in net.parameters()),
        "standard_n": recipe.standard_n,
        "fitted_on": f"{len(places)} training pictures at even places",
        "steps": fitted.steps,
        "cpu_seconds": round(fitted.cpu_seconds, 1),
        "device": "CPU, one thread",
        "command": f"python -m gentool_metrics.train_extractor {name} --steps {fitted.steps} --seed {seed}",
        "torch": torch.__version__,
    }
    reference, _ = reference_places(name, len(train))
    features, _ = read(Extractor(net, card, ""), data, "train")
    spread = Moments.of(features[reference]).covariance.trace()
    net.rescale(float((TOTAL_VARIANCE / spread).sqrt()))
    out.mkdir(parents=True, exist_ok=True)
    _save(
        {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, out / f"{name}.safetensors"
    )
    return card


def take_statistics(name: str, out: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Accuracies and reference statistics of the weights as they ship (fp16, read back), written with the card."""
    recipe, weights = RECIPES[name], out / f"{name}.safetensors"
    net = FeatureNet(NetConfig.from_json(card["net"]))
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()})
    extractor = Extractor(net, card, "")
    begun = time.process_time()
    card = {**card, "sha256": {"weights": _digest(weights)}, "reference": {}}
    for pixels in recipe.pixels:
        data = open_data(name, pixels)
        train, test = data.split("train"), data.split("test")
        features, predicted = read(extractor, data, "train")
        tested, guessed = read(extractor, data, "test")
        reference, held = reference_places(name, len(features))
        held_out = features[held]
        if recipe.held_out:
            held_out = torch.cat([read(extractor, data, split)[0] for split in recipe.held_out])
        moments = Moments.of(features[reference])
        path = out / f"{name}.{pixels}.safetensors"
        _save(
            {
                "mean": moments.mean,
                "covariance": moments.covariance.contiguous(),
                "rows": features[reference[:ROWS]].half(),
                "held_out": held_out.half(),
                "histogram": torch.bincount(predicted[reference], minlength=len(card["classes"])),
            },
            path,
        )
        card["sha256"][pixels] = _digest(path)
        card["reference"][pixels] = {
            "count": moments.n,
            "rows": min(ROWS, moments.n),
            "held_out": len(held_out),
            "held_out_from": " and ".join(recipe.held_out) or "training pictures at odd places",
            "fid_floor": round(frechet_distance(Moments.of(held_out), moments), 4),
            "fid_test": round(frechet_distance(Moments.of(tested), moments), 4),
            "test": len(tested),
        }
        if pixels == "grey":
            assert train.labels is not None
            assert test.labels is not None
            card["accuracy_test"] = _share(guessed == test.labels)
            card["accuracy_reference"] = _share(predicted[reference] == train.labels[reference])
            grey = moments
        else:
            card["reference"][pixels]["fid_from_grey"] = round(frechet_distance(Moments.of(held_out), grey), 3)
    card["notes"] = _notes(name, card)
    card["statistics_cpu_seconds"] = round(time.process_time() - begun, 1)
    (out / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def _share(right: Tensor) -> float:
    return round(float(right.double().mean()), 4)


def _notes(name: str, card: dict[str, Any]) -> list[str]:
    """What a reader of a figure has to know of these features; each is said in every protocol."""
    binary = card["reference"].get("stochastic")
    if binary and binary["fid_from_grey"] < 40:
        return [f"{name} features see little of binarisation (binary pictures score {binary['fid_from_grey']:.1f})"]
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
    parser.add_argument("--statistics", action="store_true", help="keep the weights; take the statistics again")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    name, out = given.dataset, given.out
    if given.statistics:
        card = json.loads((out / f"{name}.json").read_text())
    else:
        card = fit_weights(name, out, steps=given.steps, minutes=given.minutes, seed=given.seed)
    card = take_statistics(name, out, card)
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
