"""The one-launch samplers of nade and made in Triton's interpreter. Run by test_interpreter.py, in a process of its own."""

from __future__ import annotations

import pytest
import torch
from gentool_autoregressive import MadeConfig, NadeConfig, chain_kernel
from gentool_autoregressive.incremental import full_passes
from gentool_autoregressive.made import Made
from gentool_autoregressive.nade import Nade
from sea import sea

from gentool import DataInfo, Step

CLASSES = ("a", "b", "c")
NETS = {
    "nade": lambda info: Nade(NadeConfig(hidden=19, conditional=True), info),
    "one layer": lambda info: Made(MadeConfig(hidden=21, layers=1, direct=False), info),
    "two layers": lambda info: Made(MadeConfig(hidden=37, conditional=True), info),
    "mixture": lambda info: Made(MadeConfig(hidden=18, orders=2, masks=2), info),
}


@pytest.fixture(params=NETS)
def model(request):
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)
    made = NETS[request.param](DataInfo(image=(1, 3, 5), levels=2, classes=CLASSES))
    for weight in made.parameters():  # strong enough that a wrong activation shows in the pixels
        weight.data.normal_(0, 0.7)
    return made


def last(events):
    *_, event = events
    return event


def test_one_launch_draws_what_full_passes_draw(model):
    labels = torch.tensor([0, 2, 1, 1, 0]) if model.conditional else None
    assert chain_kernel.chain.uses_triton(torch.device("cpu"))
    drawn = last(model.draw_levels(5, step=Step(seed=1), labels=labels, temperature=0.8))
    assert torch.equal(drawn, full_passes(model, 5, step=Step(seed=1), labels=labels, temperature=0.8))
    assert drawn.unique().tolist() == [0, 1]


def test_neighbouring_memory_is_neither_read_nor_written(model):
    n = 3
    packed = chain_kernel.pack(model, 0, n, torch.zeros(n, dtype=torch.int64) if model.conditional else None)
    chances = torch.randn(n, 15)
    known = torch.full((n, 15), -1)
    known[:, 2:5] = torch.randint(2, (n, 3))
    expected = chain_kernel.plain_chain(chances, known, *packed)
    swimming = [sea(p) if isinstance(p, torch.Tensor) and p.is_floating_point() else p for p in packed]
    drawn = chain_kernel.chain(sea(chances), known, *swimming)
    assert torch.equal(drawn, expected)
    assert torch.equal(drawn[:, 2:5], known[:, 2:5])
