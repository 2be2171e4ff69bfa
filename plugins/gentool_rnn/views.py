"""Views: how the gradient flows back in time, how an answer grows while a picture is read, and pictures that are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import Batch, Context, Curve, Partial, Report, Samples, Scalar, Step, UsageError

from .backbone import TokenInput
from .cells import CELLS
from .configs import CharLMConfig
from .recurrent import Recurrent

if TYPE_CHECKING:
    from gentool.specs import NoConfig

    from .configs import GradientFlowConfig
    from .pictures import Sequence

NAMES = {"rnn": "vanilla", "lstm": "LSTM", "gru": "GRU"}


def gradient_norms(net: Recurrent, inputs: TokenInput, head: nn.Module, tokens: Tensor) -> list[float]:
    """||dL/dh_t|| of the first layer's outputs for t = 1 ... T, the mean over rows; L = -log p of the last token alone.

    tokens: (B, T + 1). With one layer h_t is all of the memory but for an LSTM's c_t, whose share arrives through it.
    """
    parts = net.begin(net.start(len(tokens)))
    w = net.weights(0)
    state = tuple(part[0].detach().requires_grad_() for part in parts)
    x = inputs(tokens[:, :-1], w.hidden.dtype).transpose(0, 1)
    states, above = CELLS[net.config.cell].reference(x, state, w)
    for layer in range(1, net.layers):
        begin = tuple(part[layer] for part in parts)
        _, above = CELLS[net.config.cell].reference(above, begin, net.weights(layer))
    loss = F.cross_entropy(head(above[-1]), tokens[:, -1], reduction="sum")
    outputs = [h for h, *_ in states]
    grads = torch.autograd.grad(loss, outputs)
    return [float(g.norm(dim=1).mean()) for g in grads]


class GradientFlow:
    """||dL/dh_t|| against t for the three cells, and for vanilla nets whose recurrent matrix has all its singular values
    at one number below and one above 1 (Pascanu et al. 2013, section 2): W_h is an orthogonal matrix times that number.

    The nets are fresh, of one layer and the same size, and read the model's own text; the model itself is a further curve
    where it is recurrent. The vanilla nets with a given singular value get their input damped, so that tanh is nearly
    linear, as the theory has it: with strong inputs its slope, below 1, makes every vanilla net vanish.
    """

    DAMPED = 1e-6

    def __init__(self, config: GradientFlowConfig, context: Context):
        self.config, self.context = config, context

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        """Nothing streams to a view."""

    def merge(self, other: Any) -> None:
        """Views are drawn by one process."""

    @torch.enable_grad()
    def compute(self) -> Report:
        config, model = self.config, self.context.model
        tokens = self.text()
        steps = tokens.shape[1] - 1
        curves = []

        def curve(name: str, norms: list[float]) -> None:
            curves.append(Curve(name, list(range(1, steps + 1)), norms))

        for cell, name in NAMES.items():
            curve(name, self.fresh(cell, tokens))
        for value in (config.below, config.above):
            curve(f"vanilla, singular values {value:g}", self.fresh("rnn", tokens, value))
        own = getattr(model, "backbone", None)
        if isinstance(own, Recurrent):
            name = f"this {NAMES[own.config.cell]}"
            curve(name, gradient_norms(own, model.input, model.head, tokens))  # type: ignore[arg-type]
        ratio = "|dL/dh_1| / |dL/dh_T|"
        ratios: list[dict[str, object]] = [
            {"net": c.name, ratio: f"{c.y[0] / max(c.y[-1], 1e-300):.2e}"} for c in curves
        ]
        return Report(
            name="gradient-flow",
            protocol=f"norm of dL/dh_t in layer 1, L the loss of the last of {steps} tokens alone, mean of {len(tokens)} "
            f"stretches of {self.context.dataset}; fresh nets of {config.hidden} features",
            curves=curves,
            axes=("t", "|dL/dh_t|"),
            log_y=True,
            table=ratios,
        )

    def text(self) -> Tensor:
        """(rows, T + 1) tokens: consecutive stretches of the split."""
        need = self.config.rows * (self.config.steps + 1)
        streams: dict[int, list[Tensor]] = {}
        got = 0
        for batch in self.context.batches():
            if batch.tokens is None or batch.index is None:
                raise UsageError("The gradient flow is shown on text: choose a text data set with --data.")
            for row, stream in enumerate(batch.inputs):
                length = int(batch.mask[row].sum()) if batch.mask is not None else len(stream)
                streams.setdefault(int(batch.index[row]), []).append(stream[:length])
                got += length
            if got >= need * 2:
                break
        size = self.config.steps + 1
        whole = [torch.cat(parts) for parts in streams.values()]
        cut = [piece for stream in whole for piece in stream[: len(stream) // size * size].view(-1, size)]
        if not cut:
            raise UsageError(
                f"There is no stretch of {size} tokens in a stream of this split; take fewer: --set gradient-flow.steps=20."
            )
        return torch.stack(cut[: self.config.rows])

    def fresh(self, cell: str, tokens: Tensor, singular: float | None = None) -> list[float]:
        """The norms of an untrained net of one layer, the same whenever it is asked for."""
        size = self.context.model.input.vocabulary  # type: ignore[union-attr]
        kind: Any = cell
        made = CharLMConfig(cell=kind, hidden=self.config.hidden, layers=1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.context.step.seed)
            inputs = TokenInput("embedding", int(size), made.embed)  # type: ignore[arg-type]
            net = Recurrent(made, made.embed)
            head = nn.Linear(made.hidden, int(size))  # type: ignore[arg-type]
        if singular is not None:
            with torch.no_grad():
                net.weights(0).hidden.mul_(singular)  # orthogonal until now
                net.weights(0).input.mul_(self.DAMPED)
        modules = nn.ModuleList([net, inputs, head]).to(tokens.device)
        assert len(modules) == 3
        return gradient_norms(net, inputs, head, tokens)


class AccuracyByStep:
    """How often the likeliest class is right after each step of the picture."""

    def __init__(self, config: NoConfig, context: Context):
        self.context = context
        self.right: Tensor | None = None
        self.seen = 0

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        assert batch.images is not None
        if batch.labels is None:
            raise UsageError("Accuracy needs labels, which this data set does not have.")
        with torch.no_grad():
            found = self.context.model.step_logits(batch.images).argmax(2)  # type: ignore[operator]
        right = (found == batch.labels[:, None]).double().sum(0).cpu()
        self.right = right if self.right is None else self.right + right
        self.seen += len(found)

    def merge(self, other: AccuracyByStep) -> None:
        if other.right is not None:
            self.right = other.right if self.right is None else self.right + other.right
            self.seen += other.seen

    def compute(self) -> Report:
        if self.right is None:
            raise UsageError("There was nothing to score.")
        share = (self.right / self.seen).tolist()
        half = next(i for i, s in enumerate(share, 1) if s >= share[-1] / 2)
        return Report(
            name="accuracy-by-step",
            protocol=f"{self.context.dataset} {self.context.split}, N = {self.seen:,}, the likeliest class after each step",
            scalars=[Scalar("accuracy after the last step", share[-1]), Scalar("steps to half of it", half)],
            curves=[Curve("accuracy", list(range(1, len(share) + 1)), share)],
            axes=("step", "accuracy"),
        )


def emit(
    model: Sequence, n: int, *, step: Step, labels: Tensor | None = None, each: int = 8
) -> Iterator[Partial | Samples]:
    """Pictures written step by step from their class: a row of `each` for every class."""
    if not model.emits:
        raise UsageError(
            "This 'sequence' reads pictures and writes none; train one that does: "
            "gentool train sequence --preset one-to-many."
        )
    classes = torch.arange(model.classes, device=step.device).repeat_interleave(each)
    uniform = step.uniform(len(classes), model.count, model.features)
    yield Samples(images=model.emit(classes, uniform), labels=classes, columns=each, title="a row for each class")
