"""Perplexity of a text under a model of the next token. Every figure says whether the state was carried."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.data.batch import Batch
from gentool.data.tokens import tokenizer
from gentool.errors import GentoolError
from gentool.evaluating import Context, Report, Scalar
from gentool.sampling import Samples
from gentool_metrics import PerplexityConfig


class Perplexity:
    """Streams -log p(token | those before it), summed in float64; exp of the mean is the perplexity.

    Figures by character divide by the characters that begin in the predicted tokens, so models of different tokens can be
    compared.
    """

    def __init__(self, config: PerplexityConfig, context: Context) -> None:
        self.context = context
        self.carry = config.carry
        self.state: dict[str, Tensor] | None = None
        self.nats, self.tokens, self.characters = 0.0, 0, 0
        self.streams, self.window = 0, 0
        read = tokenizer(context.info)
        self.letters = torch.tensor([read.letters(i) for i in range(read.size)], device=context.device)

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        model: Any = self.context.model
        assert batch.fresh is not None
        if not self.carry or bool(batch.fresh.all()):
            self.state = None
        with torch.no_grad():
            logits, self.state = model.advance(batch.inputs, self.state)
        targets = batch.targets
        nats = F.cross_entropy(logits.double().flatten(0, 1), targets.flatten(), reduction="sum")
        counted = targets[targets >= 0]
        self.nats += float(nats)
        self.tokens += counted.numel()
        self.characters += int(self.letters[counted].sum())
        self.streams = max(self.streams, len(batch))
        self.window = max(self.window, targets.shape[1])

    def merge(self, other: Perplexity) -> None:
        self.nats += other.nats
        self.tokens += other.tokens
        self.characters += other.characters
        self.streams = max(self.streams, other.streams)
        self.window = max(self.window, other.window)

    def compute(self) -> Report:
        context = self.context
        if not math.isfinite(self.nats):
            raise GentoolError(
                f"{context.model_name} gives the text of {context.dataset} no finite likelihood; train it further."
            )
        by_token, by_character = self.nats / max(1, self.tokens), self.nats / max(1, self.characters)
        # exp overflows where an untrained net is sure of the wrong token.
        perplexity = math.exp(by_token) if by_token < 700 else math.inf
        how = (
            f"stateful over the whole text in {self.streams} streams"
            if self.carry
            else f"windowed: every {self.window} tokens from nothing"
        )
        if context.limit:
            how = how.replace("the whole text", f"its first {context.limit:,} windows")
        return Report(
            name="perplexity",
            scalars=[
                Scalar("perplexity", perplexity, "per token"),
                Scalar("nats/token", by_token, "nats"),
                Scalar("nats/char", by_character, "nats"),
                Scalar("bits/char", by_character / math.log(2), "bits"),
            ],
            protocol=f"{context.dataset} {context.split}, N={self.tokens:,} tokens = {self.characters:,} characters, {how}",
        )
