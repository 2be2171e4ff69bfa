"""Run by test_interpreter.py in a process with TRITON_INTERPRET=1."""

from __future__ import annotations

import pytest
import torch
from gentool_rnn import kernels, sampler
from gentool_rnn.configs import CharLMConfig
from gentool_rnn.decoding import Folded
from gentool_rnn.language import CharLM
from gentool_rnn.sampler import draw
from sea import sea

from gentool import DataInfo
from gentool.data.tokens import Characters


def language(cell: str, **config: int) -> CharLM:
    torch.manual_seed(0)
    info = DataInfo(name="letters", vocabularies={"text": Characters("abcdefghijklmnopqrs").to_json()})
    model = CharLM(CharLMConfig(cell=cell, **config), info)  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model.eval()


@pytest.mark.parametrize(("cell", "layers", "n"), [("lstm", 2, 17), ("gru", 3, 3), ("lstm", 1, 2)])
@torch.no_grad()
def test_texts_are_those_of_the_decoder(cell, layers, n):
    """Three blocks of features, a ragged tile, and a second launch that goes on from the state of the first."""
    model = language(cell, hidden=48, layers=layers, embed=5)
    state = model.backbone.start(n)
    for part in state.values():
        part.normal_(0, 0.5)
    first, uniform = torch.randint(19, (n,)), torch.rand(7, n)
    net = Folded(model, state)
    expected = torch.stack(list(draw(net.step(first), net, uniform)))
    packed = [sea(part) for part in kernels.pack(model)]
    h, c = (state[name].transpose(0, 1).contiguous() for name in ("h", "c" if cell == "lstm" else "h"))
    assert kernels.decode.uses_triton(h.device)
    gru = cell == "gru"
    drawn, *middle = kernels.decode(sea(first), sea(h), sea(c), sea(uniform[:4]), packed, gru, 1.0)
    assert torch.equal(drawn, expected[:4])
    rest, *_ = kernels.decode(drawn[-1], *middle, uniform[4:], packed, gru, 1.0)
    assert torch.equal(rest, expected[4:])
    again, *end = kernels.plain_decode(first, h, c, uniform[:4], packed, gru, 1.0)
    assert torch.equal(again, expected[:4])
    torch.testing.assert_close(middle[0], end[0])
    assert len(expected.unique()) > 4


@torch.no_grad()
def test_temperature():
    model = language("gru", hidden=32, layers=1, embed=5)
    h, first, uniform = torch.randn(1, 2, 32), torch.tensor([3, 4]), torch.rand(5, 2)
    packed = list(kernels.pack(model))
    cold, *_ = kernels.decode(first, h, h, uniform, packed, True, 0.3)
    assert torch.equal(cold, kernels.plain_decode(first, h, h, uniform, packed, True, 0.3)[0])


@torch.no_grad()
def test_the_sampler_streams_by_launches():
    model = language("lstm", hidden=16, layers=1, embed=5)
    logits, state = model.advance(torch.tensor([[1, 2], [3, 4]]))
    uniform = torch.rand(8, 2)
    assert sampler.one_launch(model, logits.device)
    expected = list(draw(logits[:, -1], Folded(model, state), uniform, 0.7))
    got = list(sampler.launches(model, logits[:, -1], state, uniform, 0.7, each=3))
    assert torch.equal(torch.stack(got), torch.stack(expected))
    assert not sampler.one_launch(language("rnn", hidden=16), logits.device)
    assert not sampler.one_launch(language("lstm", hidden=20), logits.device)
