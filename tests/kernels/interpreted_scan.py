"""PixelRNN's scan and its gradient in Triton's interpreter. Run by test_interpreter.py, in a process of its own."""

from __future__ import annotations

import pytest
import torch
from gentool_autoregressive import scan_kernel
from gentool_autoregressive.scan import Lines, Scan, scan
from sea import sea

CASES = {  # diagonal, offsets, (D, H, W, N)
    "diagonal": (True, (-1, 0), (2, 3, 4, 2)),
    "tall": (True, (-1, 0), (1, 5, 2, 1)),
    "row": (False, (-1, 0, 1), (1, 4, 5, 2)),
    "wide": (False, (-2, -1, 0, 1, 2), (1, 3, 3, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_launches_are_the_scan_and_its_gradient(name):
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)
    diagonal, offsets, size = CASES[name]
    x = sea(torch.randn(*size, 64)).requires_grad_()
    w = sea(torch.randn(size[0], len(offsets), 16, 64) * 0.4).requires_grad_()
    weight = sea(torch.randn(*size, 16))
    lines = Lines(size[1], size[2], diagonal)
    assert scan_kernel.scan_forward.uses_triton(x.device)
    mine, exact = scan(x, w, lines, offsets), Scan.apply(x, w, lines, offsets)
    torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-5)
    for a, b in zip(torch.autograd.grad(mine, (x, w), weight), torch.autograd.grad(exact, (x, w), weight), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
