"""Bits per dimension by the variational bound, and what the number of steps is worth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Context, Curve, Report, Samples, Scalar, UsageError
from gentool.config import build_dataclass
from gentool.registry import registry
from gentool.sampling import draw

from . import likelihood

if TYPE_CHECKING:
    from .configs import SolverStepsConfig, VlbConfig

BINS = 50  # of the curve over t


class Vlb:
    """-log p(x) of each picture is at most L_T + L_T-1 + ... + L_0 (Ho et al. 2020, equation 5).

    L_T and L_0 of every picture, the terms between of `draws` moments, one in each of as many equal stretches of
    1 .. T-1: so the estimate has the bound as its mean, whatever the draws.
    """

    def __init__(self, config: VlbConfig, context: Context):
        self.context = context
        self.model: Any = context.model
        self.between = int(context.model.schedule.steps) - 1  # type: ignore[union-attr, arg-type]
        self.draws = min(config.draws or self.between, self.between)
        self.parts: dict[str, list[Tensor]] = {"L_T": [], "L_1..T-1": [], "L_0": []}
        self.sums, self.counts = torch.zeros(BINS, dtype=torch.float64), torch.zeros(BINS, dtype=torch.float64)
        self.calls = 0

    @torch.no_grad()
    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        if batch.images is None:
            raise UsageError(f"'vlb' scores pictures and '{self.context.dataset}' has none.")
        model = self.model
        step = self.context.step.at(self.calls)
        self.calls += 1
        x0 = model.prepared(batch.images, step)
        labels = batch.labels if model.conditional else None
        self.parts["L_T"].append(likelihood.prior_kl(model, x0).double().cpu())
        first = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
        self.parts["L_0"].append(likelihood.term_at(model, x0, labels, first, step, "L_0").double().cpu())
        total = torch.zeros(len(x0), dtype=torch.float64)
        for i in range(self.draws):
            u = step.uniform(len(x0), purpose=f"moment-{i}").double()
            t = 1 + ((i + u) / self.draws * self.between).long().clamp(max=self.between - 1)
            found = likelihood.term_at(model, x0, labels, t, step, f"noise-{i}").double().cpu()
            total += found * self.between / self.draws
            place = ((t.cpu() - 1) * BINS // self.between).clamp(max=BINS - 1)
            self.sums.index_add_(0, place, found)
            self.counts.index_add_(0, place, torch.ones_like(found))
        self.parts["L_1..T-1"].append(total)

    def merge(self, other: Vlb) -> None:
        for key, parts in other.parts.items():
            self.parts[key] += parts
        self.sums += other.sums
        self.counts += other.counts

    def compute(self) -> Report:
        parts = {key: torch.cat(found) for key, found in self.parts.items()}
        nats = sum(parts.values(), torch.zeros(()))
        n, scale = len(nats), 1 / (math.prod(self.context.info.image or (1,)) * math.log(2))

        def scalar(name: str, values: Tensor) -> Scalar:
            error = float(values.std() / math.sqrt(n)) * scale if n > 1 else None
            return Scalar(name, float(values.mean()) * scale, "bits/dim", error)

        there = self.counts > 0
        middle = (1 + (torch.arange(BINS) + 0.5) * self.between / BINS)[there]
        model = self.model
        return Report(
            name="vlb",
            scalars=[
                scalar("bits/dim, at most", nats),
                *(scalar(key, values) for key, values in parts.items()),
                Scalar("nats, at most", float(nats.mean()), "nats"),
            ],
            protocol=(
                f"{self.context.dataset} {self.context.split}, {n} pictures; variational bound, {self.draws} of the "
                f"{self.between} moments t > 0 a picture, one in each of as many equal stretches; {model.protocol()}; "
                f"variance: {model.config.variance}"
            ),
            curves=[Curve("L_t-1", middle.tolist(), (self.sums / self.counts.clamp(min=1) * scale)[there].tolist())],
            axes=("t", "bits/dim"),
            log_y=True,
        )


class SolverSteps:
    """The figure of another evaluator (FID) for samples of several solvers in several numbers of steps, all from the
    same noise."""

    def __init__(self, config: SolverStepsConfig, context: Context):
        self.config, self.context = config, context
        self.metric = registry().find("evaluator", config.metric)
        known = [s.name for s in registry().all("sampler") if s.needs == ("diffusion",) and not s.view]
        for name in config.solvers:
            if name not in known:
                raise UsageError(f"'{name}' is no sampler of diffusion that takes steps: {', '.join(sorted(known))}.")

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        """Nothing streams here: `compute` draws its own samples."""

    def merge(self, other: Any) -> None:
        """One process draws."""

    def compute(self) -> Report:
        wanted = [(name, steps) for name in self.config.solvers for steps in self.config.steps]
        if self.config.ancestral:
            wanted.append(("ddpm", self.context.model.schedule.steps))  # type: ignore[union-attr, arg-type]
        metric = self.config.metric
        reports = [(name, steps, self.report(name, steps)) for name, steps in wanted]
        found = [(name, steps, report.scalars[0].value) for name, steps, report in reports]
        # Heun asks twice a step but for the last.
        calls = {(name, steps): 2 * steps - 1 if name == "heun" else steps for name, steps, _ in found}
        curves = [
            Curve(name, [calls[n, k] for n, k, _ in found if n == name], [v for n, _, v in found if n == name])
            for name in dict.fromkeys(name for name, _, _ in found)
        ]
        floor = [s for s in reports[0][2].scalars if " floor" in s.name][:1]
        ends = [min(calls.values()), max(calls.values())]
        curves += [Curve("floor", ends, [s.value, s.value]) for s in floor]
        name, steps, value = min(found, key=lambda row: row[2])
        return Report(
            name="solver-steps",
            scalars=[Scalar(f"best: {name}, {steps} steps", value), *floor],
            protocol=(
                f"{metric} of {self.config.n:,} samples each, of one noise, guidance {self.config.guidance:g}; "
                f"{self.context.dataset}"
            ),
            curves=curves,
            axes=("network calls a sample", metric),
            log_y=True,
            table=[{"sampler": n, "steps": k, "network calls": calls[n, k], metric: v} for n, k, v in found],
        )

    def report(self, sampler: str, steps: int) -> Report:
        """What the metric says of n samples by a sampler, its figure first."""
        context, spec = self.context, registry().find("sampler", sampler)
        changes = {"steps": steps, "guidance": self.config.guidance}
        options = dataclasses.asdict(build_dataclass(spec.config, changes, f"sampler {sampler}"))

        def samples(n: int) -> Iterator[Samples]:
            events = draw(
                context.model, spec, options, n, seed=context.step.seed, device=context.device, stream="eval.samples"
            )
            yield from (event for event in events if isinstance(event, Samples))

        own = dataclasses.replace(context, draw_samples=samples, shared={}, limit=None)
        config = build_dataclass(self.metric.config, {"n": self.config.n}, f"evaluator {self.config.metric}")
        report: Report = registry().load(self.metric.factory)(config, own).compute()
        return report
