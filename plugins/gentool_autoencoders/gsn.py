"""GSN: Bengio, Laufer, Alain & Yosinski 2014, "Deep Generative Stochastic Networks Trainable by Backprop".

No density is written down. The model is the step of a Markov chain, and its pictures are what the chain visits:

    x~ ~ C(x~ | x)                 damage by salt and pepper
    h ~ f(x~, h before, noise)     hidden layers in turn, each from its two neighbours (figure 3): first the odd ones,
                                   then the even ones; each with Gaussian noise before and after its nonlinearity
    x ~ P(x | h)                   independent pixels, by the weights that go up, transposed

*Walkback* (section 3.2) trains it: the chain is run for a few steps from a training picture, and from every place it
visits the step has to find back to that picture; so wrong modes near the data are unlearned.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from gentool import Batch, DataInfo, Partial, Phase, Samples, Step, UsageError

from .likelihoods import unit

if TYPE_CHECKING:
    from .configs import GSNConfig, WalkbackConfig


class GSN(nn.Module):
    """Layers 0 (the picture in [0, 1], N x D), 1, ... of hidden units; neighbours share one matrix."""

    conditional = False

    def __init__(self, config: GSNConfig, info: DataInfo):
        super().__init__()
        if info.image is None:
            raise UsageError("gsn needs pictures: choose an image data set with --data.")
        self.config, self.info, self.image = config, info, info.image
        widths = [math.prod(info.image), *[config.hidden] * config.layers]
        scale = 4 if config.activation == "sigmoid" else 1  # Glorot & Bengio 2010
        self.up = nn.ParameterList(
            nn.Parameter(torch.empty(high, low).uniform_(-scale, scale) * (6 / (high + low)) ** 0.5)
            for low, high in itertools.pairwise(widths)
        )
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths)

    def squash(self, a: Tensor) -> Tensor:
        """The nonlinearity of the hidden layers."""
        return a.sigmoid() if self.config.activation == "sigmoid" else a.tanh()

    def begin(self, n: int) -> list[Tensor]:
        """The hidden layers before the first step: nothing yet."""
        return [bias.new_zeros(n, len(bias)) for bias in list(self.bias)[1:]]

    def corrupt(self, x: Tensor, step: Step, purpose: str) -> Tensor:
        """C: a share `noise` of the pixels becomes 0 or 1, each half of the time."""
        u = step.uniform(len(x), x.shape[1], purpose=f"{purpose} salt")
        half = self.config.noise / 2
        return torch.where(u < half, 0.0, torch.where(u > 1 - half, 1.0, x))

    def hidden(self, x: Tensor, h: list[Tensor], step: Step | None, purpose: str) -> list[Tensor]:
        """The hidden layers after one update of each, odd ones first; `step` None: without noise."""
        layers, sigma = [x, *h], self.config.hidden_noise
        for first in (1, 2):
            for i in range(first, len(layers), 2):
                a = linear(layers[i - 1], self.up[i - 1], self.bias[i])
                if i + 1 < len(layers):
                    a = a + layers[i + 1] @ self.up[i]
                if step is None or not sigma:
                    layers[i] = self.squash(a)
                    continue
                before, after = (step.noise(len(a), a.shape[1], purpose=f"{purpose} {i} {k}") for k in "ab")
                layers[i] = self.squash(a + sigma * before) + sigma * after
        return layers[1:]

    def log_odds(self, h: list[Tensor]) -> Tensor:
        """Of every pixel, (N, D): the parameters of P(x | h), a Bernoulli each."""
        return h[0] @ self.up[0] + self.bias[0]

    def transition(self, x: Tensor, h: list[Tensor], step: Step, purpose: str) -> tuple[Tensor, list[Tensor]]:
        """One step of the chain from x (N, D): the log-odds of the next picture, and the hidden layers."""
        h = self.hidden(self.corrupt(x, step, purpose), h, step, purpose)
        return self.log_odds(h), h

    def pictures(self, x: Tensor) -> Tensor:
        """(N, D) in [0, 1] -> (N, C, H, W) in [-1, 1]."""
        return x.view(-1, *self.image) * 2 - 1

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of P(x | h) after two updates of the hidden layers, without noise."""
        x = unit(images).flatten(1)
        h = self.begin(len(x))
        for _ in range(2):
            h = self.hidden(x, h, None, "")
        return self.pictures(self.log_odds(h).sigmoid())

    def features(self, images: Tensor) -> Tensor:
        """The first hidden layer without noise, (N, hidden)."""
        x = unit(images).flatten(1)
        return self.hidden(x, self.begin(len(x)), None, "")[0]

    @property
    def encoder(self) -> nn.Module:
        """What fine-tuning trains: all of it, as neighbours share their weights."""
        return self


class Walkback:
    """L = -1/K sum_k log P(x | h_k), k = 1 .. K steps of the chain that starts at x; nats / D (algorithm 1).

    Between two steps the picture is drawn from P, through which no gradient flows; through h it does.
    """

    def __init__(self, config: WalkbackConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.images is None:
            raise UsageError("gsn needs pictures: choose an image data set with --data.")
        target = unit(batch.images).flatten(1)
        x, h, total = target, model.begin(len(target)), target.new_zeros(())
        first = total
        for k in range(self.config.steps):
            a, h = model.transition(x, h, step, f"walkback {k}")
            loss = binary_cross_entropy_with_logits(a, target)
            total = total + loss / self.config.steps
            first = loss.detach() if k == 0 else first
            x = (step.uniform(len(a), a.shape[1], purpose=f"draw {k}") < a.detach().sigmoid()).to(a.dtype)
        yield Phase("model", total, {"nats": total.detach() * target.shape[1], "first": first * target.shape[1]})


def _walk(model: GSN, n: int, step: Step, steps: int) -> Iterator[Tensor]:
    """A chain of each of n pictures: the mean of P(x | h), (n, D) in [0, 1], after each step.

    It begins with pixels drawn from the biases alone: noise nearer to the data than pixels that are 1 half of the time.
    From these the paper's tanh, an odd function, finds negatives of the data, where training never went; its sigmoid
    counterpart, the default here, does not.
    """
    size = math.prod(model.image)
    x, h = (step.uniform(n, size, purpose="start") < model.bias[0].sigmoid()).float(), model.begin(n)
    for k in range(steps):
        a, h = model.transition(x, h, step, f"step {k}")
        mean = a.sigmoid()
        x = (step.uniform(n, size, purpose=f"draw {k}") < mean).to(mean.dtype)
        yield mean


@torch.no_grad()
def markov_chain(
    model: GSN, n: int, *, step: Step, labels: Tensor | None = None, steps: int = 100, pixels: str = "mean"
) -> Iterator[Partial | Samples]:
    """n chains, each of which gives the picture it has reached after `steps` steps (equation 15)."""
    mean = torch.empty(0)
    for k, mean in enumerate(_walk(model, n, step, steps)):
        yield Partial(k + 1, steps, images=model.pictures(mean))
    if pixels == "draw":
        mean = (step.uniform(n, mean.shape[1], purpose="last") < mean).to(mean.dtype)
    yield Samples(images=model.pictures(mean))


@torch.no_grad()
def chain(
    model: GSN,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    rows: int = 6,
    columns: int = 20,
    start: int = 0,
    every: int = 1,
) -> Iterator[Partial | Samples]:
    """A row for each chain: its pictures from step `start` on, `every` steps apart (figure 4)."""
    last = start + every * (columns - 1)
    shown = []
    for k, mean in enumerate(_walk(model, rows, step, last + 1)):
        if k >= start and (k - start) % every == 0:
            shown.append(mean)
        yield Partial(k + 1, last + 1)
    images = model.pictures(torch.stack(shown, 1).flatten(0, 1))
    captions = [str(start + every * c + 1) for _ in range(rows) for c in range(columns)]
    title = f"each row: a chain from noise, step {start + 1} to {last + 1}" + (f", every {every}" if every > 1 else "")
    yield Samples(images=images, columns=columns, captions=captions, title=title)
