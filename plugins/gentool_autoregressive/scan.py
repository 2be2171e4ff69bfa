"""An LSTM along one axis of a picture whose state-to-state part is a convolution along the other: all of PixelRNN's kinds.

    [i, f, o, g] = (sigma, sigma, sigma, tanh)(x + K_ss * h_before),   c = f c_before + i g,   h = o tanh(c)

(van den Oord et al. 2016a, equation 3; x holds the input-to-state part and the bias.) A *line* is what is computed in one
step: a row of the picture, or an anti-diagonal of it, which is the column of a picture whose rows are skewed by one place
each (section 3.2). Of a diagonal only the pixels that exist are computed: the skewed picture is never filled.

Tensors are (D, H, W, N, features): D directions with weights of their own, and pictures last, so that a shift along a line
is a shift of memory and each tap of the convolution is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import scan_kernel


@dataclass(frozen=True)
class Lines:
    """The lines of a picture (H, W): rows, or anti-diagonals, whose place l is the pixel of row l."""

    height: int
    width: int
    diagonal: bool

    @property
    def count(self) -> int:
        """How many lines there are."""
        return self.height + self.width - 1 if self.diagonal else self.height

    @property
    def length(self) -> int:
        """Places of a line."""
        return self.height if self.diagonal else self.width

    def there(self, t: int) -> tuple[int, int]:
        """The places [first, stop) of line t that are pixels."""
        if not self.diagonal:
            return 0, self.width
        return max(0, t - self.width + 1), min(self.height, t + 1)

    def of(self, x: Tensor, t: int) -> Tensor:
        """The pixels of line t of x (D, H, W, N, F), contiguous: a view (D, places, N, F)."""
        first, stop = self.there(t)
        d, row, column, picture, feature = x.stride()
        start, place = (t * column, row - column) if self.diagonal else (t * row, column)
        size = (x.shape[0], stop - first, *x.shape[3:])
        return x.as_strided(size, (d, place, picture, feature), x.storage_offset() + start + first * place)


@dataclass
class _Past:
    """What a scan keeps, by line: gates after their nonlinearities, c and h; h with `reach` empty places at both ends."""

    gates: Tensor  # (T, D, L, N, 4h)
    c: Tensor  # (T + 1, D, L, N, h): line 0 is what was before the first
    h: Tensor  # (T + 1, D, L + 2 reach, N, h)


def scan(x: Tensor, w: Tensor, lines: Lines, offsets: tuple[int, ...]) -> Tensor:
    """x (D, H, W, N, 4h), w (D, taps, h, 4h) -> h of every pixel, (D, H, W, N, h).

    offsets: where along the line before, relative to a pixel, each tap looks; beyond the ends everything is 0.
    """
    if _launched(x, lines, offsets):
        by_launch: Tensor = scan_kernel.LaunchedScan.apply(x, w, offsets[0], lines.diagonal)  # type: ignore[no-untyped-call]
        return by_launch
    if torch.is_grad_enabled() and (x.requires_grad or w.requires_grad):
        made: Tensor = Scan.apply(x, w, lines, offsets)  # type: ignore[no-untyped-call]
        return made
    return _forward(x, w, lines, offsets)[0]


def _launched(x: Tensor, lines: Lines, offsets: tuple[int, ...]) -> bool:
    """Whether the scan runs as two launches of kernels."""
    fits = offsets == tuple(range(offsets[0], offsets[0] + len(offsets)))
    if not fits or scan_kernel.unfit(x.shape[-1] // 4, lines.length):
        return False
    return bool(scan_kernel.scan_forward.uses_triton(x.device))


def _forward(x: Tensor, w: Tensor, lines: Lines, offsets: tuple[int, ...]) -> tuple[Tensor, _Past]:
    directions, height, width, n, features = x.shape
    x = x.contiguous()
    hidden, reach = features // 4, max(abs(o) for o in offsets)
    shape = (lines.count, directions, lines.length, n)
    past = _Past(
        x.new_zeros(*shape, features),
        x.new_zeros(lines.count + 1, *shape[1:], hidden),
        x.new_zeros(lines.count + 1, directions, lines.length + 2 * reach, n, hidden),
    )
    made = x.new_empty(directions, height, width, n, hidden)
    for t in range(lines.count):
        first, stop = lines.there(t)
        a = past.gates[t, :, first:stop]
        a.copy_(lines.of(x, t))
        flat, before = a.flatten(1, 2), past.h[t]
        for k, offset in enumerate(offsets):
            flat.baddbmm_(before[:, first + offset + reach : stop + offset + reach].flatten(1, 2), w[:, k])
        a[..., : 3 * hidden].sigmoid_()
        a[..., 3 * hidden :].tanh_()
        i, f, o, g = a.chunk(4, -1)
        c, h = past.c[t + 1, :, first:stop], past.h[t + 1, :, first + reach : stop + reach]
        torch.mul(f, past.c[t, :, first:stop], out=c)
        c.addcmul_(i, g)
        torch.mul(o, c.tanh(), out=h)
        lines.of(made, t).copy_(h)
    return made, past


class Scan(torch.autograd.Function):
    """`scan` with its gradient written out: one walk back over the lines; that of the weights by whole matrix products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, lines: Lines, offsets: tuple[int, ...]) -> Tensor:
        made, past = _forward(x, w, lines, offsets)
        ctx.save_for_backward(w, past.gates, past.c, past.h)
        ctx.lines, ctx.offsets = lines, offsets
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        w, gates, cells, states = ctx.saved_tensors
        lines, offsets = ctx.lines, ctx.offsets
        reach, back = max(abs(o) for o in offsets), w.transpose(2, 3)
        da_all = torch.zeros_like(gates)
        dh_all = torch.zeros_like(states[:2])  # of the line before, of this one; with empty places
        dc = torch.zeros_like(cells[0])
        grad = grad.contiguous()
        dx = grad.new_empty(*grad.shape[:-1], gates.shape[-1])
        for t in range(lines.count - 1, -1, -1):
            first, stop = lines.there(t)
            here = slice(first, stop)
            i, f, o, g = gates[t, :, here].chunk(4, -1)
            dh = dh_all[(t + 1) % 2, :, first + reach : stop + reach] + lines.of(grad, t)
            tanh_c = cells[t + 1, :, here].tanh()
            d_cell = torch.ops.aten.tanh_backward(dh * o, tanh_c).add_(dc[:, here])
            da = da_all[t, :, here]
            di, df, do, dg = da.chunk(4, -1)
            di.copy_(torch.ops.aten.sigmoid_backward(d_cell * g, i))
            df.copy_(torch.ops.aten.sigmoid_backward(d_cell * cells[t, :, here], f))
            do.copy_(torch.ops.aten.sigmoid_backward(dh * tanh_c, o))
            dg.copy_(torch.ops.aten.tanh_backward(d_cell * i, g))
            torch.mul(d_cell, f, out=dc[:, here])
            lines.of(dx, t).copy_(da)
            before = dh_all[t % 2].zero_()
            flat = da.flatten(1, 2)
            for k, offset in enumerate(offsets):
                window = before[:, first + offset + reach : stop + offset + reach].flatten(1, 2)
                window.baddbmm_(flat, back[:, k])
        dw = torch.empty_like(w)
        length = lines.length
        for k, offset in enumerate(offsets):
            window = states[:-1, :, reach + offset : reach + offset + length].flatten(2, 3)  # (T, D, L N, h)
            dw[:, k] = torch.matmul(window.transpose(2, 3), da_all.flatten(2, 3)).sum(0)
        return dx, dw, None, None
