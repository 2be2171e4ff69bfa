"""Which classifier's features, and which reference pictures, fit what is evaluated."""

from __future__ import annotations

import math

import torch

from gentool.errors import GentoolError, UsageError, did_you_mean
from gentool.evaluating import Context
from gentool.show.text import safe_text
from gentool_metrics.features import Collected, Extractor, Reference, available, load_extractor

ALL = 1 << 62  # as a limit: all there is, whatever the user's --limit for the scored split
ROWS = 10_000  # reference rows kept for neighbours and kernels


def dataset_name(context: Context) -> str:
    """The data set's own name where an alias was used."""
    from gentool.registry import registry

    try:
        spec, argument = registry().find_dataset(context.dataset)
    except GentoolError:  # scored far from where it was trained: the name is all there is
        return context.dataset
    return spec.name if not argument else context.dataset


def choose_extractor(context: Context, wanted: str = "") -> Extractor:
    """The classifier named, or the data set's own, or else the one whose pictures are nearest in size.

    A difference in the number of channels is refused: there is no fair way to make three of one.
    """
    cards = available()
    image = context.info.image
    if image is None:
        raise UsageError(f"'{context.model_name}' gives no pictures to compare.")
    name = wanted or dataset_name(context)
    if wanted and wanted not in cards:
        raise UsageError(f"No classifier ships for '{safe_text(wanted)[:60]}'.{did_you_mean(wanted, cards)}")
    sizes = {known: card["net"]["image"] for known, card in cards.items()}
    if name not in sizes or (not wanted and sizes[name][0] != image[0]):
        # fashion-mnist before mnist: its features see grey values, mnist's hardly do
        order = sorted(sizes, key=lambda known: (known == "mnist", known))
        same = [known for known in order if sizes[known][0] == image[0]]
        if not same:
            there = ", ".join(f"{known} {_shape(size)}" for known, size in sizes.items())
            raise UsageError(
                f"No classifier ships for pictures of {image[0]} channels (there is {there}); "
                "train and score with data.channels=1 or 3."
            )
        name = min(same, key=lambda known: abs(math.log(sizes[known][1] * sizes[known][2] / (image[1] * image[2]))))
    if sizes[name][0] != image[0]:
        raise UsageError(
            f"The {name} classifier reads {sizes[name][0]} channel(s), but '{context.model_name}' makes pictures of "
            f"{_shape(image)}; name another extractor, or leave it to be chosen."
        )
    return load_extractor(name, context.device)


def choose_reference(context: Context, extractor: Extractor, two_valued: bool) -> Reference:
    """The shipped statistics where they are of the same data and pixels; else those of the data at hand."""
    own = dataset_name(context) == extractor.name and context.info.image == extractor.image
    binarize = str(context.info.extra.get("binarize", "none"))
    if own and not two_valued and context.info.levels in (2, 256):
        return extractor.reference("grey")
    if own and two_valued and binarize in ("stochastic", "fixed") and "stochastic" in extractor.card["reference"]:
        return extractor.reference("stochastic")
    return reference_of_data(context, extractor)


def reference_of_data(context: Context, extractor: Extractor) -> Reference:
    """Statistics of the training split as the model sees it; held out: the test split, if there is one."""
    train, test = Collected.empty(extractor, ROWS), Collected.empty(extractor, ROWS)
    with torch.no_grad():
        for batch in context.batches("train", limit=ALL):
            assert batch.images is not None
            train.add(extractor, batch.images)
        for batch in context.batches("test", limit=ROWS):
            assert batch.images is not None
            test.add(extractor, batch.images)
    if train.n < 2:
        raise UsageError(f"'{safe_text(context.dataset)}' has too few training pictures to compare samples with.")
    levels = {2: "binarised as in training"}.get(context.info.levels, f"{context.info.levels} levels")
    return Reference(
        what=f"{train.n:,} training pictures of {safe_text(context.dataset)} ({levels})",
        moments=train.moments,
        rows=train.features,
        held_out=test.features,
        histogram=train.counts.double(),
    )


def _shape(image: tuple[int, ...] | list[int]) -> str:
    return "x".join(str(side) for side in image)
