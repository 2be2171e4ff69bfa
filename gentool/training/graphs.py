"""Training steps as CUDA graphs: what a step launches is recorded once and launched again as one, without Python between.

A step can be recorded when, but for its numbers, it does the same every time. So

    its batch is copied into tensors that stay, and its draws too: they are made before each replay, from the step's own
    derived seeds, so that a replayed step is bitwise the step that Python would have made;
    its learning rates are tensors, filled before each replay;
    what a stateful objective carries (the hidden state of a recurrent net) is carried in tensors that stay;
    dropout needs nothing: a replay reads the seed of the device's default generator, as every step sets it.

The first steps of a run are made by Python and watched; what cannot be recorded is noticed there, or when the recording
fails, and the run goes on without a graph, and says why. An objective whose steps are not all alike says which are
(`gentool.training.phases.Alike`): each kind has a graph of its own.

Only `CudaRecorder` knows of CUDA; with a recorder that runs the recorded steps again, all else is tested on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gentool.data.batch import Batch
from gentool.randomness import Step
from gentool.training.phases import Alike, Like, Stateful

if TYPE_CHECKING:
    from gentool.training.trainer import Trainer

WARMUP = 3  # steps by Python before one is recorded: libraries choose their algorithms, optimisers make their moments
MOST_KINDS = 8  # graphs a run; each keeps the memory of a step


class Recorder(Protocol):
    """What makes a graph of launches."""

    def warm(self, run: Callable[[], None]) -> None:
        """Run it as it will be recorded."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record it without its having any effect; what is given back has it."""


class CudaRecorder:
    """CUDA's graphs. https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture"""

    def warm(self, run: Callable[[], None]) -> None:
        # On a side stream, as the recording: gradients' accumulators belong to the stream that first used them.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            run()
        torch.cuda.current_stream().wait_stream(stream)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        replay: Callable[[], None] = graph.replay
        return replay


# -- what cannot be recorded -------------------------------------------------------------------------------------------

# Operations whose result, or its size, Python or the allocator has to wait for.
_ASKS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "is_nonzero", "histc")
_ASKS_STARTS = ("_unique", "unique_")


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that read numbers back from the device, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1]
        )
        # A place is a mask's where a single value is put there: no size depends on it.
        if by_mask and name != "index" and isinstance(args[2], Tensor) and args[2].numel() == 1:
            by_mask = False
        of_lengths = name == "repeat_interleave" and func._overloadname == "Tensor"
        if name in _ASKS or name.startswith(_ASKS_STARTS) or by_mask or of_lengths:
            self.asked.append(name)
        return func(*args, **(kwargs or {}))


class StaticStep:
    """A `Step` whose draws lie in tensors that stay. `now` is the step that is made; `fill` draws its numbers.

    What of a step is a plain number (`index`, `progress`) would be the recorded step's for ever: reading it is noted.
    """

    def __init__(self, now: Step) -> None:
        self.now = now
        self.read: set[str] = set()
        self.draws: dict[tuple[Any, ...], Tensor] = {}
        self.new = 0  # draws that the last run was the first to ask for

    def fill(self, now: Step) -> None:
        self.now, self.new = now, 0
        for key, there in self.draws.items():
            there.copy_(self._draw(key))

    def _draw(self, key: tuple[Any, ...]) -> Tensor:
        method, purpose, *size = key
        made: Tensor = getattr(self.now, method)(*size, purpose=purpose)
        return made

    def _give(self, method: str, purpose: str, *size: Any) -> Tensor:
        key = (method, purpose, *(len(n) if isinstance(n, Tensor) else n for n in size))
        if key not in self.draws:
            self.draws[key] = self._draw(key)
            self.new += 1
        return self.draws[key].clone()  # whoever gets it may change it

    def noise(self, n: int | Tensor, *shape: int, purpose: str = "noise") -> Tensor:
        return self._give("noise", purpose, n, *shape)

    def uniform(self, n: int | Tensor, *shape: int, purpose: str = "uniform") -> Tensor:
        return self._give("uniform", purpose, n, *shape)

    def integers(self, high: int, n: int | Tensor, *shape: int, purpose: str = "integers") -> Tensor:
        return self._give("integers", purpose, high, n, *shape)

    @property
    def device(self) -> torch.device | str:
        return self.now.device

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self.now, name)


# -- the kinds of step ---------------------------------------------------------------------------------------------------


@dataclass
class Kind:
    """Steps that are alike: the tensors that stay, how often one was made, and the graph."""

    batch: Batch
    step: StaticStep
    warmed: int = 0
    replay: Callable[[], None] | None = None
    carried: dict[str, Tensor] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of the numbers in `row`
    row: Tensor | None = None  # float64: what is logged
    plain: dict[str, float] = field(default_factory=dict)  # the same, where the objective gave no tensors

    def takes(self, batch: Batch) -> bool:
        """Whether a batch has the shape that was recorded."""
        pairs = list(zip(_tensors(self.batch), _tensors(batch), strict=False))
        return batch.rows == self.batch.rows and all(
            (a is None and b is None)
            or (a is not None and b is not None and a.shape == b.shape and a.dtype == b.dtype)
            for a, b in pairs
        ) and self.batch.extra.keys() == batch.extra.keys()  # fmt: skip

    def fill(self, batch: Batch, step: Step) -> None:
        for there, new in zip(_tensors(self.batch), _tensors(batch), strict=True):
            if there is not None and new is not None:
                there.copy_(new)
        self.step.fill(step)


def _tensors(batch: Batch) -> Iterator[Tensor | None]:
    yield from (batch.images, batch.labels, batch.index, batch.tokens, batch.mask, batch.fresh)
    for key in sorted(batch.extra):
        yield batch.extra[key]


class StepGraphs:
    """The graphs of a run. `step` makes one training step in the cheapest way there is, or leaves it to its caller."""

    def __init__(self, trainer: Trainer, recorder: Recorder) -> None:
        self.trainer = trainer
        self.recorder = recorder
        self.kinds: dict[Hashable, Kind] = {}
        self.off = ""  # why there are none
        for phase, optimiser in trainer.optimisers.items():
            if optimiser.rate is None:
                self.off = f"the optimiser of phase '{phase}' ({optimiser.config.name}) has no fused form"
        if trainer.train.compile:
            self.off = "train.compile is on"
        if self.off:
            self._say()

    def step(self, batch: Batch, step: Step, values: dict[str, Any]) -> bool:
        """Make the step and give in `values` what is to be logged; False: nothing was done, the caller has to."""
        like = self._like(step)
        if self.off or like is None or self.trainer.progress.accumulate > 1:
            return False
        kind = self.kinds.get(like.key)
        if kind is None:
            if len(self.kinds) == MOST_KINDS:
                return self._give_up(f"its steps are of more than {MOST_KINDS} kinds")
            kind = self.kinds[like.key] = Kind(batch.map(torch.clone), StaticStep(step))
        if not kind.takes(batch):
            return False
        kind.fill(batch, step)
        rates = {name: self.trainer.rate(name, step, like.progress.get(name)) for name in self.trainer.optimisers}
        for name, rate in rates.items():
            self.trainer.optimisers[name].set_rate(rate)
        if kind.warmed < WARMUP:
            self._warm(kind, like, values)
        else:
            if kind.replay is None and not self._record(kind):
                return False
            self._bring(kind)
            assert kind.replay is not None
            kind.replay()
            self._read(kind, values)
        values.update({f"lr/{name}": rate for name, rate in rates.items() if f"{name}/loss" in values})
        return True

    def _like(self, step: Step) -> Like | None:
        objective = self.trainer.objective
        return objective.alike(step) if isinstance(objective, Alike) else Like()

    def _say(self) -> None:
        text = f"Training goes on without CUDA graphs: {self.off}."
        self.trainer.folder.log(text)
        self.trainer.hooks.notice(text)

    def _give_up(self, why: str) -> bool:
        self.off = why
        self.kinds.clear()
        self._say()
        return False

    # -- by Python, watched -------------------------------------------------------------------------------------------

    def _warm(self, kind: Kind, like: Like, values: dict[str, Any]) -> None:
        watch = Watch()
        kind.step.read.clear()
        names = list(kind.names)

        def run() -> None:
            with watch:
                self._phases(kind, values)

        self.recorder.warm(run)
        kind.warmed += 1
        kind.names = [name for name, value in values.items() if isinstance(value, Tensor)]
        plain = {name: float(value) for name, value in values.items() if not isinstance(value, Tensor)}
        allowed = {"index", "progress", "total", "seed", "rank", "stream"} if like.key is not None else set()
        asked = kind.step.read - allowed
        if watch.asked:
            self._give_up(f"a step waits for numbers from the device ({', '.join(dict.fromkeys(watch.asked))})")
        elif asked:
            self._give_up(f"the loss reads step.{min(asked)}, which changes from step to step")
        elif kind.warmed > 1 and (kind.names != names or kind.plain != plain or kind.step.new):
            self._give_up("what a step does changes from step to step")
        kind.plain = plain

    def _phases(self, kind: Kind, values: dict[str, Any]) -> None:
        run = self.trainer.step_compute(self.trainer.model, kind.batch, kind.step)  # type: ignore[arg-type]
        self.trainer.run_phases([run], kind.step, values, rates=False)  # type: ignore[arg-type]

    # -- recorded -----------------------------------------------------------------------------------------------------

    def _record(self, kind: Kind) -> bool:
        """Make the graph; False where it cannot be made: then nothing has happened."""
        carried = self._carried()
        kind.carried = {name: part.detach().clone() for name, part in carried.items()}
        kind.step.read.clear()
        try:
            kind.replay = self.recorder.record(lambda: self._body(kind))
        except Exception as error:  # whatever CUDA refuses to record
            self.trainer.model.zero_grad(set_to_none=True)
            self._restore(carried)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            return self._give_up(f"a step could not be recorded ({reason})")
        self._restore(carried)
        return True

    def _body(self, kind: Kind) -> None:
        """What is recorded: a step's phases, and its numbers and what is carried put where they stay."""
        self._restore(kind.carried)
        values: dict[str, Any] = {}
        self._phases(kind, values)
        if kind.names:
            kind.row = torch.stack([values[name].detach().double() for name in kind.names])
        for name, part in self._carried().items():
            kind.carried[name].copy_(part)
        self._restore(kind.carried)

    def _bring(self, kind: Kind) -> None:
        """What the objective carries, to where the graph reads it: elsewhere after a step by Python or a validation."""
        for name, part in self._carried().items():
            if part is not kind.carried[name]:
                kind.carried[name].copy_(part)
        self._restore(kind.carried)

    def _read(self, kind: Kind, values: dict[str, Any]) -> None:
        values.update(kind.plain)
        if kind.row is not None:  # the next replay writes there again
            values.update(zip(kind.names, kind.row.clone().unbind(), strict=True))

    def _carried(self) -> Mapping[str, Tensor]:
        objective = self.trainer.objective
        return objective.carry() if isinstance(objective, Stateful) else {}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        if isinstance(self.trainer.objective, Stateful):
            self.trainer.objective.restore(tensors)
