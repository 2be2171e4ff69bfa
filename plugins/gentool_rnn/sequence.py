"""A whole sequence through one layer as one differentiable function: the backward pass written out.

Autograd over the steps of a cell keeps and visits a dozen small nodes a step. Here a step is one matrix product with a few
operations in place, and what of the backward pass does not depend on the order of time is done for many steps at once:
with a_t the gates before their nonlinearity and delta_t = dL/dh_t,

    LSTM   dc_t += delta_t o (1 - tanh^2 c_t);  d(i, f, g)_t = (g i', c_{t-1} f', i g')_t dc_t;  do_t = tanh(c_t) o'_t delta_t
    GRU    dz_t = (h_{t-1} - n) z' delta_t;  dn_t = (1 - z) n' delta_t;  dr_t = W_nh h r' dn_t
    both   delta_{t-1} += da_t W_h;  dW_h = sum_t da_t^T h_{t-1}, which is one product over all steps

so only the first and last lines are a loop. All tensors are time-major: (T, B, ...). Gradients are once differentiable.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

BLOCK_BYTES = 1 << 20  # of one operand: a block of steps is treated while it is in the cache


def _blocks(steps: int, row: Tensor) -> list[slice]:
    """The steps in blocks whose rows take about BLOCK_BYTES."""
    size = max(1, BLOCK_BYTES // max(1, row.numel() * row.element_size()))
    return [slice(start, min(start + size, steps)) for start in range(0, steps, size)]


def _product_over_time(gates: Tensor, before: Tensor) -> Tensor:
    """sum_t gates_t^T before_t: (T, B, G), (T, B, H) -> (G, H)."""
    return gates.flatten(0, 1).t() @ before.flatten(0, 1)


class VanillaSequence(Function):
    """x (T, B, H) = W_x x + b_x + b_h, h0 (B, H), W_h (H, H) -> h (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, w_h: Tensor) -> Tensor:
        h = x.new_empty(len(x) + 1, *h0.shape)
        h[0] = h0
        w = w_h.t().contiguous()  # read at every step: worth laying out once
        rows = h.unbind(0)
        for x_t, before, after in zip(x.unbind(0), rows[:-1], rows[1:], strict=True):
            torch.addmm(x_t, before, w, out=after)
            after.tanh_()
        ctx.save_for_backward(h, w_h)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_h: Tensor) -> tuple[Tensor | None, ...]:
        h, w_h = ctx.saved_tensors
        da = torch.empty_like(h[1:])
        delta = torch.zeros_like(h[0])
        for block in reversed(_blocks(len(da), delta)):
            slope = 1 - h[1:][block].square()
            parts = zip(slope.unbind(0), d_h[block].unbind(0), da[block].unbind(0), strict=True)
            for slope_t, d_t, da_t in reversed(list(parts)):
                torch.add(delta, d_t, out=da_t)
                da_t.mul_(slope_t)
                torch.mm(da_t, w_h, out=delta)
        return da, delta, _product_over_time(da, h[:-1])


class LSTMSequence(Function):
    """x (T, B, 4H) = W_x x + b_x + b_h, h0 and c0 (B, H), W_h (4H, H) -> h (T, B, H), c_T (B, H)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, w_h: Tensor) -> tuple[Tensor, Tensor]:
        size = h0.shape[1]
        a = torch.empty_like(x)  # the gates i, f, g, o
        h, c = x.new_empty(len(x) + 1, *h0.shape), x.new_empty(len(x) + 1, *h0.shape)
        tanh_c = torch.empty_like(h[1:])
        h[0], c[0] = h0, c0
        w = w_h.t().contiguous()  # read at every step: worth laying out once
        gates = zip(x.unbind(0), a.unbind(0), a[..., : 2 * size].unbind(0), *(g.unbind(0) for g in a.chunk(4, -1)))
        h_rows, c_rows, out = h.unbind(0), c.unbind(0), tanh_c.unbind(0)
        for t, (x_t, a_t, i_f, i, f, g, o) in enumerate(gates):
            torch.addmm(x_t, h_rows[t], w, out=a_t)
            i_f.sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, c_rows[t], out=c_rows[t + 1])
            c_rows[t + 1].addcmul_(i, g)
            torch.tanh(c_rows[t + 1], out=out[t])
            torch.mul(o, out[t], out=h_rows[t + 1])
        ctx.save_for_backward(a, h, c, tanh_c, w_h)
        return h[1:], c[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_h: Tensor, d_c: Tensor) -> tuple[Tensor | None, ...]:
        a, h, c, tanh_c, w_h = ctx.saved_tensors
        steps, _, size = tanh_c.shape
        da = torch.empty_like(a)
        delta, dc = torch.zeros_like(h[0]), d_c.clone()
        for block in reversed(_blocks(steps, a[0])):
            i, f, g, o = a[block].chunk(4, -1)
            tanh, before = tanh_c[block], c[:-1][block]
            to_gates = torch.empty_like(a[block][..., : 3 * size])  # dc_t times this is da of i, f and g
            torch.mul(i * (1 - i), g, out=to_gates[..., :size])
            torch.mul(f * (1 - f), before, out=to_gates[..., size : 2 * size])
            torch.mul(1 - g * g, i, out=to_gates[..., 2 * size :])
            to_o = o * (1 - o) * tanh
            to_c = o * (1 - tanh * tanh)
            here = da[block]
            parts = zip(
                to_gates.view(*to_gates.shape[:2], 3, size).unbind(0), to_o.unbind(0), to_c.unbind(0), f.unbind(0),
                d_h[block].unbind(0), here.unbind(0), torch.unflatten(here[..., : 3 * size], -1, (3, size)).unbind(0),
                here[..., 3 * size :].unbind(0), strict=True,
            )  # fmt: skip
            for to_g_t, to_o_t, to_c_t, f_t, d_t, da_t, da_ifg, da_o in reversed(list(parts)):
                delta.add_(d_t)
                dc.addcmul_(delta, to_c_t)
                torch.mul(to_g_t, dc.unsqueeze(1), out=da_ifg)
                torch.mul(to_o_t, delta, out=da_o)
                torch.mm(da_t, w_h, out=delta)
                dc.mul_(f_t)
        return da, delta, dc, _product_over_time(da, h[:-1])


class GRUSequence(Function):
    """x (T, B, 3H) = W_x x + b_x + (b_hr, b_hz, 0), h0 (B, H), W_h (3H, H), b_hn (H,) -> h (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, w_h: Tensor, b_n: Tensor) -> Tensor:
        size = h0.shape[1]
        a = torch.empty_like(x)  # r, z, and W_nh h + b_hn
        n = x.new_empty(*x.shape[:2], size)
        h = x.new_empty(len(x) + 1, *h0.shape)
        h[0] = h0
        w = w_h.t().contiguous()  # read at every step: worth laying out once
        bias = torch.cat([b_n.new_zeros(2 * size), b_n])
        rows = h.unbind(0)
        gates = zip(
            x[..., : 2 * size].unbind(0), x[..., 2 * size :].unbind(0), a.unbind(0), a[..., : 2 * size].unbind(0),
            *(part.unbind(0) for part in a.chunk(3, -1)), n.unbind(0), strict=True,
        )  # fmt: skip
        for t, (x_rz, x_n, a_t, rz, r, z, hn, n_t) in enumerate(gates):
            torch.addmm(bias, rows[t], w, out=a_t)
            rz.add_(x_rz)
            rz.sigmoid_()
            torch.addcmul(x_n, r, hn, out=n_t)
            n_t.tanh_()
            torch.lerp(n_t, rows[t], z, out=rows[t + 1])
        ctx.save_for_backward(a, n, h, w_h)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_h: Tensor) -> tuple[Tensor | None, ...]:
        a, n, h, w_h = ctx.saved_tensors
        steps, _, size = n.shape
        da = torch.empty_like(a)  # of what W_h gives: r, z and the product within n
        dx = torch.empty_like(a)  # of what W_x gives: the same but for n
        delta = torch.zeros_like(h[0])
        for block in reversed(_blocks(steps, a[0])):
            r, z, hn = a[block].chunk(3, -1)
            n_b = n[block]
            to_gates = torch.empty_like(a[block])  # delta_t times this is da_t
            to_n = (1 - z) * (1 - n_b * n_b)
            torch.mul(to_n * hn, r * (1 - r), out=to_gates[..., :size])
            torch.mul(h[:-1][block] - n_b, z * (1 - z), out=to_gates[..., size : 2 * size])
            torch.mul(to_n, r, out=to_gates[..., 2 * size :])
            here = da[block]
            whole = torch.empty_like(n_b)  # delta_t
            parts = zip(
                to_gates.view(*to_gates.shape[:2], 3, size).unbind(0), z.unbind(0), d_h[block].unbind(0),
                here.unbind(0), torch.unflatten(here, -1, (3, size)).unbind(0), whole.unbind(0), strict=True,
            )  # fmt: skip
            for to_t, z_t, d_t, da_t, da_parts, whole_t in reversed(list(parts)):
                torch.add(delta, d_t, out=whole_t)
                torch.mul(to_t, whole_t.unsqueeze(1), out=da_parts)
                torch.mul(whole_t, z_t, out=delta)
                delta.addmm_(da_t, w_h)
            dx[block][..., : 2 * size] = here[..., : 2 * size]
            torch.mul(to_n, whole, out=dx[block][..., 2 * size :])
        return dx, delta, _product_over_time(da, h[:-1]), da[..., 2 * size :].sum((0, 1))
