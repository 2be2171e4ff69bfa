"""Two families in one file for tests of the host: a model of text whose objective carries its state, and a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import (
    Batch,
    DataInfo,
    LossSpec,
    ModelSpec,
    Output,
    Partial,
    Phase,
    SamplerSpec,
    Samples,
    Step,
    hookimpl,
    option,
)
from gentool.data.tokens import tokenizer


@dataclass(frozen=True, kw_only=True)
class Config:
    hidden: int = option(8, "width", ge=1, le=256)
    dropout: float = option(0.2, "share of units dropped", ge=0, lt=1)


class TinyText(nn.Module):
    state_dim = 0

    def __init__(self, config: Config, info: DataInfo) -> None:
        super().__init__()
        self.config, self.info = config, info
        size = tokenizer(info).size
        self.embedding = nn.Embedding(size, config.hidden)
        self.net = nn.GRU(config.hidden, config.hidden, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, size)

    def advance(self, tokens: Tensor, state: Mapping[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        h = None if state is None else state["h"][None].contiguous()
        out, last = self.net(self.embedding(tokens), h)
        return self.head(self.dropout(out)), {"h": last[0]}

    def detach(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: tensor.detach() for key, tensor in state.items()}


class Carried:
    """Cross-entropy of the next token with the state of every row kept from step to step."""

    def __init__(self, config: object) -> None:
        self.state: dict[str, Tensor] = {}

    def __call__(self, model: TinyText, batch: Batch, step: Step) -> Iterator[Phase]:
        assert batch.index is not None
        assert batch.fresh is not None
        kept = self.state.get("h")
        rows = int(batch.index.max()) + 1
        if kept is None or len(kept) < rows:
            grown = torch.zeros(rows, model.config.hidden, device=step.device)
            kept = grown if kept is None else torch.cat([kept, grown[len(kept) :]])
        own = kept[batch.index].masked_fill(batch.fresh[:, None], 0)
        logits, after = model.advance(batch.inputs, {"h": own})
        kept = kept.clone()
        kept[batch.index] = after["h"].detach()
        self.state = {"h": kept}
        loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        yield Phase("model", loss, {"nats": loss.detach()})

    def carry(self) -> Mapping[str, Tensor]:
        return self.state

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.state = dict(tensors)


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    prompt: str = option("", "text to go on from")
    length: int = option(20, "tokens to draw", ge=1, le=10_000)


def draw(
    model: TinyText, n: int, *, step: Step, labels: Tensor | None = None, prompt: str = "", length: int = 20
) -> Iterator[Partial | Samples]:
    read = tokenizer(model.info)
    begun = torch.tensor([read.encode(prompt or read.token(0))] * n)
    ids, state = begun, None
    drawn: list[list[int]] = [[] for _ in range(n)]
    for place in range(length):
        logits, state = model.advance(ids, state)
        uniform = step.uniform(n, 1, purpose=f"token{place}")
        ids = (logits[:, -1].softmax(1).cumsum(1) < uniform).sum(1, keepdim=True).clamp(max=read.size - 1)
        for row, token in zip(drawn, ids[:, 0].tolist()):
            row.append(token)
        yield Partial(place + 1, length, text=[prompt + read.decode(row) for row in drawn])
    yield Samples(text=[prompt + read.decode(row) for row in drawn])


class TinyLabel(nn.Module):
    def __init__(self, config: Config, info: DataInfo) -> None:
        super().__init__()
        self.config, self.info = config, info
        assert info.image is not None
        size = info.image[0] * info.image[1] * info.image[2]
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, len(info.classes)))

    def logits(self, images: Tensor) -> Tensor:
        return self.net(images)


class Guess:
    """Cross-entropy of the class."""

    def __init__(self, config: object) -> None:
        pass

    def __call__(self, model: TinyLabel, batch: Batch, step: Step) -> Iterator[Phase]:
        assert batch.images is not None
        assert batch.labels is not None
        yield Phase("model", F.cross_entropy(model.logits(batch.images), batch.labels))


TRAIN: Any = {"train.batch_size": 4, "checkpoint.every": 3, "optim.model.lr": 0.01}


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="tiny-text",
            summary="A tiny model of text for tests",
            factory="tiny_sequences:TinyText",
            config=Config,
            output=Output.TEXT,
            loss="carried",
            sampler="tiny-letters",
            evaluators=("perplexity",),
            dataset="pydocs",
            offers=("next-token",),
            inputs=("tokens",),
            paper="none",
            defaults={**TRAIN, "train.steps": 12, "train.ema": 0.9, "preview.n": 2, "data.window": 16},
            presets={"debug": {"train.steps": 2}},
        ),
        ModelSpec(
            name="tiny-label",
            summary="A tiny classifier for tests",
            factory="tiny_sequences:TinyLabel",
            config=Config,
            output=Output.LABEL,
            loss="guess",
            sampler=None,
            evaluators=("accuracy",),
            dataset="digits",
            offers=("classify",),
            inputs=("image", "label"),
            paper="none",
            defaults={**TRAIN, "train.steps": 60, "train.batch_size": 64, "preview.n": 8},
            presets={"debug": {"train.steps": 2}},
        ),
    ]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="carried", summary="text", factory="tiny_sequences:Carried", needs=("next-token",), monitor="nats"
        ),
        LossSpec(name="guess", summary="label", factory="tiny_sequences:Guess", needs=("classify",), monitor="loss"),
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="tiny-letters",
            summary="one letter after the other",
            factory="tiny_sequences:draw",
            needs=("next-token",),
            output=Output.TEXT,
            config=DrawConfig,
        )
    ]
