"""The plain references of GroupNorm+SiLU against its definition in float64, and the judge that compares them."""

from __future__ import annotations

import pytest
import torch
from gentool_diffusion.kernels import (
    EPS,
    backward_agrees,
    backward_reference,
    exact,
    forward_agrees,
    forward_reference,
    group_norm_silu,
)
from torch.nn import functional as F

SHAPES = [(2, 24, 5, 7, 3), (1, 8, 1, 1, 2), (3, 10, 4, 4, 1), (2, 96, 7, 7, 32)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "c", "h", "w", "groups"), SHAPES)
def test_references_agree_with_float64(n, c, h, w, groups, dtype):
    torch.manual_seed(0)
    x = (torch.randn(n, c, h, w) + 0.5).to(dtype).contiguous(memory_format=torch.channels_last)
    args = (x, torch.rand(c) + 0.5, torch.randn(c), groups)
    out = forward_reference(*args)
    assert forward_agrees(args, out) == ""
    assert out[0].dtype == dtype
    backward = (torch.randn_like(x), *args[:3], out[1], out[2], groups)
    assert backward_agrees(backward, backward_reference(*backward)) == ""


def test_the_definition_is_torchs():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 24, 5, 7).double(), torch.rand(24).double(), torch.randn(24).double()
    expected = F.silu(F.group_norm(x, 3, weight, bias, EPS))
    torch.testing.assert_close(exact(x, weight, bias, 3)[0], expected)
    torch.testing.assert_close(group_norm_silu(x, weight, bias, 3), expected)


def test_the_judge_can_say_no():
    torch.manual_seed(0)
    args = (torch.randn(2, 16, 3, 3), torch.ones(16), torch.zeros(16), 2)
    y, mean, rstd = forward_reference(*args)
    assert "output" in forward_agrees(args, (y + 1e-2, mean, rstd))
    assert "mean" in forward_agrees(args, (y, mean + 1e-3, rstd))
    assert "deviation" in forward_agrees(args, (y, mean, rstd * 1.01))
    backward = (torch.randn_like(y), *args[:3], mean, rstd, 2)
    dx, dweight, dbias = backward_reference(*backward)
    assert "dx" in backward_agrees(backward, (dx + 1e-2, dweight, dbias))
    assert "dweight" in backward_agrees(backward, (dx, dweight * 1.1, dbias))
    assert "dbias" in backward_agrees(backward, (dx, dweight, dbias + 1))
