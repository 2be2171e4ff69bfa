"""Teacher forcing: each target token is predicted from the true ones before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Phase, Step

if TYPE_CHECKING:
    from gentool_seq2seq import TeacherForcingConfig


def smoothed(logits: Tensor, y: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """(loss, -log p(y)) of logits (M, V) and tokens y (M,), each (M,), nats, float32.

    loss = -(1 - epsilon) log p(y) - epsilon mean_v log p(v)   (Szegedy et al. 2016, section 7, uniform u)
    """
    log_p = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)
    at_y = log_p.gather(-1, y[:, None])[:, 0]
    if not epsilon:
        return -at_y, -at_y.detach()
    return -(1 - epsilon) * at_y - epsilon * log_p.mean(-1), -at_y.detach()


class TeacherForcing:
    """The mean over a batch's target tokens (<end> counted, padding not) of the smoothed cross-entropy."""

    def __init__(self, config: TeacherForcingConfig) -> None:
        self.epsilon = config.label_smoothing

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        target, mask = batch.extra["target"], batch.mask
        assert mask is not None
        memory, state = model.encode(batch.extra["source"], batch.extra["source_length"])
        o, _ = model.decode(target[:, :-1], memory, state)
        # Of what is filled in no logits are made: they are the dearest part.
        y = target[:, 1:][mask]
        logits = model.logits(o[mask])
        loss, nats = smoothed(logits, y, self.epsilon)
        with torch.no_grad():
            best = logits.amax(-1)  # vectorised on a CPU, as argmax is not
            right = (logits.gather(-1, y[:, None])[:, 0] == best).float().mean()
        yield Phase("model", loss.mean(), {"nats/token": nats.mean(), "right": right})
