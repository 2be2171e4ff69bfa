"""The one-launch PixelCNN sampler in Triton's interpreter. Run by test_interpreter.py, in a process of its own.

The interpreter takes about 0.1 ms for each operation of each step, so the pictures are small; each has three diagonals
and more, ragged channels, and more than one layer above the first.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gentool_autoregressive import PixelCNNConfig, kernels, packing
from gentool_autoregressive.model import PixelCNN
from gentool_autoregressive.one_launch import one_launch
from gentool_autoregressive.painter import chances_of
from gentool_autoregressive.sampler import draw
from gentool_autoregressive.weights import plain
from sea import sea

from gentool import DataInfo, Step


@pytest.fixture(autouse=True)
def _poison():
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)


def net(size: tuple[int, int, int], levels: int, **config: Any) -> PixelCNN:
    classes = tuple("abc") if config.get("conditional") else ()
    model = PixelCNN(PixelCNNConfig(**config), DataInfo(image=size, levels=levels, classes=classes))
    for parameter in model.parameters():  # strong enough that a wrong activation shows in the pixels
        parameter.data.normal_(0, 0.3)
    return model


CASES: dict[str, tuple[tuple[int, int, int], int, dict[str, Any]]] = {
    "full": ((1, 3, 6), 2, {"channels": 5, "layers": 3, "hidden": 7, "first_kernel": 3}),
    "cone": ((1, 3, 7), 2, {"channels": 20, "layers": 3, "hidden": 20, "first_kernel": 3, "field": "cone"}),
    "classes": ((1, 3, 4), 5, {"channels": 4, "layers": 2, "hidden": 5, "first_kernel": 5, "conditional": True}),
    "colours": (
        (3, 3, 4), 4,
        {"channels": 4, "layers": 2, "hidden": 6, "first_kernel": 3, "input": "embedding", "embed": 3, "field": "cone"},
    ),
    "one layer": ((1, 3, 4), 3, {"channels": 4, "layers": 1, "hidden": 6, "first_kernel": 3, "place": False}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pictures_are_those_of_the_cached_sampler(name):
    size, levels, config = CASES[name]
    model, n = net(size, levels, **config), 3
    labels = torch.tensor([2, 0, 1]) if model.conditional else None
    step = Step(seed=3)
    *_, expected = draw(model, n, step=step, labels=labels, order="raster")
    uniform = step.uniform(n, *size, purpose="pixels")
    flat = [sea(w) if w.numel() else w for w in packing.flatten(plain(model))]
    chances = sea(chances_of(uniform, levels, 1.0, torch.float32))
    args = (chances, flat, packing.shape_of(model.config), None, labels, 1.0)
    assert kernels.paint.uses_triton(chances.device)
    grid = kernels.paint(*args)
    assert torch.equal(grid, expected)
    assert torch.equal(kernels.raster(*args), expected)
    assert len(grid.unique()) == levels


def test_known_pixels_and_temperature():
    model = net((1, 3, 4), 4, channels=4, layers=2, hidden=6, first_kernel=3, field="cone")
    known = torch.full((2, 1, 3, 4), -1)
    known[:, :, :1] = torch.randint(0, 4, (2, 1, 1, 4))
    step = Step(seed=1)
    *_, expected = draw(model, 2, step=step, temperature=0.5, known=known, order="raster")
    chances = chances_of(step.uniform(2, 1, 3, 4, purpose="pixels"), 4, 0.5, torch.float32)
    places = known.permute(2, 3, 0, 1).contiguous()
    flat = packing.flatten(plain(model))
    grid = kernels.paint(chances, flat, packing.shape_of(model.config), places, None, 0.5)
    assert torch.equal(grid, expected)
    assert torch.equal(grid[:, :, :1], known[:, :, :1])


def test_the_sampler_gives_the_same_pictures():
    model = net((1, 2, 3), 2, channels=4, layers=1, hidden=6, first_kernel=3)
    step = Step(seed=5)
    *_, expected = draw(model, 3, step=step, order="raster")
    *_, samples = one_launch(model, 3, step=step)
    assert torch.equal(model.quantise(samples.images), expected)
