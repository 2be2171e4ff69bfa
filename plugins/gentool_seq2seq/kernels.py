"""The scores of additive attention without the B x T x S x A tensor of their hidden units.

e_ij = v . tanh(q_i + k_j) (Bahdanau, Cho & Bengio 2015, appendix A.1.2) for all T queries and S keys of a batch. Written
plainly, autograd keeps tanh(...) of every pair for the backward pass: A times as much as the scores. Here tanh is made in
tiles, reduced at once, and made again in the backward pass.

q (B, T, A) and k (B, S, A) are float32, bfloat16 or (plain torch only) float64; v is (A,). Scores are float32 where q is
bfloat16, else as q.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gentool.kernels import Case, Machine, jit, kernel

if TYPE_CHECKING:
    import triton.language as tl

SCALE = 2 / math.log(2)  # tanh(u) = 1 - 2 / (1 + 2^(SCALE u))
CHUNK = 128 << 10  # hidden units made at once on a CPU: 512 KiB of float32 stay in a core's cache


# -- reference --------------------------------------------------------------------------------------------------------


def scores_whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The equation as it stands: makes (B, T, S, A), and autograd keeps it."""
    return torch.tanh(q[:, :, None] + k[:, None]) @ v


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _tiles(b: int, t: int, s: int, a: int, chunk: int) -> list[tuple[slice, slice]]:
    """Slices of batch and queries whose hidden units are at most `chunk` (or those of a single query)."""
    if chunk <= 0:
        chunk = b * t * s * a
    rows = max(1, chunk // max(1, t * s * a))
    queries = t if t * s * a <= chunk else max(1, chunk // max(1, s * a))
    return [
        (slice(i, min(i + rows, b)), slice(j, min(j + queries, t)))
        for i in range(0, b, rows)
        for j in range(0, t, queries)
    ]


def scores_reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scores (B, T, S), made tile by tile."""
    q, k, v = _wide(q), _wide(k), _wide(v)
    (b, t, a), s = q.shape, k.shape[1]
    scores = q.new_empty(b, t, s)
    for rows, queries in _tiles(b, t, s, a, CHUNK if q.device.type == "cpu" else 256 * CHUNK):
        hidden = (q[rows, queries, None] + k[rows, None]).tanh_()
        scores[rows, queries] = hidden @ v
    return scores


def scores_backward_reference(grad: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(dq, dk, dv) of `grad` (B, T, S): d tanh(u) = 1 - tanh(u)^2, with tanh made again, tile by tile."""
    grad, q, k, v = _wide(grad), _wide(q), _wide(k), _wide(v)
    (b, t, a), s = q.shape, k.shape[1]
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for rows, queries in _tiles(b, t, s, a, CHUNK if q.device.type == "cpu" else 256 * CHUNK):
        part = grad[rows, queries]
        hidden = (q[rows, queries, None] + k[rows, None]).tanh_()
        dv += part.reshape(-1) @ hidden.view(-1, a)
        slope = hidden.square_().neg_().add_(1).mul_(part[..., None])
        dq[rows, queries] = slope.sum(2)
        dk[rows] += slope.sum(1)
    return dq * v, dk * v, dv


# -- Triton -----------------------------------------------------------------------------------------------------------


@jit
def _tanh(x):  # type: ignore[no-untyped-def]
    """tanh(x / (2 log2(e))) = 1 - 2 / (1 + 2^x): the caller scales what it loads, not what it makes of it.

    The reciprocal is a squared reciprocal root, half the instructions of a division; it saturates rightly (1 / inf = 0).
    """
    r = tl.rsqrt(1.0 + tl.exp2(x))
    return 1.0 - 2.0 * r * r


@jit
def _scores_kernel(  # type: ignore[no-untyped-def]
    q_ptr, k_ptr, v_ptr, out_ptr, T, S,
    A: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_A: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    """One program makes BLOCK_T x BLOCK_S scores: it walks the hidden units and sums them once, after the walk."""
    row = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    s = tl.program_id(2) * BLOCK_S + tl.arange(0, BLOCK_S)
    q_ptr += row * T * A
    k_ptr += row * S * A
    total = tl.zeros((BLOCK_T, BLOCK_S, BLOCK_A), tl.float32)
    for start in range(0, A, BLOCK_A):
        a = start + tl.arange(0, BLOCK_A)
        q = tl.load(q_ptr + t[:, None] * A + a[None, :], mask=(t < T)[:, None] & (a < A)[None, :], other=0.0)
        k = tl.load(k_ptr + s[:, None] * A + a[None, :], mask=(s < S)[:, None] & (a < A)[None, :], other=0.0)
        v = tl.load(v_ptr + a, mask=a < A, other=0.0)
        hidden = _tanh((q.to(tl.float32) * SCALE)[:, None, :] + (k.to(tl.float32) * SCALE)[None, :, :])
        total += hidden * v.to(tl.float32)[None, None, :]
    place = row * T * S + t[:, None] * S + s[None, :]
    tl.store(out_ptr + place, tl.sum(total, 2), mask=(t < T)[:, None] & (s < S)[None, :])


@jit
def _slopes_kernel(  # type: ignore[no-untyped-def]
    grad_ptr, x_ptr, y_ptr, v_ptr, dx_ptr, dv_ptr, X, Y, step_x, step_y,
    A: tl.constexpr, BLOCK_X: tl.constexpr, BLOCK_Y: tl.constexpr, BLOCK_A: tl.constexpr,
    WITH_V: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    """dx_ia = v_a sum_j g_ij (1 - tanh^2(x_ia + y_ja)): one program takes BLOCK_X of i and BLOCK_A of a, and walks j.

    Scores are symmetric in queries and keys, so the same walk serves both: `step_x` and `step_y` say how the gradient
    lies. WITH_V: also sum_ij g_ij tanh(...), this program's share of dv.
    """
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK_X + tl.arange(0, BLOCK_X)
    a = tl.program_id(2) * BLOCK_A + tl.arange(0, BLOCK_A)
    grad_ptr += row * X * Y
    y_ptr += row * Y * A
    place = row * X * A + i[:, None] * A + a[None, :]
    inside = (i < X)[:, None] & (a < A)[None, :]
    x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32) * SCALE
    slope = tl.zeros((BLOCK_X, BLOCK_Y, BLOCK_A), tl.float32)
    height = tl.zeros((BLOCK_X, BLOCK_Y, BLOCK_A), tl.float32)
    for start in range(0, Y, BLOCK_Y):
        j = start + tl.arange(0, BLOCK_Y)
        y = tl.load(y_ptr + j[:, None] * A + a[None, :], mask=(j < Y)[:, None] & (a < A)[None, :], other=0.0)
        g = tl.load(
            grad_ptr + i[:, None] * step_x + j[None, :] * step_y, mask=(i < X)[:, None] & (j < Y)[None, :], other=0.0
        )
        hidden = _tanh(x[:, None, :] + (y.to(tl.float32) * SCALE)[None, :, :])
        slope += g.to(tl.float32)[:, :, None] * (1.0 - hidden * hidden)
        if WITH_V:
            height += g.to(tl.float32)[:, :, None] * hidden
    v = tl.load(v_ptr + a, mask=a < A, other=0.0).to(tl.float32)
    tl.store(dx_ptr + place, tl.sum(slope, 1) * v[None, :], mask=inside)
    if WITH_V:
        at = (row * tl.num_programs(1) + tl.program_id(1)) * A + a
        tl.store(dv_ptr + at, tl.sum(tl.sum(height, 1), 0), mask=a < A)


def tile(outer: int, inner: int, width: int) -> tuple[int, int, int]:
    """(outer, inner, hidden) sides of a tile of at most 4096 hidden units (64 a thread), none longer than is of use.

    Few rows and many units: then a thread loads 16 bytes at once.
    """
    first = min(8, 1 << max(0, outer - 1).bit_length())
    second = min(8, 1 << max(0, inner - 1).bit_length())
    return first, second, min(256, max(16, 1 << (width - 1).bit_length()), 4096 // (first * second))


def _scores_fake(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return q.new_empty(q.shape[0], q.shape[1], k.shape[1], dtype=torch.promote_types(q.dtype, torch.float32))


def _slopes_fake(grad: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(q.dtype, torch.float32)
    return tuple(x.new_empty(x.shape, dtype=dtype) for x in (q, k, v))  # type: ignore[return-value]


def _scores_case(name: str, b: int, t: int, s: int, a: int, budget: float) -> Case:
    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        q, k = (torch.randn(b, n, a, device=device, dtype=dtype) for n in (t, s))
        return q, k, torch.randn(a, device=device) / a**0.5

    return Case(name=name, make=make, bytes=4 * b * (a * (t + s) + t * s), flops=3 * b * t * s * a, instructions=budget)


def _slopes_case(name: str, b: int, t: int, s: int, a: int, budget: float) -> Case:
    inner = _scores_case(name, b, t, s, a, 0)

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return torch.randn(b, t, s, device=device), *inner.make(device, dtype)

    return Case(
        name=name, make=make, bytes=4 * b * (2 * a * (t + s) + t * s), flops=8 * b * t * s * a, instructions=budget
    )


def scores_agree(args: tuple[Tensor, ...], out: Tensor) -> str:
    """ "" if the scores are those of float64 up to float32's rounding."""
    q, k, v = (x.detach().double() for x in args)
    worst = (
        float((out.double() - scores_whole(q, k, v)).abs().max() / v.abs().sum().clamp(min=1e-30))
        if out.numel()
        else 0.0
    )
    return "" if worst <= 1e-6 else f"a score is wrong by {worst:.1e} of the sum of |v|"


def slopes_agree(args: tuple[Tensor, ...], out: tuple[Tensor, ...]) -> str:
    """ "" if all three gradients are those of float64."""
    grad, *inputs = (x.detach().double() for x in args)
    with torch.enable_grad():
        leaves = [x.requires_grad_() for x in inputs]
        true = torch.autograd.grad(scores_whole(*leaves), leaves, grad)
    for name, mine, theirs in zip(("dq", "dk", "dv"), out, true, strict=True):
        scale = theirs.abs().max().clamp(min=1e-30)
        if not float((mine.double() - theirs).abs().max() / scale) <= 1e-5:
            return f"{name} is wrong by {float((mine.double() - theirs).abs().max() / scale):.1e} of its largest number"
    return ""


def slopes_whole(grad: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """What autograd does: forward with everything kept, then backward."""
    with torch.enable_grad():
        leaves = [x.detach().float().requires_grad_() for x in (q, k, v)]
        return torch.autograd.grad(scores_whole(*leaves), leaves, grad)


SHAPES = (("eng-fra", 128, 12, 10, 256), ("multi30k", 128, 16, 18, 256), ("one step, beam 5", 64, 5, 20, 256),
          ("long", 32, 100, 120, 512), ("odd sizes", 33, 19, 21, 104))  # fmt: skip


def _scores_elements(q: Tensor, k: Tensor, v: Tensor) -> int:
    first, second, third = tile(q.shape[1], k.shape[1], q.shape[2])
    return first * second * third


def _slopes_elements(grad: Tensor, q: Tensor, k: Tensor, v: Tensor) -> int:
    return _scores_elements(q, k, v)


@kernel(
    "gentool_seq2seq::scores(Tensor q, Tensor k, Tensor v) -> Tensor",
    reference=scores_reference,
    fake=_scores_fake,
    agree=scores_agree,
    rivals={"eager": scores_whole},
    note="no B x T x S x A tensor; not yet timed on a GPU",
    cases=[_scores_case(*shape, 8.5) for shape in SHAPES],
    machine=Machine(elements=_scores_elements, kernel="_scores_kernel"),
)
def scores(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Launch: a program for each tile of scores."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    (b, t, a), s = q.shape, k.shape[1]
    out = _scores_fake(q, k, v)
    if out.numel():
        first, second, third = tile(t, s, a)
        grid = (b, -(-t // first), -(-s // second))
        _scores_kernel[grid](
            q, k, v, out, t, s, A=a, BLOCK_T=first, BLOCK_S=second, BLOCK_A=third, SCALE=SCALE, num_warps=2
        )
    return out


@kernel(
    "gentool_seq2seq::scores_backward(Tensor grad, Tensor q, Tensor k, Tensor v) -> (Tensor, Tensor, Tensor)",
    reference=scores_backward_reference,
    fake=_slopes_fake,
    agree=slopes_agree,
    rivals={"eager": slopes_whole},
    note="tanh is made again: nothing of size B x T x S x A is kept; not yet timed on a GPU",
    cases=[_slopes_case(*shape, 10.5) for shape in SHAPES],
    machine=Machine(elements=_slopes_elements, kernel="_slopes_kernel"),
)
def scores_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Launch: one walk over the keys for dq and dv, one over the queries for dk."""
    grad, q, k, v = grad.contiguous(), q.contiguous(), k.contiguous(), v.contiguous()
    (b, t, a), s = q.shape, k.shape[1]
    dq, dk, dv = _slopes_fake(grad, q, k, v)
    if not grad.numel():
        return dq.zero_(), dk.zero_(), dv.zero_()
    first, second, third = tile(t, s, a)
    grid = (b, -(-t // first), -(-a // third))
    shares = dv.new_empty(b * grid[1], a)
    sides = {"A": a, "BLOCK_A": third, "SCALE": SCALE, "num_warps": 2}
    _slopes_kernel[grid](
        grad, q, k, v, dq, shares, t, s, s, 1, **sides, BLOCK_X=first, BLOCK_Y=second, WITH_V=True
    )  # fmt: skip
    grid = (b, -(-s // second), -(-a // third))
    _slopes_kernel[grid](
        grad, k, q, v, dk, shares, s, t, 1, s, **sides, BLOCK_X=second, BLOCK_Y=first, WITH_V=False
    )  # fmt: skip
    return dq, dk, shares.sum(0)


# -- what a caller uses -----------------------------------------------------------------------------------------------


class _Scores(torch.autograd.Function):
    """Keeps q, k and v alone."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        return scores_reference(q, k, v) if _plain(q) else scores.op(q, k, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        q, k, v = ctx.saved_tensors
        made = (scores_backward_reference if _plain(q) else scores_backward.op)(grad, q, k, v)
        return tuple(g.to(x.dtype) for g, x in zip(made, (q, k, v), strict=True))


def _plain(q: Tensor) -> bool:
    return q.dtype == torch.float64 or not scores.uses_triton(q.device)


def additive_scores(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """e_ij = v . tanh(q_i + k_j): scores (B, T, S) of q (B, T, A), k (B, S, A) and v (A,); differentiable once."""
    scored: Tensor = _Scores.apply(q, k, v)  # type: ignore[no-untyped-call]
    return scored
