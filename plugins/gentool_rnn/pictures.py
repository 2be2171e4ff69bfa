"""`sequence`: a picture as a sequence of steps, and the three tasks that differ only in which steps are read and scored.

many-to-one    reads all of the picture; the class after the last step is scored
many-to-many   the same, the class after every step: an answer that gets better while it reads
one-to-many    reads the class, then what it has given out itself; every step of the picture is scored: p(picture | class).
               Its classifier is Bayes' rule: p(class | picture) is proportional to p(picture | class)

A clip is a picture whose channels are its frames: read frame by frame, it is a video (Donahue et al. 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import DataInfo, UsageError

from .backbone import build

if TYPE_CHECKING:
    from .configs import SequenceConfig

ORDER_SEED = 92916  # of the one permutation, the same in every run, so that figures are comparable


class Frames(nn.Module):
    """What of each frame goes on to the steps' net: (N, T, H W) -> (N, T, features), by convolutions over it alone."""

    def __init__(self, height: int, width: int, features: int):
        super().__init__()
        self.size = (1, height, width)
        self.first = nn.Conv2d(1, 16, 5, stride=2, padding=2)
        self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.linear = nn.Linear(32 * -(-height // 4) * -(-width // 4), features)

    def forward(self, steps: Tensor) -> Tensor:
        x = F.relu(self.first(steps.reshape(-1, *self.size)))
        x = F.relu(self.second(x)).flatten(1)
        return F.relu(self.linear(x)).view(*steps.shape[:2], -1)


class Sequence(nn.Module):
    """images (N, C, H, W) as T steps of F numbers: rows (H of C W), pixels (H W of C), perhaps in a shuffled order, or
    frames (C of H W)."""

    order: Tensor

    def __init__(self, config: SequenceConfig, info: DataInfo):
        super().__init__()
        self.config, self.info, self.conditional = config, info, False
        if info.image is None or not info.classes:
            raise UsageError(f"'sequence' reads pictures with classes, which '{info.name}' does not have.")
        channels, height, width = info.image
        self.classes = len(info.classes)
        pixels = height * width
        # T steps of F numbers
        self.count, self.features = {"rows": (height, channels * width), "frames": (channels, pixels)}.get(
            config.steps, (pixels, channels)
        )
        order = torch.arange(self.count)
        if config.steps == "permuted":
            order = torch.randperm(self.count, generator=torch.Generator().manual_seed(ORDER_SEED))
        self.register_buffer("order", order)
        self.emits = config.task == "one-to-many"
        seen = self.features + (self.classes if self.emits else 0)
        self.enter: nn.Module = nn.Identity()
        if config.steps == "frames" and not self.emits:
            self.enter, seen = Frames(height, width, config.hidden), config.hidden
        self.backbone = build(config, seen)
        self.head = nn.Linear(self.backbone.width, self.features if self.emits else self.classes)

    def facts(self) -> dict[str, float | str]:
        """What `gentool runs compare` puts side by side."""
        return self.backbone.facts()

    # -- pictures and steps -----------------------------------------------------------------------------------------

    def to_steps(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, T, F)."""
        if self.config.steps == "rows":
            return images.permute(0, 2, 1, 3).flatten(2)
        if self.config.steps == "frames":
            return images.flatten(2)
        return images.flatten(2).transpose(1, 2)[:, self.order]

    def to_images(self, steps: Tensor) -> Tensor:
        """The inverse of `to_steps`."""
        assert self.info.image is not None
        channels, height, width = self.info.image
        if self.config.steps == "rows":
            return steps.view(-1, height, channels, width).permute(0, 2, 1, 3)
        if self.config.steps == "frames":
            return steps.view(-1, channels, height, width)
        back = torch.empty_like(steps)
        back[:, self.order] = steps
        return back.transpose(1, 2).reshape(-1, channels, height, width)

    # -- reading: the class ------------------------------------------------------------------------------------------

    def step_logits(self, images: Tensor) -> Tensor:
        """The class's logits after each step, (N, T, classes): log p(what was read | class) for one-to-many."""
        if self.emits:
            per_class = [
                self.log_prob_steps(images, torch.full((len(images),), y, device=images.device))
                for y in range(self.classes)
            ]
            return torch.stack(per_class, 2).cumsum(1)
        features, _ = self.backbone(self.enter(self.to_steps(images)), self.backbone.start(len(images)))
        logits: Tensor = self.head(self._drop(features))
        return logits

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes), after the last step."""
        if self.emits:
            return self.step_logits(images)[:, -1]
        logits: Tensor = self.head(self._drop(self.backbone.last(self.enter(self.to_steps(images)))))
        return logits

    def _drop(self, features: Tensor) -> Tensor:
        return F.dropout(features, self.config.dropout, self.training)

    # -- writing: the picture -----------------------------------------------------------------------------------------

    def log_prob_steps(self, images: Tensor, labels: Tensor) -> Tensor:
        """log p(x_t | x_<t, class), (N, T), in nats: every number of a step Bernoulli, as a grey from black to white."""
        x = self.to_steps(images)
        first = torch.cat([x.new_zeros(len(x), self.features), F.one_hot(labels, self.classes).to(x.dtype)], 1)
        later = F.pad(x[:, :-1], (0, self.classes))
        features, _ = self.backbone(torch.cat([first[:, None], later], 1), self.backbone.start(len(x)))
        logits = self.head(self._drop(features))
        return -F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="none").sum(2)

    def emit(self, labels: Tensor, uniform: Tensor) -> Tensor:
        """Pictures (N, C, H, W) of -1 and 1 for labels (N,), step after step, by uniform numbers (N, T, F)."""
        state = self.backbone.start(len(labels))
        x = torch.cat([uniform.new_zeros(len(labels), self.features), F.one_hot(labels, self.classes).to(uniform)], 1)
        steps = []
        for u in uniform.unbind(1):
            features, state = self.backbone(x[:, None], state)
            white = u < torch.sigmoid(self.head(features[:, 0]))
            steps.append(white.to(uniform.dtype) * 2 - 1)
            x = F.pad(steps[-1], (0, self.classes))
        return self.to_images(torch.stack(steps, 1))
