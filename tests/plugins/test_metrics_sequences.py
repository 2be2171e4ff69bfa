"""Perplexity against one pass in float64, by tokens and by characters; accuracy against scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gentool_metrics import PerplexityConfig
from gentool_metrics.classification import Accuracy
from gentool_metrics.language import Perplexity
from torch import Tensor

from gentool import Batch, Context, DataInfo, GentoolError, Step, UsageError
from gentool.data.config import TextConfig
from gentool.data.text import TextPipeline, TextSet

TEXT = "the cat sat on the mat, and the dog sat on the cat. " * 9 + "été à Zürich"


class Counting:
    """Logits that depend on all tokens read since the state began, so that a lost state changes the figure."""

    def __init__(self, size: int, scale: float = 1.0) -> None:
        self.table = torch.randn(size, size, generator=torch.Generator().manual_seed(0)) * scale

    def advance(self, tokens: Tensor, state: Mapping[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        begun = torch.zeros(len(tokens), self.table.shape[1]) if state is None else state["sum"]
        sums = begun[:, None] + torch.cumsum(self.table[tokens], 1)
        return sums / 9, {"sum": sums[:, -1]}


def pipeline(kind: str = "characters", window: int = 16) -> TextPipeline:
    config = TextConfig(tokens=kind, vocabulary=280, window=window)  # type: ignore[arg-type]
    return TextPipeline(lambda split: TextSet("t", split, TEXT), config, "cpu", 0)


def context(model: Any, info: DataInfo, limit: int | None = None) -> Context:
    return Context(
        model=model, model_name="m", info=info, step=Step(seed=0), device=torch.device("cpu"), dataset="t",
        split="test", limit=limit, open_batches=None, draw_samples=None,
    )  # fmt: skip


def report(run: TextPipeline, size: int, carry: bool = True, limit: int | None = None) -> Any:
    model = Counting(run.tokenizer.size)
    made = Perplexity(PerplexityConfig(carry=carry), context(model, run.info, limit))
    for batch in run.batches("test", size, limit):
        made.update(batch)
    return made.compute()


def by_hand(run: TextPipeline, parts: list[Tensor]) -> float:
    table = Counting(run.tokenizer.size).table.double()
    nats = 0.0
    for ids in parts:
        logits = torch.cumsum(table[ids[:-1]], 0) / 9
        nats -= float(logits.log_softmax(1).gather(1, ids[1:, None]).sum())
    return nats


@pytest.mark.parametrize("kind", ["characters", "bpe"])
@pytest.mark.parametrize("size", [1, 3, 64])
def test_perplexity_is_that_of_one_pass_over_each_stream(kind: str, size: int) -> None:
    run = pipeline(kind)
    ids = run.split("test").ids.long()
    total = len(ids) - 1
    rows = max(1, min(size, 16, total // 16))
    length = -(-total // rows)
    nats = by_hand(run, [ids[i * length : min((i + 1) * length, total) + 1] for i in range(rows)])
    found = report(run, size)
    figures = {s.name: s.value for s in found.scalars}
    characters = len(TEXT) - len(run.tokenizer.decode(ids[:1].tolist()))
    assert figures["nats/token"] == pytest.approx(nats / total, rel=1e-5)
    assert figures["perplexity"] == pytest.approx(math.exp(nats / total), rel=1e-4)
    assert figures["nats/char"] == pytest.approx(nats / characters, rel=1e-5)
    assert figures["bits/char"] == pytest.approx(nats / characters / math.log(2), rel=1e-5)
    assert f"N={total:,} tokens = {characters:,} characters" in found.protocol
    assert f"stateful over the whole text in {rows} streams" in found.protocol


def test_windowed_is_each_window_from_nothing() -> None:
    run = pipeline(window=10)
    ids = run.split("test").ids.long()[:51]
    found = report(run, 1, carry=False, limit=5)
    nats = by_hand(run, [ids[i : i + 11] for i in range(0, 50, 10)])
    assert {s.name: s.value for s in found.scalars}["nats/token"] == pytest.approx(nats / 50, rel=1e-5)
    assert "windowed: every 10 tokens from nothing" in found.protocol
    whole = report(run, 1, limit=5)
    assert "its first 5 windows in 1 streams" in whole.protocol
    assert whole.scalars[0].value != found.scalars[0].value


def test_merging_is_adding() -> None:
    run = pipeline()
    batches = list(run.batches("test", 4))
    model = context(Counting(run.tokenizer.size), run.info)
    one, first, second = (Perplexity(PerplexityConfig(carry=False), model) for _ in range(3))
    for batch in batches:
        one.update(batch)
    for batch in batches[:2]:
        first.update(batch)
    for batch in batches[2:]:
        second.update(batch)
    first.merge(second)
    assert [s.value for s in first.compute().scalars] == pytest.approx([s.value for s in one.compute().scalars])


def test_what_is_not_finite_is_a_sentence_and_a_wrong_certainty_is_infinite() -> None:
    run = pipeline()
    made = Perplexity(PerplexityConfig(), context(Counting(run.tokenizer.size, math.nan), run.info))
    for batch in run.batches("test", 4):
        made.update(batch)
    with pytest.raises(GentoolError, match="no finite likelihood"):
        made.compute()
    sure = Perplexity(PerplexityConfig(), context(Counting(run.tokenizer.size, 1e6), run.info))
    for batch in run.batches("test", 4):
        sure.update(batch)
    assert sure.compute().scalars[0].value == math.inf


def test_accuracy_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

    draw = np.random.default_rng(0)
    true, said = draw.integers(0, 4, 500), draw.integers(0, 5, 500)
    said = np.where(draw.random(500) < 0.6, true, said)
    info = DataInfo(name="t", image=(1, 2, 2), classes=("a", "b", "c\x1b", "d", "none"))
    logits = torch.nn.functional.one_hot(torch.from_numpy(said), 5).float()
    model = SimpleNamespace(logits=lambda images: logits[images])
    made = [Accuracy(None, context(model, info)) for _ in range(2)]
    for start in range(0, 500, 100):
        index = torch.arange(start, start + 100)
        made[start >= 300].update(Batch(images=index, labels=torch.from_numpy(true[start : start + 100])))
    made[0].merge(made[1])
    found = made[0].compute()
    share = accuracy_score(true, said)
    assert found.scalars[0].value == pytest.approx(100 * share)
    assert found.scalars[0].error == pytest.approx(100 * math.sqrt(share * (1 - share) / 500))
    assert np.array_equal(found.extra["confusion"], confusion_matrix(true, said, labels=range(5)))
    recall = recall_score(true, said, labels=range(4), average=None)
    precision = precision_score(true, said, labels=range(4), average=None)
    for i in range(4):
        assert found.table[i]["recall"] == f"{100 * recall[i]:.1f} %"
        assert found.table[i]["precision"] == f"{100 * precision[i]:.1f} %"
    assert found.table[4]["recall"] == "-"
    row = confusion_matrix(true, said, labels=range(5))[0].copy()
    row[0] = 0
    worst = int(row.argmax())
    assert str(found.table[0]["most often taken for"]).startswith(f"{info.classes[worst]} ({row[worst]})")
    assert found.to_json()["extra"]["classes"] == list(info.classes)


def test_accuracy_wants_labels() -> None:
    info = DataInfo(name="t", classes=("a", "b"))
    with pytest.raises(UsageError, match="no labels"):
        Accuracy(None, context(None, info)).update(Batch(images=torch.zeros(2, 1, 1, 1)))
