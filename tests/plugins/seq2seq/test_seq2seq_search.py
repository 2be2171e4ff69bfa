"""Beam search against enumeration of every sentence, greedy against a plain loop, draws against the model's own odds."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from gentool_seq2seq.search import Search, normaliser, search
from hypothesis import given, settings
from hypothesis import strategies as st
from seq2seq_nets import ATTENTIONS, ORDERS, net, padded, sentences

from gentool import Step

STEP = Step(seed=0)
END, UNK = 2, 3


def log_prob(model, source, length, tokens: list[int]) -> float:
    """log p of a whole target by teacher forcing; <pad> and <start> cannot be written."""
    target = torch.tensor([[1, *tokens]])
    logits = model.score(source, length, target[:, :-1]).double()
    logits[..., [0, 1]] = -math.inf
    log_p = logits.log_softmax(-1)
    return log_p[0].gather(-1, target[0, 1:, None]).sum().item()


def enumerate_all(model, source, length, longest: int, alpha: float) -> list[tuple[float, list[int]]]:
    """Every target of at most `longest` tokens, <end> counted, the best first."""
    words = [i for i in range(model.target.size) if i not in (0, 1, END)]
    found = []
    for n in range(longest):
        for tokens in itertools.product(words, repeat=n):
            score = log_prob(model, source, length, [*tokens, END]) / ((5 + n + 1) / 6) ** alpha
            found.append((score, list(tokens)))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("order", ORDERS)
def test_a_wide_beam_is_exhaustive(alpha, order):
    """3 words and <end>, up to 4 tokens: 40 targets. Nothing is lost by a beam as wide as that."""
    model = net(seed=3, target=2, scale=2.0, order=order)
    source, length = padded([[4, 5, 2]])
    found = search(model, source, length, Search(beam=40, best=6, length_penalty=alpha, longest=4), step=STEP)[0]
    true = enumerate_all(model, source, length, 4, alpha)
    assert [h.tokens for h in found] == [tokens for _, tokens in true[:6]]
    for h, (score, _) in zip(found, true, strict=False):
        assert h.score == pytest.approx(score, rel=1e-9)
        assert h.log_prob == pytest.approx(log_prob(model, source, length, [*h.tokens, END]), rel=1e-9)
        assert h.ended


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 500), beam=st.integers(1, 6), alpha=st.sampled_from([0.0, 0.6, 1.0]))
def test_stopping_early_loses_nothing(seed, beam, alpha):
    """Against a plain beam that never stops before the last step."""
    model = net(seed=seed, target=3, scale=2.0)
    source, length = padded(sentences([3], 9, seed=seed))
    found = search(
        model, source, length, Search(beam=beam, best=min(beam, 2), length_penalty=alpha, longest=5), step=STEP
    )
    best = found[0][0]
    if beam == 1:
        return
    alive, ended = [(0.0, [])], []
    for i in range(5):
        made = []
        for score, tokens in alive:
            logits = model.score(source, length, torch.tensor([[1, *tokens]]))[0, -1].double()
            logits[[0, 1]] = -math.inf
            made += [
                (score + p, [*tokens, token]) for token, p in enumerate(logits.log_softmax(-1).tolist()) if p > -1e9
            ]
        made.sort(reverse=True)
        ended += [(s / normaliser(i + 1, alpha), t[:-1]) for s, t in made[: 2 * beam] if t[-1] == END]
        alive = [(s, t) for s, t in made[: 2 * beam] if t[-1] != END][:beam]
    ended.sort(reverse=True)
    if len(ended) >= beam:
        assert (best.tokens, best.score) == (ended[0][1], pytest.approx(ended[0][0]))


def test_greedy_is_a_loop_over_the_likeliest():
    for attention in ATTENTIONS:
        model = net(seed=5, attention=attention, scale=2.0)
        source, length = padded(sentences([4], 9))
        for how in (Search(beam=1), Search(beam=1, longest=3)):
            found = search(model, source, length, how, step=STEP)[0][0]
            tokens: list[int] = []
            while len(tokens) < (how.longest or 2 * 4 + 10):
                logits = model.score(source, length, torch.tensor([[1, *tokens]]))[0, -1]
                logits[[0, 1]] = -math.inf
                token = int(logits.argmax())
                if token == END:
                    break
                tokens.append(token)
            assert found.tokens == tokens
            assert found.ended == (len(tokens) < (how.longest or 18))


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    beam=st.integers(1, 4),
    order=st.sampled_from(ORDERS),
    attention=st.sampled_from(ATTENTIONS),
    seed=st.integers(0, 300),
)
def test_company_and_padding_change_no_translation(lengths, beam, order, attention, seed):
    model = net(seed=seed, order=order, attention=attention, scale=2.0)
    rows = sentences(lengths, 9, seed=seed)
    source, length = padded(rows, to=max(lengths) + 2)
    how = Search(beam=beam, best=1 if beam == 1 else 2)
    together = search(model, source, length, how, step=STEP)
    for row, found in zip(rows, together, strict=True):
        alone = search(model, torch.tensor([row]), torch.tensor([len(row)]), how, step=STEP)[0]
        assert [h.tokens for h in found] == [h.tokens for h in alone]
        for a, b in zip(found, alone, strict=True):
            assert a.score == pytest.approx(b.score, rel=1e-9)
            if a.attention is not None and b.attention is not None:
                assert not a.attention[:, len(row) :].any()
                torch.testing.assert_close(a.attention[:, : len(row)], b.attention, rtol=1e-9, atol=1e-9)


def test_the_attention_of_a_hypothesis_is_that_of_its_own_words():
    model = net(seed=8, scale=2.0)
    source, length = padded(sentences([5, 3], 9))
    for found in (
        search(model, source, length, Search(beam=4, best=4), step=STEP),
        search(model, source, length, Search(beam=1), step=STEP),
    ):
        for b, hypotheses in enumerate(found):
            for h in hypotheses:
                memory, state = model.encode(source[b : b + 1], length[b : b + 1])
                tokens = torch.tensor([[1, *h.tokens]])[:, : len(h.attention)]
                _, alpha = model.decode(tokens, memory, state)
                torch.testing.assert_close(h.attention, alpha[0])
                assert len(h.attention) == len(h.tokens) + h.ended


def test_draws_have_the_models_odds():
    model = net(seed=2, target=2, scale=2.0)
    source, length = padded([[4, 2]])
    how = Search(sample=True, best=4000, longest=2, temperature=0.7)
    found = search(model, source, length, how, step=STEP)[0]
    counts = Counter(tuple(h.tokens) for h in found)
    logits = model.score(source, length, torch.tensor([[1]]))[0, -1] / 0.7
    logits[[0, 1]] = -math.inf
    p_empty = logits.softmax(-1)[END].item()
    assert counts[()] / 4000 == pytest.approx(p_empty, abs=4 * math.sqrt(p_empty * (1 - p_empty) / 4000))
    again = search(model, source, length, how, step=STEP)[0]
    assert [h.tokens for h in again] == [h.tokens for h in found]
    other = search(model, source, length, how, step=Step(seed=1))[0]
    assert [h.tokens for h in other] != [h.tokens for h in found]


def test_a_target_that_does_not_end_is_cut_and_said_to_be():
    model = net(seed=1, target=3)
    with torch.no_grad():
        model.bias[END] = -math.inf
    source, length = padded([[4, 5, 2], [6, 2, 0]])
    for how in (Search(beam=1), Search(beam=3, best=3), Search(sample=True, best=2)):
        for b, hypotheses in enumerate(search(model, source, length, how, step=STEP)):
            assert len(hypotheses) == how.best
            for h in hypotheses:
                assert not h.ended
                assert len(h.tokens) == 2 * int(length[b]) + 10


def test_nothing_writes_padding_or_start():
    model = net(seed=4)
    with torch.no_grad():
        model.bias[:2] = 100
    source, length = padded([[4, 5, 2]])
    for how in (Search(beam=1), Search(beam=4, best=4), Search(sample=True, best=20)):
        for h in search(model, source, length, how, step=STEP)[0]:
            assert not {0, 1, END} & set(h.tokens)


def test_longer_targets_win_with_a_greater_penalty():
    """log |log p| - alpha log(5 + |Y|) is least: the length of the best of all targets only grows with alpha."""
    assert [normaliser(n, 0.0) for n in (1, 9)] == [1, 1]
    assert normaliser(7, 1.0) == 2
    grown = 0
    for seed in range(4):
        model = net(seed=seed, target=2, scale=2.0)
        source, length = padded(sentences([5], 9))
        hows = [Search(beam=40, length_penalty=alpha, longest=4) for alpha in (-4.0, 0.0, 2.0, 5.0)]
        lengths = [len(search(model, source, length, how, step=STEP)[0][0].tokens) for how in hows]
        assert lengths == sorted(lengths)
        grown += lengths[-1] > lengths[0]
    assert grown
