"""GroupNorm+SiLU's launches in Triton's interpreter. Run by test_interpreter.py, with TRITON_INTERPRET=1, in a process of
its own."""

from __future__ import annotations

import pytest
import torch
from gentool_diffusion import kernels
from gentool_diffusion.kernels import (
    backward_agrees,
    config,
    forward_agrees,
    group_norm_silu,
    norm_silu_backward,
    norm_silu_forward,
)
from sea import sea
from torch.nn import functional as F

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _poison():
    """Uninitialised memory is NaN: what the launch does not write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)


def nhwc(n: int, c: int, h: int, w: int, shift: float = 0.5) -> torch.Tensor:
    """A picture in a sea of NaN, channels last in memory."""
    return sea(torch.randn(n, h, w, c) + shift).permute(0, 3, 1, 2)


def parameters(c: int) -> tuple[torch.Tensor, torch.Tensor]:
    return sea(torch.rand(c) + 0.5), sea(torch.randn(c))


def test_runs_the_launch():
    assert norm_silu_forward.choice(CPU).use == "triton"
    assert norm_silu_backward.choice(CPU).use == "triton"


# Three tiles of places and a ragged one; several blocks of groups, the last ragged; channels of a group no power of two.
SHAPES = [(2, 72, 13, 8, 9), (1, 64, 15, 9, 8), (3, 24, 3, 3, 2), (2, 10, 5, 41, 2), (1, 96, 7, 7, 32), (2, 3, 9, 9, 1)]


@pytest.mark.parametrize(("n", "c", "h", "w", "groups"), SHAPES)
def test_float64_agrees(n, c, h, w, groups):
    args = (nhwc(n, c, h, w), *parameters(c), groups)
    out = norm_silu_forward.op(*args)
    assert forward_agrees(args, out) == ""
    assert out[0].is_contiguous(memory_format=torch.channels_last)
    backward = (nhwc(n, c, h, w, 0.0), *args[:3], sea(out[1]), sea(out[2]), groups)
    assert backward_agrees(backward, norm_silu_backward.op(*backward)) == ""


def test_walks_three_tiles_and_a_ragged_one():
    _, c, h, w, groups = SHAPES[0]
    places = config(c, groups)["BLOCK_P"]
    assert 3 * places < h * w
    assert h * w % places
    assert groups > config(c, groups)["BLOCK_G"]
    assert groups % config(c, groups)["BLOCK_G"]


def test_a_large_mean_costs_no_digits():
    """The mean a thousand deviations away: sums of plain squares would lose the variance."""
    args = (nhwc(1, 16, 9, 9, 1000.0), *parameters(16), 2)
    assert forward_agrees(args, norm_silu_forward.op(*args)) == ""


def test_gradients_are_those_of_plain_torch():
    made = []
    for function in (group_norm_silu, lambda *a: F.silu(F.group_norm(a[0], a[3], a[1], a[2], kernels.EPS))):
        torch.manual_seed(3)
        x, weight, bias = torch.randn(2, 24, 5, 7), torch.rand(24) + 0.5, torch.randn(24)
        pull = torch.randn(2, 24, 5, 7)
        leaves = [t.requires_grad_() for t in (x, weight, bias)]
        y = function(x, weight, bias, 3)
        made.append((y, *torch.autograd.grad((y * pull).sum(), leaves)))
    for mine, plain in zip(*made, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)


def test_no_pictures():
    y, mean, rstd = norm_silu_forward.op(torch.zeros(0, 8, 3, 3), torch.ones(8), torch.zeros(8), 2)
    assert (y.shape, mean.shape, rstd.shape) == ((0, 8, 3, 3), (0, 2), (0, 2))
    dx, dweight, dbias = norm_silu_backward.op(y, y, torch.ones(8), torch.zeros(8), mean, rstd, 2)
    assert (dx.shape, dweight.shape, dbias.shape) == ((0, 8, 3, 3), (8,), (8,))


def test_opcheck():
    torch.use_deterministic_algorithms(False)
    args = (torch.randn(2, 24, 5, 7).contiguous(memory_format=torch.channels_last), *parameters(24), 3)
    torch.library.opcheck(norm_silu_forward.op, args)
    out = norm_silu_forward.op(*args)
    torch.library.opcheck(norm_silu_backward.op, (torch.randn_like(args[0]), *args[:3], out[1], out[2], 3))
