"""What a detector looks at before it answers: `gentool viz detect --stages`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool import Batch, Partial, Samples, Step
from gentool.sampling import Detections
from gentool.show.boxes import draw_boxes
from gentool.show.pixels import to_bytes

from .assign import Truth, truths
from .boxes import best_overlap

SIDE = 320  # pixels a panel has at least, so that boxes can be told apart


@dataclass(frozen=True)
class Stage:
    """Boxes (P, 4) of one stage, best first; what they are called; which are matched, bool (P,), where it is not those
    that overlap a true box by an IoU of 0.5."""

    name: str
    boxes: Tensor
    matched: Tensor | None = None


def stages(
    model: Any,
    n: int,
    *,
    step: Step,
    given: Batch,
    labels: Tensor | None = None,
    most: int = 60,
    threshold: float = 0.3,
) -> Iterator[Partial | Samples]:
    """One picture several times: its true boxes, then the boxes of each stage, matched to one or not, then the answer."""
    assert given.images is not None
    images, size = given.images[:1], given.extra["size"][:1]
    height, width = size[0].tolist()
    picture = to_bytes(images)[0][:height, :width]
    factor = max(1, -(-SIDE // max(height, width)))
    truth = truths(given)[0]
    panels: list[Any] = []
    captions: list[str] = []

    def panel(caption: str, found: Detections, classes: tuple[str, ...] = ()) -> None:
        panels.append(draw_boxes(picture, found, classes, factor=factor, names=bool(classes)))
        captions.append(caption)

    known = len(truth.boxes) > 0
    if known:
        panel(f"{len(truth.boxes)} true boxes", Detections(truth.boxes, torch.ones(len(truth.boxes)), truth.labels),
              tuple(model.info.classes))  # fmt: skip
    for stage in model.stages(images, size, truth):
        panel(*shown(stage, truth, most, known=known))
    found = model.detect(images, size, threshold=threshold)[0]
    panel(f"{len(found)} detections", found, tuple(model.info.classes))
    page = torch.from_numpy(np.stack(panels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    title = (
        "true boxes, stages (orange: matched to a true box, cyan: not), detections" if known else "stages, detections"
    )
    yield Samples(images=page, columns=min(3, len(page)), captions=captions, title=title)


def shown(stage: Stage, truth: Truth, most: int, *, known: bool) -> tuple[str, Detections]:
    """A stage's caption and the boxes of it that are drawn: all that are matched, and of the others the first."""
    matched = best_overlap(stage.boxes, truth.boxes)[0] >= 0.5 if stage.matched is None else stage.matched
    yes, no = matched.nonzero()[:most, 0], (~matched).nonzero()[:, 0]
    no = no[torch.linspace(0, len(no) - 1, min(most, len(no)), device=no.device).long()]
    drawn = torch.cat((yes, no))
    label = torch.cat((torch.zeros_like(yes), torch.ones_like(no)))
    caption = f"{len(stage.boxes):,} {stage.name}" + (f", {int(matched.sum()):,} matched" if known else "")
    return caption, Detections(stage.boxes[drawn], torch.ones(len(drawn)), label)
