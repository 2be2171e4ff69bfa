"""Objectives.

next-token   -log p(x_t | x_<t), the gradient cut off every so many steps: truncated back-propagation through time
             (Williams & Peng 1990; Mikolov et al. 2010), the state carried on over the cuts and from batch to batch
steps        -log p of whatever steps the task of a `sequence` scores
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool import Batch, Phase, Step, UsageError

if TYPE_CHECKING:
    from gentool.specs import NoConfig

    from .configs import NextTokenConfig
    from .pictures import Sequence


def wide(logits: Tensor) -> Tensor:
    """Logits in float32 at least: log-sum-exp in bfloat16 loses what a loss is about."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _rows(batch: Batch) -> range | None:
    """Which rows of the text's streams a batch holds; they are consecutive."""
    if batch.rows is not None or batch.index is None:
        return batch.rows
    return range(int(batch.index[0]), int(batch.index[-1]) + 1)


class NextToken:
    """L = mean_t -log p(x_{t+1} | x_1 ... x_t) in nats a token, one update a chunk of steps.

    What it carries is the state behind the last token of each row, which the next batch goes on from.
    """

    def __init__(self, config: NextTokenConfig):
        self.config = config
        self._state: dict[str, Tensor] = {}

    def carry(self) -> dict[str, Tensor]:
        """The state of every row, to be kept in a checkpoint."""
        return dict(self._state)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `carry` gave; from nothing, every row begins anew."""
        self._state = dict(tensors)

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.tokens is None:
            raise UsageError("This objective needs text: choose a text data set with --data.")
        chunk = self.config.chunk or batch.inputs.shape[1]
        state = self._take(batch)
        for x, target in zip(torch.split(batch.inputs, chunk, 1), torch.split(batch.targets, chunk, 1), strict=True):
            logits, state = model.advance(x, state)
            state = model.detach(state)
            self._keep(batch, state)  # before the update: nobody need come back for it
            scored = (target >= 0).sum()
            loss = F.cross_entropy(wide(logits).flatten(0, 1), target.flatten(), reduction="sum")
            yield Phase("model", loss / scored.clamp(min=1))

    def _take(self, batch: Batch) -> dict[str, Tensor] | None:
        """The state of the batch's rows, of zeros where a stream begins anew; None where all do."""
        rows = _rows(batch)
        if rows is None or not self._state or rows.stop > len(next(iter(self._state.values()))):
            return None
        state = {name: part[rows.start : rows.stop] for name, part in self._state.items()}
        if batch.fresh is None:
            return state
        begins = batch.fresh
        return {name: part.masked_fill(begins.view(-1, *[1] * (part.dim() - 1)), 0) for name, part in state.items()}

    def _keep(self, batch: Batch, state: Mapping[str, Tensor]) -> None:
        rows = _rows(batch)
        if rows is None:
            return
        there = max((len(part) for part in self._state.values()), default=0)
        if len(rows) == max(there, rows.stop):  # all rows there are
            self._state = {name: part.contiguous() for name, part in state.items()}
            return
        for name, part in state.items():
            room = part.new_zeros(max(there, rows.stop), *part.shape[1:])
            if there:
                room[:there] = self._state[name]
            room[rows.start : rows.stop] = part
            self._state[name] = room


class Steps:
    """Cross-entropy of the scored steps: the class after the last or after every step, or the picture given the class."""

    def __init__(self, config: NoConfig):
        self.config = config

    def __call__(self, model: Sequence, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.images is None or batch.labels is None:
            raise UsageError("This objective needs pictures with classes: choose such a data set with --data.")
        x, y = batch.images, batch.labels
        if model.emits:
            nats = -model.log_prob_steps(x, y).sum(1).mean()
            yield Phase("model", nats / x[0].numel(), {"nats": nats.detach()})
            return
        if model.config.task == "many-to-one":
            last = model.logits(x)
            loss = F.cross_entropy(wide(last), y)
        else:
            each = model.step_logits(x)
            last = each[:, -1]
            loss = F.cross_entropy(wide(each).flatten(0, 1), y.repeat_interleave(each.shape[1]))
        with torch.no_grad():
            right = (last.argmax(1) == y).float().mean()
        yield Phase("model", loss, {"accuracy": right})
