"""What is it, and where: one object a picture, one network with two heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import DataInfo
from gentool.sampling import Detections

from .backbone import STRIDES, Backbone
from .boxes import clip
from .detecting import Detecting, Found
from .grid import Grid, make_grid

if TYPE_CHECKING:
    from .configs import SingleObjectConfig


@dataclass(frozen=True)
class Answer:
    """What is said of N pictures, float32. logits: (N, classes); boxes: (N, 4), x1 y1 x2 y2 as shares of the picture's
    sides; sure: (N, places) of the grid, -inf outside of the picture."""

    logits: Tensor
    boxes: Tensor
    sure: Tensor
    grid: Grid


class SingleObject(Detecting, nn.Module):
    """images (N, 3, H, W) -> `Answer`: what the object is and its box.

    Every place i of the features says, for itself, what the object is (logits c_i) and where its sides are from there
    (d_i, in strides), and how well it can tell (s_i). The picture's answer is the mean of these by a = softmax(s):

        c = sum_i a_i c_i,    b = sum_i a_i (p_i -+ d_i) with the place p_i.

    So the network need not learn anew for every part of the picture what an object looks like there, nor what its place
    in the picture is: it looks where the object is, and answers from there.
    """

    conditional = False

    def __init__(self, config: SingleObjectConfig, info: DataInfo):
        super().__init__()
        self.prepare(config, info)
        self.stride = config.stride
        self.backbone = Backbone(3, config.widths, config.blocks, config.stride)
        self.hidden = nn.Conv2d(config.widths[STRIDES.index(config.stride)], config.hidden, 1)
        self.classes = nn.Conv2d(config.hidden, len(info.classes), 1)
        self.box = nn.Conv2d(config.hidden, 4, 1)
        self.sure = nn.Conv2d(config.hidden, 1, 1)
        for last, start in ((self.classes, 0.0), (self.box, 1.0), (self.sure, 0.0)):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.constant_(last.bias, start)  # type: ignore[arg-type]
        self.begin()

    def predict(self, images: Tensor, size: Tensor) -> Answer:
        maps, places = self.backbone(images, size)
        grid = make_grid(places, (self.stride,))
        x = F.relu(self.hidden(maps[self.stride]))
        classes, sides, sure = (head(x).float().flatten(2) for head in (self.classes, self.box, self.sure))
        sure = sure.masked_fill(~grid.inside[:, None], -torch.inf)
        share = sure.softmax(2)
        point = grid.points.T.repeat(2, 1)  # (4, places)
        outward = sides.new_tensor([-1.0, -1.0, 1.0, 1.0])[:, None] * self.stride
        box = ((point + outward * sides) * share).sum(2)
        return Answer((classes * share).sum(2), box / size.flip(1).repeat(1, 2), sure[:, 0], grid)

    def find(self, images: Tensor, size: Tensor, found: Found) -> list[Detections]:
        answer = self.predict(images, size)
        scores, labels = answer.logits.softmax(1).max(1)
        pixels = answer.boxes * size.flip(1).repeat(1, 2)
        results = []
        for box, score, label, one in zip(pixels, scores, labels, size, strict=True):
            box = clip(
                torch.cat((torch.minimum(box[:2], box[2:]), torch.maximum(box[:2], box[2:])))[None], (one[0], one[1])
            )
            keep = slice(0, 1 if score > found.threshold and found.limit else 0)
            results.append(Detections(box[keep].float(), score[None][keep], label[None][keep]))
        return results

    def facts(self) -> dict[str, float | str]:
        return {**self.sizes(), "stride": self.stride}
