"""What a net carries along: a sequence in pieces is the sequence as a whole, past any window, row by row."""

from __future__ import annotations

import pytest
import torch
from gentool_rnn.decoding import Cached, Uncached, decoder
from gentool_rnn.sampler import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from rnn_nets import ALL, CELLS, language

TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


@pytest.mark.parametrize("cell", ALL)
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_pieces_are_the_whole(cell, cuts, seed):
    """29 tokens and more against a window of 6 for attention and a receptive field of 13 for the convolutions."""
    model = language(cell)
    tokens = torch.randint(9, (3, sum(cuts) + 4), generator=torch.Generator().manual_seed(seed))
    whole, end = model.advance(tokens)
    parts, state = [], None
    for piece in tokens.split([*cuts, 4], 1):
        logits, state = model.advance(piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, **TOLERANCE)
    assert state.keys() == end.keys()
    for name in state:
        torch.testing.assert_close(state[name], end[name], **TOLERANCE)


@pytest.mark.parametrize("cell", ALL)
def test_nothing_looks_ahead(cell):
    model = language(cell)
    tokens = torch.randint(9, (2, 20))
    changed = tokens.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 9
    a, b = model.advance(tokens)[0], model.advance(changed)[0]
    torch.testing.assert_close(a[:, :12], b[:, :12], rtol=0, atol=1e-12)
    assert not torch.allclose(a[:, 12], b[:, 12])


@pytest.mark.parametrize("cell", ["tcn", "attention"])
def test_the_window_is_what_it_says(cell):
    """A token as far back as the window reaches changes the last logits; one before that does not."""
    model = language(cell, layers=1 if cell == "attention" else 2)
    reach = 6 if cell == "attention" else model.backbone.reach
    tokens = torch.randint(9, (1, 40))
    last = model.advance(tokens)[0][:, -1]
    for back, seen in ((reach - 1, True), (reach, False)):
        changed = tokens.clone()
        changed[:, -1 - back] = (changed[:, -1 - back] + 1) % 9
        assert torch.allclose(model.advance(changed)[0][:, -1], last, rtol=0, atol=1e-12) != seen


@pytest.mark.parametrize("initial", ["zero", "learned"])
@pytest.mark.parametrize("cell", ALL)
def test_a_row_of_zeros_has_not_begun(cell, initial):
    """Rows of a state can be zeroed, picked and put in another order, each with its own past."""
    model = language(cell, initial=initial)
    tokens, more = torch.randint(9, (4, 11)), torch.randint(9, (4, 5))
    _, state = model.advance(tokens)
    for part in state.values():
        part[[0, 2]] = 0
    logits, after = model.advance(more, state)
    fresh, fresh_after = model.advance(more)
    torch.testing.assert_close(logits[[0, 2]], fresh[[0, 2]], **TOLERANCE)
    expected, _ = model.advance(torch.cat([tokens, more], 1))
    torch.testing.assert_close(logits[[1, 3]], expected[[1, 3], 11:], **TOLERANCE)
    assert not torch.allclose(logits[[1, 3]], fresh[[1, 3]])
    order = [3, 0]
    picked, _ = model.advance(more[order], {name: part[order] for name, part in after.items()})
    both, _ = model.advance(more, after)
    torch.testing.assert_close(picked, both[order], **TOLERANCE)
    assert fresh_after.keys() == after.keys()


@pytest.mark.parametrize("cell", ALL)
def test_decoders_draw_the_same_text(cell):
    """By the fast decoder, by the model's own cached step, and by the whole sequence again for every token."""
    model = language(cell)
    given = torch.randint(9, (3, 4))
    uniform = torch.rand(25, 3, dtype=torch.double, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        texts = []
        for make in (decoder, Cached, None):
            logits, state = model.advance(given)
            net = Uncached(model, given) if make is None else make(model, state)
            texts.append(torch.stack(list(draw(logits[:, -1], net, uniform))))
    assert torch.equal(texts[0], texts[1])
    assert torch.equal(texts[0], texts[2])
    assert len(texts[0].unique()) > 3


@pytest.mark.parametrize("kind", ["embedding", "one-hot"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_folded_decoder_gives_the_models_logits(cell, kind):
    model = language(cell, input=kind, layers=3, initial="learned")
    tokens = torch.randint(9, (2, 12))
    with torch.no_grad():
        expected, _ = model.advance(tokens)
        net = decoder(model, model.backbone.start(2))
        assert type(net).__name__ == "Folded"
        for t, token in enumerate(tokens.unbind(1)):
            torch.testing.assert_close(net.step(token), expected[:, t], **TOLERANCE)
