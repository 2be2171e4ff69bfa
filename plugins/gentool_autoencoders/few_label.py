"""What an encoder is worth when labels are few: a classifier on its features against one trained from scratch.

For each number of labels a class, on the same labelled pictures and with the same test pictures:

    pixels        logistic regression on the pixels
    linear probe  logistic regression on the features, the encoder as it is
    scratch       encoder and head from a fresh start
    fine-tuned    the same from the trained encoder: BatchNorm and a linear head, the encoder at a lower rate

the last two also with random changes of the labelled pictures (`augment`: affine, and elastic as in Simard et al. 2003),
and then for thrice the steps, since each picture is another every time. The encoder was trained without labels on the
whole training split; the labels are a random choice, equally many of each class.
"""

from __future__ import annotations

import copy
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate

from gentool import Batch, Context, Curve, Report, Samples, Scalar, Step, UsageError
from gentool.randomness import derive_seed

if TYPE_CHECKING:
    from . import FewLabelConfig


EVERYTHING = sys.maxsize  # a limit that is none: --limit is about the test pictures


class Classifier(nn.Module):
    """features -> BatchNorm -> linear: (N, C, H, W) -> logits (N, classes)."""

    def __init__(self, model: Any, width: int, classes: int):
        super().__init__()
        self.body = model
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.norm(self.body.features(images)))


def warped(images: Tensor, step: Step) -> Tensor:
    """Each picture turned by up to 15 degrees, scaled by 0.85 to 1.15, sheared by up to 0.15, shifted by up to a tenth, and
    bent: every place moves by a smooth field (bicubic between the 5 x 5 places that are drawn) of up to 7.5 % of a side.
    """
    n = len(images)
    turn, size_x, size_y, shear, right, down = (step.uniform(n, 6, purpose="affine") * 2 - 1).T
    angle = turn * (math.pi / 12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    size_x, size_y, shear = 1 + 0.15 * size_x, 1 + 0.15 * size_y, 0.15 * shear
    first = torch.stack([cos * size_x, cos * shear - sin * size_y, 0.2 * right], 1)
    second = torch.stack([sin * size_x, sin * shear + cos * size_y, 0.2 * down], 1)
    grid = affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
    drawn = 0.15 * (step.uniform(n, 2, 5, 5, purpose="elastic") * 2 - 1)  # a side is 2 long
    field = interpolate(drawn, size=images.shape[-2:], mode="bicubic", align_corners=True)
    # Outside a picture is black (-1): sampled as 0 of the picture moved up by 1.
    return grid_sample(images + 1, grid + field.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False) - 1


def start_afresh(module: nn.Module) -> None:
    """New initial weights everywhere, from the default generator."""
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


def train_classifier(
    model: Any, x: Tensor, y: Tensor, classes: int, config: FewLabelConfig, step: Step, *, fresh: bool, augment: bool
) -> Classifier:
    """A classifier on a copy of `model`, from its encoder or from a fresh start."""
    torch.default_generator.manual_seed(derive_seed(step.seed, step.stream, step.index, "initial weights"))
    body = copy.deepcopy(model).requires_grad_(False)
    body.encoder.requires_grad_(True)
    if fresh:
        start_afresh(body.encoder)
    with torch.no_grad():
        width = body.features(x[:2]).shape[1]
    net = Classifier(body, width, classes).to(x.device).train()
    head = [*net.norm.parameters(), *net.linear.parameters()]
    groups = [
        {"params": list(body.encoder.parameters()), "lr": config.head_lr if fresh else config.encoder_lr},
        {"params": head, "lr": config.head_lr},
    ]
    peaks = [group["lr"] for group in groups]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    steps = config.steps if augment else math.ceil(config.steps / 3)
    with torch.enable_grad():
        for i in range(steps):
            now = step.at(i, stream=f"{step.stream}.{step.index}")
            chosen = now.generator("order")
            index = torch.randperm(len(x), generator=chosen, device=x.device)[: config.batch_size]
            images = warped(x[index], now) if augment else x[index]
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * 0.5 * (1 + math.cos(math.pi * i / steps))
            loss = cross_entropy(net(images), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net.eval()


def logistic(train: Tensor, y: Tensor, test: Tensor) -> Tensor:
    """Predictions of an L2-regularised logistic regression on standardised columns, (N,)."""
    from sklearn.linear_model import LogisticRegression

    mean, std = train.mean(0), train.std(0).clamp(min=1e-2)
    made = LogisticRegression(C=0.1, max_iter=1000)
    made.fit(((train - mean) / std).cpu().numpy(), y.cpu().numpy())
    return torch.as_tensor(made.predict(((test - mean) / std).cpu().numpy()))


class FewLabel:
    """Accuracy by method and number of labels, mean and standard error over the choices of labelled pictures."""

    def __init__(self, config: FewLabelConfig, context: Context):
        if not config.labels or min(config.labels) < 1:
            raise UsageError("few-label.labels are numbers of labelled pictures a class, such as [1, 10, 100].")
        if getattr(context.model, "conditional", False):
            raise UsageError("few-label: a class-conditional encoder reads the label it would have to guess.")
        self.config, self.context = config, context
        self.classes = len(context.info.classes)
        if self.classes < 2:
            raise UsageError(f"few-label needs at least two classes and '{context.dataset}' has {self.classes}.")

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        """Nothing streams here: `compute` goes through both splits itself."""

    def merge(self, other: Any) -> None:
        """One process does all of it."""

    def compute(self) -> Report:
        context = self.context
        test, truth = gather(context, context.split, context.limit)
        chosen = self.choose()
        x_all, y_all = gather(context, "train", EVERYTHING, torch.cat([i for sets in chosen.values() for i in sets]))
        found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        start = 0
        for number, (labels, index) in enumerate((k, i) for k, sets in chosen.items() for i in sets):
            x, y = x_all[start : start + len(index)], y_all[start : start + len(index)]
            start += len(index)
            for name, predicted in self.methods(x, y, test, context.step.at(number)):
                found[name][labels].append(float((predicted == truth.cpu()).double().mean()))
        return self.report(found, len(truth))

    def choose(self) -> dict[int, list[Tensor]]:
        """labels a class -> for each seed, places in the training split; a seed's larger sets hold its smaller ones."""
        y = torch.cat([b.labels for b in self.context.batches("train", limit=EVERYTHING) if b.labels is not None])
        fewest = int(torch.bincount(y, minlength=self.classes).min())
        wanted = [k for k in self.config.labels if k <= fewest]
        if not wanted:
            raise UsageError(
                f"few-label: a class of '{self.context.dataset}' has {fewest} training pictures, fewer than "
                f"{min(self.config.labels)}: set few-label.labels to less."
            )
        orders = []
        for seed in range(self.config.seeds):
            order = torch.argsort(self.context.step.at(seed).uniform(len(y), purpose="labelled"))
            orders.append([order[y[order] == c] for c in range(self.classes)])
        return {k: [torch.cat([places[:k] for places in order]) for order in orders] for k in wanted}

    def methods(self, x: Tensor, y: Tensor, test: Tensor, step: Step) -> Iterator[tuple[str, Tensor]]:
        """(name, predictions (N,) on the CPU) of every method."""
        model: Any = self.context.model
        yield "pixels", logistic(x.flatten(1), y, test.flatten(1))
        yield "linear probe", logistic(features(model, x), y, features(model, test))
        for augment in (False, True) if self.config.augment else (False,):
            for fresh in (True, False):
                net = train_classifier(model, x, y, self.classes, self.config, step, fresh=fresh, augment=augment)
                name = ("scratch" if fresh else "fine-tuned") + (", augmented" if augment else "")
                with torch.no_grad():
                    yield name, torch.cat([net(part).argmax(1).cpu() for part in test.split(500)])

    def report(self, found: dict[str, dict[int, list[float]]], n: int) -> Report:
        """One row for each method, one column for each number of labels, and the same as curves."""
        table, scalars, curves = [], [], []
        for name, by_labels in found.items():
            row: dict[str, object] = {"method": name}
            for labels, values in by_labels.items():
                mean = sum(values) / len(values)
                error = _standard_error(values)
                row[f"{labels} a class"] = f"{mean:.3f}" + (f" ± {error:.3f}" if error is not None else "")
                scalars.append(Scalar(f"{name}, {labels} a class", mean, "", error))
            table.append(row)
            curves.append(Curve(name, list(by_labels), [sum(v) / len(v) for v in by_labels.values()]))
        config, context = self.config, self.context
        return Report(
            name="few-label",
            scalars=scalars,
            table=table,
            curves=curves if len(curves[0].x) > 1 else [],
            axes=("labelled pictures a class", "accuracy"),
            protocol=f"accuracy on {context.dataset} {context.split}, N={n}; labelled pictures drawn from train, "
            f"equally many of {self.classes} classes, {config.seeds} draws; {config.steps} steps of {config.batch_size}; "
            "the encoder saw the training split without labels",
        )


def _standard_error(values: list[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


@torch.no_grad()
def features(model: Any, images: Tensor) -> Tensor:
    """Features of the trained encoder, (N, D)."""
    return torch.cat([model.features(part).float() for part in images.split(500)])


def gather(context: Context, split: str, limit: int | None, places: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(images, labels) of a split, or of the given places in it, in their order."""
    images, labels, at = [], [], 0
    wanted = None if places is None else places.cpu().sort()
    for batch in context.batches(split, limit=limit):
        if batch.images is None or batch.labels is None:
            raise UsageError(f"few-label needs pictures with labels, and '{context.dataset}' has none.")
        if wanted is None:
            images.append(batch.images)
            labels.append(batch.labels)
        else:
            first, last = torch.searchsorted(wanted.values, torch.tensor([at, at + len(batch)])).tolist()
            here = (wanted.values[first:last] - at).to(batch.images.device)
            images.append(batch.images[here])
            labels.append(batch.labels[here])
        at += len(batch)
    if not images:
        raise UsageError(f"The split '{split}' of '{context.dataset}' is empty.")
    x, y = torch.cat(images), torch.cat(labels)
    if wanted is not None:
        back = torch.argsort(wanted.indices).to(x.device)
        x, y = x[back], y[back]
    return x, y
