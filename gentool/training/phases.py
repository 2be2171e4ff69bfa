"""An objective is a generator of phases; the trainer updates after each one, then resumes the generator."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from gentool.data.batch import Batch
    from gentool.randomness import Step


@dataclass
class Phase:
    """One update: minimise `loss` over the parameters of the submodule `name` (``"model"``: of the whole model).

    loss: a scalar tensor. scalars: what else is worth logging, plain numbers or 0-dimensional tensors (detached).
    progress: the share of this phase's own budget that is spent, for the schedule, where a phase is trained in a part
    of the run alone; None: the run's.
    """

    name: str
    loss: Tensor
    scalars: Mapping[str, Tensor | float] = field(default_factory=dict)
    progress: float | None = None


class Objective(Protocol):
    """What `LossSpec.factory(config)` makes."""

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]: ...


@dataclass(frozen=True)
class Like:
    """Which steps are alike: those of one `key`. `progress`: of each phase that has its own, as in `Phase.progress`."""

    key: Hashable = None
    progress: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Alike(Protocol):
    """An objective that reads `step.index` or `step.progress`, and says what of it is the same from step to step, so that
    steps can be recorded once and replayed (`gentool.training.graphs`). Others' steps are all alike."""

    def alike(self, step: Step) -> Like | None:
        """Steps of one key make the same operations, and no number but their batch, their draws, the learning rate and
        `Phase.progress` differs. None: this step is like no other."""


@runtime_checkable
class Stateful(Protocol):
    """An objective that carries something from step to step, such as the hidden state of a recurrent net (truncated
    back-propagation through time). The trainer keeps it in every checkpoint and puts it aside while it validates."""

    def carry(self) -> Mapping[str, Tensor]:
        """What is carried, detached; empty before the first step."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `carry` gave; from nothing where it is empty."""
