"""Bounds of log p(x): the evidence lower bound, and the importance-weighted one with K draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Context, GentoolError, Report, Samples, Scalar, UsageError

if TYPE_CHECKING:
    from . import ElboEvaluationConfig, IwaeEvaluationConfig

Terms = dict[str, Tensor]


@dataclass
class Mean:
    """Count, sum and sum of squares in float64: the mean of a stream and its standard error."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: Tensor) -> None:
        v = values.detach().double()
        self.n, self.total = self.n + v.numel(), self.total + float(v.sum())
        self.squares += float(v.square().sum())

    def merge(self, other: Mean) -> None:
        self.n, self.total, self.squares = self.n + other.n, self.total + other.total, self.squares + other.squares

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def error(self) -> float | None:
        if self.n < 2:
            return None
        return math.sqrt(max(self.squares / self.n - self.mean**2, 0.0) / (self.n - 1))


class Bound:
    """Streams a bound. Nats are of -log p(x): smaller is better; bits/dim are nats / (C H W log 2).

    What the figure is over is said in the report. Binary pixels: a probability. Intensities under a Bernoulli: a
    cross-entropy, no bits/dim. A Gaussian: its density over pixels in [0, 1] (which may be negative, and grows without
    limit as the deviation shrinks), and beside it the same Gaussian's mass on each of the data's levels, whose bits/dim
    compare with any discrete model's. (A density's do not, unless it was trained on dequantised pixels and
    log2(levels) is added.)
    """

    name = ""

    def __init__(self, context: Context):
        self.context = context
        self.model: Any = context.model
        self.means: dict[str, Mean] = {}
        self.calls = 0

    def terms(self, x: Tensor, y: Tensor | None, discrete: bool) -> Terms:
        """Figures of each picture in nats, (N,), the bound itself under `self.name`."""
        raise NotImplementedError

    def how(self) -> str:
        raise NotImplementedError

    @torch.no_grad()
    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        if batch.images is None:
            raise UsageError(f"'{self.name}' scores pictures and '{self.context.dataset}' has none.")
        labels = batch.labels if getattr(self.model, "conditional", False) else None
        found = self.terms(batch.images, labels, False)
        if getattr(self.model, "continuous", False):
            found["discrete"] = self.terms(batch.images, labels, True)[self.name]
        for key, nats in found.items():
            if not torch.isfinite(nats).all():
                raise GentoolError(
                    f"{self.context.model_name} gives a picture of {self.context.dataset} no finite bound."
                )
            self.means.setdefault(key, Mean()).add(nats)
        self.calls += 1

    def merge(self, other: Bound) -> None:
        for key, mean in other.means.items():
            self.means.setdefault(key, Mean()).merge(mean)

    def compute(self) -> Report:
        if not self.means:
            raise UsageError(f"'{self.name}' saw no pictures: the split '{self.context.split}' is empty.")
        bits = 1 / (math.prod(self.context.info.image or (1,)) * math.log(2))
        levels = self.context.info.levels
        scalars = []
        for key, m in self.means.items():
            title = {self.name: f"-{self.name}", "discrete": f"-{self.name}, {levels} levels"}.get(key, key)
            scalars.append(Scalar(title, m.mean, "nats", m.error))
        of = self.means.get("discrete") or (self.means[self.name] if levels == 2 else None)
        if of is not None:
            scalars.append(
                Scalar("bits/dim", of.mean * bits, "bits/dim", None if of.error is None else of.error * bits)
            )
        given = " given its class" if getattr(self.model, "conditional", False) else ""
        return Report(name=self.name, scalars=scalars, protocol=f"{self.how()}{given}, {self.data()}, {self.pixels()}")

    def data(self) -> str:
        n = self.means[self.name].n
        return f"{self.context.dataset} {self.context.split}, N={n} pictures"

    def pixels(self) -> str:
        """The density and the kind of binarisation, in words."""
        said = getattr(self.model, "protocol", None)
        words = [str(said())] if callable(said) else []
        binarize = str(self.context.info.extra.get("binarize", "none"))
        if binarize == "stochastic":
            words.append("dynamic binarisation (redrawn in training; here drawn once with a fixed seed)")
        elif binarize == "fixed":
            words.append("static binarisation (one draw for each picture, training's too, by a fixed seed)")
        elif binarize != "none":
            words.append(f"binarised by {binarize}")
        if "discrete" in self.means:
            words.append(f"bits/dim of its mass on {self.context.info.levels} levels")
        return "; ".join(words)


class Elbo(Bound):
    """-ELBO = -E_q[log p(x|z)] + KL(q(z|x) || p(z)) (Kingma & Welling 2014, equation 10), KL in closed form."""

    name = "elbo"

    def __init__(self, config: ElboEvaluationConfig, context: Context):
        super().__init__(context)
        self.draws = config.draws

    def terms(self, x: Tensor, y: Tensor | None, discrete: bool) -> Terms:
        rec, kl = torch.zeros(len(x), device=x.device), torch.zeros(len(x), device=x.device)
        for i in range(self.draws):
            step = self.context.step.at(self.calls * self.draws + i)
            log_pxz, kl = self.model.elbo(x, y, step, **({"discrete": True} if discrete else {}))
            rec = rec - log_pxz / self.draws
        return {"elbo": rec + kl, "-log p(x|z)": rec, "KL": kl}

    def how(self) -> str:
        return f"bound of -log p(x), {self.draws} draw{'s' * (self.draws > 1)} of z a picture"


class Iwae(Bound):
    """-L_K = -E[log 1/K sum_i p(x, z_i) / q(z_i|x)] (Burda et al. 2016, equation 8): tighter as K grows.

    The draws come in chunks of at most `rows` pictures decoded at once, so memory is bounded whatever K is.
    """

    name = "iwae"

    def __init__(self, config: IwaeEvaluationConfig, context: Context):
        super().__init__(context)
        self.k, self.rows = config.k, config.rows

    def terms(self, x: Tensor, y: Tensor | None, discrete: bool) -> Terms:
        found = [
            self.bound(x[i : i + self.rows], None if y is None else y[i : i + self.rows], discrete, i)
            for i in range(0, len(x), self.rows)
        ]
        return {"iwae": -torch.cat(found)}

    def bound(self, x: Tensor, y: Tensor | None, discrete: bool, offset: int) -> Tensor:
        """log 1/K sum_i w_i of each picture, (N,), float64."""
        chunk = max(1, self.rows // len(x))
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        more = {"discrete": True} if discrete else {}
        for i in range(0, self.k, chunk):
            step = self.context.step.at(self.calls, stream=f"{self.context.step.stream}.{offset}.{i}")
            log_w = self.model.log_weights(x, y, min(chunk, self.k - i), step, **more)
            total = torch.logaddexp(total, log_w.double().logsumexp(0))
        return total - math.log(self.k)

    def how(self) -> str:
        return f"importance-weighted bound of -log p(x), K={self.k} draws of z a picture"
