"""The one training loop. It knows phases, not models: an objective yields losses, the trainer updates and resumes it."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gentool.config import Resolved
from gentool.data.batch import Batch
from gentool.errors import GentoolError
from gentool.randomness import Step, derive_seed, seed_default_generator
from gentool.runs import checkpoint
from gentool.runs.folder import MetricsLog, RunFolder
from gentool.training import schedule
from gentool.training.devices import autocast
from gentool.training.graphs import Recorder, StepGraphs
from gentool.training.optimisers import Ema, PhaseOptimiser
from gentool.training.phases import Objective, Phase, Stateful
from gentool.training.signals import StopRequest

CARRIED = "objective/"  # what a stateful objective carries, among the tensors of optimizer.safetensors


class Diverged(GentoolError):
    """A loss or a gradient is no longer a finite number; the last good checkpoint stands."""


@dataclass
class Progress:
    """How far a run is: what a checkpoint's state.json holds beside the tensors."""

    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float | None = 0.0  # of all threads: what a crowded machine does not lengthen; None: began untimed
    best: dict[str, Any] | None = None
    metrics_bytes: int = 0
    accumulate: int = 1  # micro-batches a step: train.accumulate, or more where memory did not suffice


@dataclass
class Hooks:
    """What the caller wants to hear: after each step (scalars are numbers by then), and when a preview is due."""

    on_step: Callable[[int, dict[str, float]], None] = lambda step, values: None
    preview: Callable[[int], None] = lambda step: None
    notice: Callable[[str], None] = lambda text: None


@dataclass
class Trainer:
    """Trains `model` by `objective` on batches until the budget is spent or someone asks to stop.

    `train_batch(step, size)` gives a step's batch; `validation()` an iterable of batches (None: no validation).
    """

    model: nn.Module
    objective: Objective
    train_batch: Callable[[int, int], Batch]
    validation: Callable[[], Iterable[Batch]] | None
    config: Resolved
    folder: RunFolder
    device: torch.device
    metadata: dict[str, Any]
    hooks: Hooks = field(default_factory=Hooks)
    recorder: Recorder | None = None  # makes graphs of the steps

    def __post_init__(self) -> None:
        self.train = self.config["train"]
        self.progress = Progress(accumulate=self.train.accumulate)
        self.optimisers = {
            phase: PhaseOptimiser(
                phase, self.module(phase), self.config["optim"][phase], recorded=self.recorder is not None
            )
            for phase in self.config.model_spec.phases
        }
        self.ema = Ema(self.model, self.train.ema) if self.train.ema > 0 else None
        self.step_compute: Objective = self.objective
        self.graphs = StepGraphs(self, self.recorder) if self.recorder is not None else None
        self._log_every = 1 if self.device.type == "cpu" else 10  # reading a loss waits for the GPU
        self._pending: list[tuple[int, float, dict[str, Any]]] = []
        self._monitor = self.config.loss_spec.monitor

    def module(self, phase: str) -> nn.Module:
        return self.model if phase == "model" else self.model.get_submodule(phase)

    # -- the budget ---------------------------------------------------------------------------------------------

    def spent(self, step: int, seconds: float) -> float:
        """The share of the budget that is spent before `step`, in [0, 1]."""
        shares = []
        if self.train.steps:
            shares.append(step / self.train.steps)
        if self.train.minutes:
            shares.append(seconds / (60 * self.train.minutes))
        return min(1.0, max(shares)) if shares else 0.0

    def _every(self, section: str, times: int) -> int:
        """How many steps between two checkpoints, previews or validations."""
        asked: int = self.config[section].every
        if asked:
            return asked
        return max(1, math.ceil(self.train.steps / times)) if self.train.steps else 500

    # -- the loop -----------------------------------------------------------------------------------------------

    def fit(self) -> str:
        """Train to the end of the budget: "done", or "interrupted" by a signal (a checkpoint is written either way)."""
        saves = self._every("checkpoint", 10)
        shows = self._every("preview", 5) if self.config["preview"].n else 0
        checks = self._every("validation", 10) if self.validation and self._monitor else 0
        self.log = MetricsLog(self.folder.path / "metrics.jsonl", keep=self.progress.metrics_bytes)
        self.model.train()
        before, cpu_before = self.progress.seconds, self.progress.cpu_seconds
        start, cpu_start = time.perf_counter(), time.process_time()
        outcome = "done"
        step = self.progress.step
        with StopRequest() as stop:
            try:
                while self.spent(step, self.progress.seconds) < 1:
                    values = self.one_step(step)
                    step += 1
                    now = before + time.perf_counter() - start
                    self.progress.step, self.progress.seconds = step, now
                    if cpu_before is not None:
                        self.progress.cpu_seconds = cpu_before + time.process_time() - cpu_start
                    self._record(step, now, values)
                    over = bool(stop.asked) or self.spent(step, now) >= 1
                    better = False
                    if checks and (step % checks == 0 or over):
                        self._flush()
                        better = self._validate(step)
                    if better or step % saves == 0 or over:
                        self.save()
                    if shows and (step % shows == 0 or (over and not stop.asked)):
                        self.hooks.preview(step)
                        self.model.train()
                    self.folder.heartbeat(step=step, **self.spent_time())
                    if stop.asked:
                        outcome = "interrupted"
                        break
            finally:
                self.log.close()
        return outcome

    def one_step(self, index: int) -> dict[str, Any]:
        """One optimiser step of every phase the objective yields; gives what is to be logged (tensors, not yet read)."""
        step = Step(
            seed=self.train.seed,
            index=index,
            total=self.train.steps,
            device=self.device,
            progress=self.spent(index, self.progress.seconds),
        )
        seed_default_generator(derive_seed(self.train.seed, "default", index), self.device)
        batch = self.train_batch(index, self.train.batch_size)
        values: dict[str, Any] = {}
        try:
            if self.graphs is None or not self.graphs.step(batch, step, values):
                self.run_phases(self._micro_batches(batch, step), step, values)
        except torch.OutOfMemoryError:
            if values:  # a phase of this step is updated already: to begin it again would be another run
                raise self._too_large(index) from None
            retry = True
        else:
            retry = False
        if retry:  # outside of the except block, whose traceback holds the tensors of the failed step
            self._halve(index)
            return self.one_step(index)
        if self.ema is not None:
            self.ema.update(index)
        return values

    def _micro_batches(self, batch: Batch, step: Step) -> list[Any]:
        """The objective's generator of each micro-batch."""
        if self.progress.accumulate == 1:
            return [self.step_compute(self.model, batch, step)]
        parts = batch.chunk(self.progress.accumulate)
        return [
            self.step_compute(self.model, part, step.at(step.index, stream=f"train.{i}"))
            for i, part in enumerate(parts)
        ]

    def _halve(self, index: int) -> None:
        """After the device ran out of memory: smaller micro-batches, as many more of them; the batch stays what it is."""
        if 2 * self.progress.accumulate > self.train.batch_size:
            raise self._too_large(index)
        self.progress.accumulate *= 2
        self.model.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        text = (
            f"Out of memory at step {index}: a batch now goes in {self.progress.accumulate} parts "
            f"(--set train.accumulate={self.progress.accumulate} does so from the start)."
        )
        self.folder.log(text)
        self.hooks.notice(text)

    def _too_large(self, index: int) -> GentoolError:
        return GentoolError(
            f"The device ran out of memory at step {index}, with {self.train.batch_size} examples in "
            f"{self.progress.accumulate} parts; try a smaller --batch-size, --precision bf16, or a smaller model."
        )

    def rate(self, phase: str, step: Step, progress: float | None = None) -> float:
        """The learning rate of a phase (progress: its own share of its budget), a float32 number: as a tensor holds it."""
        spent = step.progress if progress is None else progress
        peak: float = self.optimisers[phase].config.lr
        return ctypes.c_float(peak * schedule.factor(self.config["schedule"], step.index, spent)).value

    def run_phases(self, runs: list[Any], step: Step, values: dict[str, Any], *, rates: bool = True) -> None:
        """Advance one generator a micro-batch in lockstep: all backwards of a phase, then its one update.

        rates: set the learning rates; else they are set already.
        """
        while True:
            phases: list[Phase] = []
            for run in runs:
                with autocast(self.device, self.train.precision):
                    phase = next(run, None)
                if phase is None:
                    continue  # the others end here too, and do what they have left to do
                if phase.name not in self.optimisers:
                    raise GentoolError(
                        f"The loss '{self.config.loss_spec.name}' yields a phase '{phase.name}', which "
                        f"'{self.config.model_spec.name}' does not declare."
                    )
                share = phase.loss if len(runs) == 1 else phase.loss / len(runs)
                self.optimisers[phase.name].backward(share)
                phases.append(phase)
            if len(phases) < len(runs):
                return
            name = phases[0].name
            optimiser = self.optimisers[name]
            if rates:
                values[f"lr/{name}"] = lr = self.rate(name, step, phases[0].progress)
                optimiser.set_rate(lr)
            norm = optimiser.step(self.train.clip)
            values[f"{name}/loss"] = _mean([p.loss.detach() for p in phases])
            for key in phases[0].scalars:
                values[f"{name}/{key}"] = _mean([p.scalars[key] for p in phases])
            if norm is not None:
                values[f"{name}/gradient_norm"] = norm

    # -- what is written ----------------------------------------------------------------------------------------

    def _record(self, step: int, seconds: float, values: dict[str, Any]) -> None:
        self._pending.append((step, seconds, values))
        if len(self._pending) >= self._log_every:
            self._flush()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for step, seconds, values in pending:
            numbers = {key: float(value) for key, value in values.items()}
            for key, number in numbers.items():
                if not math.isfinite(number) and key.endswith(("/loss", "/gradient_norm")):
                    raise self._diverged(key, step, number)
            self.log.write({"step": step, "t": round(seconds, 4), **numbers})
            self.hooks.on_step(step, numbers)

    def _diverged(self, key: str, step: int, number: float) -> Diverged:
        phase, _, what = key.partition("/")
        there = checkpoint.steps(self.folder.path / "checkpoints")
        kept = f"the checkpoint of step {there[-1]} is the last good one" if there else "no checkpoint was due yet"
        return Diverged(
            f"The {what.replace('_', ' ')} of phase '{phase}' became {number} at step {step}; {kept}. "
            f"Try a smaller rate (--set optim.{phase}.lr={self.optimisers[phase].config.lr / 3:.2g}) or --set train.clip=1."
        )

    def _finite(self) -> bool:
        floats = [p for p in self.model.parameters() if p.is_floating_point()]
        return bool(torch.isfinite(torch.stack(torch._foreach_norm([p.detach() for p in floats]))).all())

    def save(self) -> None:
        """A checkpoint of this moment. Weights that are not finite are never written over good ones."""
        self._flush()
        if not self._finite():
            phase = next(iter(self.optimisers))
            raise self._diverged(f"{phase}/weights", self.progress.step, math.nan)
        folder = self.folder.path / "checkpoints"
        self.progress.metrics_bytes = self.log.sync()
        moments: dict[str, Tensor] = {}
        for optimiser in self.optimisers.values():
            moments.update(optimiser.state())
        moments.update({f"{CARRIED}{key}": tensor for key, tensor in self._carried().items()})
        parts = {
            "model": self.model.state_dict(),
            "optimizer": moments,
            "ema": self.ema.state(self.model) if self.ema is not None else {},
        }
        state = {
            "seconds": self.progress.seconds,
            "cpu_seconds": self.progress.cpu_seconds,
            "best": self.progress.best,
            "metrics_bytes": self.progress.metrics_bytes,
            "accumulate": self.progress.accumulate,
            "seed": self.train.seed,
        }
        checkpoint.save(folder, self.progress.step, parts, state, {**self.metadata, "step": self.progress.step})
        best = self.progress.best
        checkpoint.retain(folder, self.config["checkpoint"].keep, int(best["step"]) if best else None)
        self.folder.update(step=self.progress.step, **self.spent_time(), best=best)

    def spent_time(self) -> dict[str, Any]:
        """What training took so far, as run.json says it."""
        cpu = self.progress.cpu_seconds
        return {"seconds": round(self.progress.seconds, 3), "cpu_seconds": None if cpu is None else round(cpu, 3)}

    def begin(self) -> None:
        """What has to be done once, before the first step of a new run: a checkpoint of step 0 to resume from."""
        self.log = MetricsLog(self.folder.path / "metrics.jsonl", keep=0)
        try:
            self.save()
        finally:
            self.log.close()

    def load(self, found: checkpoint.Checkpoint) -> None:
        """Continue from a checkpoint: weights, moments, averages and counters."""
        where = f"checkpoint {found.path.name}"
        checkpoint.load_state(self.model, found.tensors("model", self.device), where)
        moments = found.tensors("optimizer")
        for optimiser in self.optimisers.values():
            optimiser.load(moments)
        self._put_back({k.removeprefix(CARRIED): t for k, t in moments.items() if k.startswith(CARRIED)})
        if self.ema is not None:
            averages = found.tensors("ema", self.device)
            if averages:
                self.ema.load(averages)
        self.progress = Progress(
            found.step,
            float(found.state.get("seconds", 0.0)),
            found.state.get("cpu_seconds", None if found.step else 0.0),
            found.state.get("best"),
            int(found.state.get("metrics_bytes", 0)),
            int(found.state.get("accumulate", self.train.accumulate)),
        )

    def _carried(self) -> dict[str, Tensor]:
        """A copy of what the objective carries from step to step."""
        if not isinstance(self.objective, Stateful):
            return {}
        return {key: tensor.detach().clone() for key, tensor in self.objective.carry().items()}

    def _put_back(self, tensors: dict[str, Tensor]) -> None:
        if isinstance(self.objective, Stateful):
            self.objective.restore({key: tensor.to(self.device) for key, tensor in tensors.items()})

    @torch.no_grad()
    def _validate(self, step: int) -> bool:
        """Run the objective on the validation batches without updates; whether the monitored scalar is the best yet.

        The mean is over what the batches' means are over (`Batch.terms`).
        """
        assert self.validation is not None
        assert self._monitor is not None
        self.model.eval()
        carried = self._carried()
        self._put_back({})
        sums: dict[str, float] = {}
        seen = 0
        for number, batch in enumerate(self.validation()):
            where = Step(
                seed=self.train.seed, index=number, device=self.device, stream="validation", progress=self._spent_now()
            )
            seed_default_generator(derive_seed(self.train.seed, "validation", number), self.device)
            found: dict[str, list[float]] = {}
            with autocast(self.device, self.train.precision):
                for phase in self.objective(self.model, batch, where):
                    for key, value in {"loss": phase.loss, **phase.scalars}.items():
                        found.setdefault(f"{phase.name}/{key}", []).append(float(value))
            for name, values in found.items():  # several of one name: a phase that comes more than once a step
                sums[name] = sums.get(name, 0.0) + sum(values) / len(values) * batch.terms
            seen += batch.terms
        self.model.train()
        self._put_back(carried)
        if not seen:
            return False
        means = {f"validation/{name}": value / seen for name, value in sums.items()}
        self.log.write({"step": step, "t": round(self.progress.seconds, 4), **means})
        self.hooks.on_step(step, means)
        watched = [key for key in means if key.endswith(f"/{self._monitor}")]
        for key in watched[:1]:
            value = means[key]
            best = self.progress.best
            if math.isfinite(value) and (best is None or best["name"] != key or value < best["value"]):
                self.progress.best = {"step": step, "name": key, "value": value}
                return True
        return False

    def _spent_now(self) -> float:
        # A hair below the end: the last validation sees the stage that was trained, not one after it.
        return min(self.spent(self.progress.step, self.progress.seconds), 1 - 1e-9)


def _mean(values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    return torch.stack([torch.as_tensor(v, dtype=torch.float32) for v in values]).mean()
