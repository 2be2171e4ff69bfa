"""Text is drawn from the distribution that the options say, and streams as it is drawn."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from gentool_rnn.sampler import Writer, choose
from gentool_rnn.sampler import autoregressive as sampler
from rnn_nets import ALL, language

from gentool import Partial, Samples, Step, UsageError
from gentool.data.tokens import Bpe, Characters


def autoregressive(*args: Any, **options: Any) -> list[Any]:
    """The sampler's events, drawn as the host draws them."""
    with torch.no_grad():
        return list(sampler(*args, **options))


def shares(logits: torch.Tensor, **options: float) -> np.ndarray:
    """How often each token is drawn over an even grid of uniform numbers."""
    u = (torch.arange(20_000, dtype=torch.double) + 0.5) / 20_000
    drawn = choose(logits.double().expand(len(u), -1), u, **options)
    return np.bincount(drawn.numpy(), minlength=len(logits)) / len(u)


LOGITS = torch.tensor([1.0, -2.0, 3.0, 0.5, 2.9])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def test_the_distribution_is_the_softmax():
    p = softmax(LOGITS.numpy().astype(float))
    np.testing.assert_allclose(shares(LOGITS), p, atol=2e-4)
    np.testing.assert_allclose(shares(LOGITS, temperature=2.0), softmax(LOGITS.numpy() / 2.0), atol=2e-4)
    assert shares(LOGITS, temperature=0)[2] == 1


def test_top_k_and_top_p_cut_the_tail():
    p = softmax(LOGITS.numpy().astype(float))
    for k in (1, 2, 3, 5, 99):
        kept = np.where(np.argsort(np.argsort(-p)) < k, p, 0)
        np.testing.assert_allclose(shares(LOGITS, top_k=k), kept / kept.sum(), atol=2e-4)
    order = np.argsort(-p)
    for top_p in (1e-9, 0.5, 0.9, 0.99, 1.0):
        count = 1 + int((np.cumsum(p[order]) < top_p).sum()) if top_p < 1 else 5  # the fewest that sum to top_p
        kept = np.zeros(5)
        kept[order[:count]] = p[order[:count]]
        np.testing.assert_allclose(shares(LOGITS, top_p=top_p), kept / kept.sum(), atol=2e-4)
    both = np.zeros(5)
    both[order[:2]] = p[order[:2]]
    np.testing.assert_allclose(shares(LOGITS, top_k=3, top_p=0.5), both / both.sum(), atol=2e-4)


def test_the_last_uniform_number_draws_a_token_that_is_allowed():
    u = torch.tensor([1 - 2**-24])
    logits = torch.tensor([[5.0, -1.0, 0.0, -100.0]])
    assert int(choose(logits, u, top_k=1)) == 0
    assert int(choose(logits, u)) <= 3
    many = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0))
    assert int(choose(many, u)) < 3000


@pytest.mark.parametrize("cell", ALL)
def test_texts_begin_with_the_prompt_and_grow(cell):
    model = language(cell, torch.float32)
    events = autoregressive(model, 3, step=Step(seed=2), prompt="abba", length=30)
    *partial, last = events
    assert isinstance(last, Samples)
    assert all(isinstance(e, Partial) for e in partial)
    assert [e.done for e in partial] == list(range(31))
    assert partial[0].text == ["abba"] * 3
    for before, after in itertools.pairwise(partial):
        assert all(b.startswith(a) and len(b) == len(a) + 1 for a, b in zip(before.text, after.text, strict=True))
    assert last.text == partial[-1].text
    assert len(set(last.text)) == 3
    again = (autoregressive(model, 3, step=Step(seed=2), prompt="abba", length=30))[-1]
    assert again.text == last.text
    assert (autoregressive(model, 3, step=Step(seed=3), prompt="abba", length=30))[-1].text != last.text


def test_a_text_without_a_prompt_and_one_with_unknown_characters():
    model = language("lstm", torch.float32)
    *_, last = autoregressive(model, 1, step=Step(seed=0), length=5)
    assert len(last.text[0]) == 5
    with pytest.raises(UsageError, match="'x'"):
        (autoregressive(model, 1, step=Step(seed=0), prompt="abx"))


def test_the_first_token_follows_the_prompt():
    """Greedy drawing takes the likeliest token after the prompt, then after that, by the model's own logits."""
    model = language("gru", torch.float32)
    *_, last = autoregressive(model, 1, step=Step(seed=0), prompt="abc", length=8, temperature=0)
    ids = [model.opening(), *model.tokenizer.encode(last.text[0])]  # a prompt stands at the beginning of a line
    with torch.no_grad():
        expected = model.advance(torch.tensor([ids]))[0].argmax(2)[0, 3:-1].tolist()
    assert ids[4:] == expected


def test_half_a_character_is_not_shown():
    tokens = Bpe([])  # bytes alone
    writer = Writer(tokens, 1, "so: ")
    shown = []
    for token in tokens.encode("é€ok"):
        writer.add([token])
        shown.append(writer.shown()[0])
    assert shown == ["so: ", "so: é", "so: é", "so: é", "so: é€", "so: é€o", "so: é€ok"]
    plain = Writer(Characters("ab"), 2, "")
    plain.add([0, 1])
    assert plain.shown() == ["a", "b"]
