"""How text is drawn: each token given those before it, by inverting its distribution at one uniform number.

The uniform number of a token is a function of (seed, item, place), so every decoder draws the same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Partial, Samples, Step
from gentool.data.tokens import tokenizer

from . import kernels
from .backbone import State
from .decoding import Decoder, decoder
from .kernels import BELOW_ONE
from .recurrent import Recurrent

if TYPE_CHECKING:
    from .language import CharLM

UNFINISHED = "\ufffd"  # what a decoder shows for the first bytes of a character


def autoregressive(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    prompt: str = "",
    length: int = 500,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Iterator[Partial | Samples]:
    """`length` tokens after `prompt`, n texts at once; a text begins with its prompt.

    Raises:
        UsageError: the prompt has characters that the vocabulary has not.
    """
    tokens = tokenizer(model.info, "text")
    # A prompt stands at the beginning of a line: training hardly ever begins from nothing, and a net whose state is
    # carried along may find no way out of one that it has never been in.
    before = [model.opening(), *tokens.encode(prompt)]
    given = torch.tensor(before, device=step.device).expand(n, -1)
    logits, state = model.advance(given)
    uniform = step.uniform(n, length, purpose="tokens").t().contiguous()
    writer = Writer(tokens, n, prompt)
    yield Partial(0, length, text=writer.shown())
    if top_k == 0 and top_p == 1 and temperature > 0 and one_launch(model, uniform.device):
        tokens_drawn = launches(model, logits[:, -1], state, uniform, temperature)
    else:
        tokens_drawn = draw(logits[:, -1], decoder(model, state), uniform, temperature, top_k, top_p)
    for done, drawn in enumerate(tokens_drawn, 1):
        writer.add(drawn.tolist())
        yield Partial(done, length, text=writer.shown())
    yield Samples(text=writer.whole())


def draw(
    logits: Tensor, net: Decoder, uniform: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Iterator[Tensor]:
    """Tokens (N,), as many as `uniform` (T, N) has rows; `logits` (N, V) are those of the first."""
    last = len(uniform) - 1
    for place, u in enumerate(uniform.unbind(0)):
        drawn = choose(logits, u, temperature, top_k, top_p)
        yield drawn
        if place < last:
            logits = net.step(drawn)


def one_launch(model: Any, device: torch.device) -> bool:
    """Whether whole runs of steps are one launch of the family's kernel for this model and device."""
    net = getattr(model, "backbone", None)
    if not isinstance(net, Recurrent) or net.config.cell == "rnn":
        return False
    return kernels.decode.uses_triton(device) and not kernels.unfit(net.width, model.tokenizer.size)


def launches(
    model: CharLM, logits: Tensor, state: State, uniform: Tensor, temperature: float, each: int = 32
) -> Iterator[Tensor]:
    """What `draw` gives, by launches of `each` steps."""
    net = model.backbone
    assert isinstance(net, Recurrent)
    parts = net.begin(state)
    packed = [part.contiguous() for part in kernels.pack(model)]
    drawn = choose(logits, uniform[0], temperature)[None]
    yield drawn[0]
    for part in torch.split(uniform[1:], each):
        drawn, *parts = kernels.decode(
            drawn[-1], parts[0], parts[-1], part, packed, net.config.cell == "gru", temperature
        )
        yield from drawn


def choose(logits: Tensor, u: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """One token of each row of logits (N, V) by uniform numbers u (N,) in [0, 1): int64 (N,).

    top_k: Fan et al. 2018; top_p: nucleus sampling, Holtzman et al. 2020: the fewest tokens whose probabilities sum to
    at least that. Both after the temperature; the likeliest token always stays.
    """
    if temperature == 0:
        return logits.argmax(1)
    weights = torch.softmax(logits if temperature == 1 else logits / temperature, 1)
    if 0 < top_k < weights.shape[1]:
        least = weights.topk(top_k, 1).values[:, -1:]
        weights = weights.masked_fill(weights < least, 0.0)
    if top_p < 1:
        ranked, order = weights.sort(1, descending=True)
        before = ranked.cumsum(1) - ranked
        out = before >= top_p * ranked.sum(1, keepdim=True)
        weights = torch.zeros_like(weights).scatter(1, order, ranked.masked_fill(out, 0.0))
    # The first token whose cumulative weight is above u times the total: so its own weight is not 0.
    cumulative = weights.cumsum(1)
    return (cumulative <= BELOW_ONE * u[:, None] * cumulative[:, -1:]).sum(1)


class Writer:
    """Texts that grow token by token."""

    def __init__(self, tokens: Any, n: int, prompt: str):
        self.tokens = tokens
        self.plain = tokens.kind == "characters"  # then a token is what it shows; else the whole has to be decoded
        self.text = [prompt] * n
        self.ids: list[list[int]] = [[] for _ in range(n)]
        self.prompt = prompt

    def add(self, drawn: list[int]) -> None:
        for i, token in enumerate(drawn):
            if self.plain:
                self.text[i] += self.tokens.token(token)
            else:
                self.ids[i].append(token)

    def shown(self) -> list[str]:
        """What is certain so far: the last character may wait for the rest of its bytes."""
        if self.plain:
            return list(self.text)
        return [text.rstrip(UNFINISHED) for text in self.whole()]

    def whole(self) -> list[str]:
        if self.plain:
            return list(self.text)
        return [self.prompt + self.tokens.decode(ids) for ids in self.ids]
