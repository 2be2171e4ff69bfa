"""The scan of PixelRNN's layers (scan.py), forward and backward, a program for each picture and direction.

Eager, each of a picture's lines (28 rows, or 55 diagonals of two directions) is a dozen small launches; here the lines
are a loop. What a line gives to the next goes through the outputs themselves: h forward, the gradient of the gates
backward, with a barrier between; the cell stays in registers. The gradient of the weights is whole matrix products, outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.kernels import Case, Machine, jit, kernel

if TYPE_CHECKING:
    import triton.language as tl


# -- reference ----------------------------------------------------------------------------------------------------
#
# x (D, H, W, N, 4h) with gates in the order i, f, o, g; w (D, taps, h, 4h); first: where along the line before, relative to
# a pixel, tap 0 looks. All in the picture's own coordinates: pixel (r, c) is place l of line t, (t, l) = (r, c) for rows
# and (r + c, r) for diagonals.


def pixel(t: int, place: int, diagonal: bool) -> tuple[int, int]:
    """(row, column) of a place of a line."""
    return (place, t - place) if diagonal else (t, place)


def _places(t: int, height: int, width: int, diagonal: bool) -> list[tuple[int, int, int]]:
    """(place, row, column) of the pixels of a line."""
    there = [(place, *pixel(t, place, diagonal)) for place in range(height if diagonal else width)]
    return [(place, r, c) for place, r, c in there if 0 <= r < height and 0 <= c < width]


def plain_scan(x: Tensor, w: Tensor, first: int, diagonal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """h (D, H, W, N, h), and for the gradient the gates after their nonlinearities and the cells. Pixel by pixel."""
    (_, height, width, _, features), taps = x.shape, w.shape[1]
    size = features // 4
    gates, c, h = torch.zeros_like(x), x.new_zeros(*x.shape[:-1], size), x.new_zeros(*x.shape[:-1], size)
    for t in range(height + width - 1 if diagonal else height):
        before = {place: (r, col) for place, r, col in _places(t - 1, height, width, diagonal)}
        for place, r, col in _places(t, height, width, diagonal):
            a = x[:, r, col]
            for k in range(taps):
                if place + first + k in before:
                    a = a + torch.bmm(h[(slice(None), *before[place + first + k])], w[:, k])
            i, f, o, g = a.chunk(4, -1)
            gates[:, r, col] = torch.cat([i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()], -1)
            i, f, o, g = gates[:, r, col].chunk(4, -1)
            c[:, r, col] = i * g
            if place in before:
                c[:, r, col] += f * c[(slice(None), *before[place])]
            h[:, r, col] = o * c[:, r, col].tanh()
    return h, gates, c


def plain_scan_backward(grad: Tensor, gates: Tensor, c: Tensor, w: Tensor, first: int, diagonal: bool) -> Tensor:
    """The gradient by x, (D, H, W, N, 4h), of that by h."""
    height, width = grad.shape[1:3]
    taps, dx, dc = w.shape[1], torch.zeros_like(gates), torch.zeros_like(c)
    for t in range(height + width - 2 if diagonal else height - 1, -1, -1):
        after = {place: (r, col) for place, r, col in _places(t + 1, height, width, diagonal)}
        before = {place: (r, col) for place, r, col in _places(t - 1, height, width, diagonal)}
        for place, r, col in _places(t, height, width, diagonal):
            dh = grad[:, r, col]
            for k in range(taps):
                if place - first - k in after:
                    da = dx[(slice(None), *after[place - first - k])]
                    dh = dh + torch.bmm(da, w[:, k].transpose(1, 2))
            i, f, o, g = gates[:, r, col].chunk(4, -1)
            tanh_c = c[:, r, col].tanh()
            d_cell = dc[:, r, col] + dh * o * (1 - tanh_c * tanh_c)
            old = torch.zeros_like(d_cell)
            if place in before:
                old = c[(slice(None), *before[place])]
                dc[(slice(None), *before[place])] = d_cell * f
            parts = [
                d_cell * g * i * (1 - i),
                d_cell * old * f * (1 - f),
                dh * tanh_c * o * (1 - o),
                d_cell * i * (1 - g * g),
            ]
            dx[:, r, col] = torch.cat(parts, -1)
    return dx


def weight_gradient(h: Tensor, dx: Tensor, taps: int, first: int, diagonal: bool) -> Tensor:
    """(D, taps, h, 4h): for each tap the products of what it looked at with the gradient of the gates."""
    made = []
    for k in range(taps):
        offset = first + k
        # The pixel a tap looks at: of a row (r - 1, c + offset); of a diagonal (r - 1, c) or (r, c - 1).
        down, across = (-offset, offset + 1) if diagonal else (1, -offset)
        left = (across, 0) if across >= 0 else (0, -across)
        looked = F.pad(h, (0, 0, 0, 0, *left, down, 0))[:, : h.shape[1], left[1] : left[1] + h.shape[2]]
        made.append(torch.bmm(looked.flatten(1, 3).transpose(1, 2), dx.flatten(1, 3)))
    return torch.stack(made, 1)


# -- Triton -------------------------------------------------------------------------------------------------------


@jit
def _at(t, place, height, width, n, direction, picture, DIAGONAL: tl.constexpr):  # type: ignore[no-untyped-def]
    """The index of each place of line t among all pixels of all pictures, and whether there is one."""
    if DIAGONAL:
        row = place
        column = t - place
    else:
        row = t + 0 * place
        column = place
    there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return ((direction * height + row) * width + column) * n + picture, there


@jit
def _tanh(x):  # type: ignore[no-untyped-def]
    return 2 * tl.sigmoid(2 * x) - 1


@jit
def _product(x, w_ptr, TRANSPOSED: tl.constexpr, made, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    """made + x @ w, or x @ w^T, for one gate's part (SIZE, SIZE) of a row of 4 SIZE; with float32's accuracy."""
    f = tl.arange(0, SIZE)
    if TRANSPOSED:
        w = tl.trans(tl.load(w_ptr + f[:, None] * (4 * SIZE) + f[None, :]))
    else:
        w = tl.load(w_ptr + f[:, None] * (4 * SIZE) + f[None, :])
    return tl.dot(x, w.to(tl.float32), made, input_precision="tf32x3")


@jit
def _scan_kernel(  # type: ignore[no-untyped-def]
    x_ptr, w_ptr, h_ptr, gates_ptr, c_ptr, height, width, n, lines,
    FIRST: tl.constexpr, TAPS: tl.constexpr, SIZE: tl.constexpr, PLACES: tl.constexpr, DIAGONAL: tl.constexpr,
):  # fmt: skip
    picture, direction = tl.program_id(0), tl.program_id(1)
    place, f = tl.arange(0, PLACES), tl.arange(0, SIZE)
    c = tl.zeros((PLACES, SIZE), tl.float32)
    for t in range(0, lines):
        here, there = _at(t, place, height, width, n, direction, picture, DIAGONAL)
        mask = there[:, None]
        at = here[:, None] * SIZE + f[None, :]
        a = here[:, None] * (4 * SIZE) + f[None, :]
        i = tl.load(x_ptr + a, mask=mask, other=0.0).to(tl.float32)
        k = tl.load(x_ptr + a + SIZE, mask=mask, other=0.0).to(tl.float32)
        o = tl.load(x_ptr + a + 2 * SIZE, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(x_ptr + a + 3 * SIZE, mask=mask, other=0.0).to(tl.float32)
        for tap in tl.range(0, TAPS):
            old, was = _at(t - 1, place + FIRST + tap, height, width, n, direction, picture, DIAGONAL)
            before = tl.load(h_ptr + old[:, None] * SIZE + f[None, :], mask=was[:, None], other=0.0).to(tl.float32)
            w = w_ptr + (direction * TAPS + tap) * (4 * SIZE * SIZE)
            i = _product(before, w, False, i, SIZE)
            k = _product(before, w + SIZE, False, k, SIZE)
            o = _product(before, w + 2 * SIZE, False, o, SIZE)
            g = _product(before, w + 3 * SIZE, False, g, SIZE)
        i, k, o, g = tl.sigmoid(i), tl.sigmoid(k), tl.sigmoid(o), _tanh(g)
        c = tl.where(mask, k * c + i * g, 0.0)
        tl.store(gates_ptr + a, i, mask=mask)
        tl.store(gates_ptr + a + SIZE, k, mask=mask)
        tl.store(gates_ptr + a + 2 * SIZE, o, mask=mask)
        tl.store(gates_ptr + a + 3 * SIZE, g, mask=mask)
        tl.store(c_ptr + at, c, mask=mask)
        tl.store(h_ptr + at, o * _tanh(c), mask=mask)
        tl.debug_barrier()


@jit
def _scan_backward_kernel(  # type: ignore[no-untyped-def]
    grad_ptr, gates_ptr, c_ptr, w_ptr, dx_ptr, height, width, n, lines,
    FIRST: tl.constexpr, TAPS: tl.constexpr, SIZE: tl.constexpr, PLACES: tl.constexpr, DIAGONAL: tl.constexpr,
):  # fmt: skip
    picture, direction = tl.program_id(0), tl.program_id(1)
    place, f = tl.arange(0, PLACES), tl.arange(0, SIZE)
    dc = tl.zeros((PLACES, SIZE), tl.float32)
    for s in range(0, lines):
        t = lines - 1 - s
        here, there = _at(t, place, height, width, n, direction, picture, DIAGONAL)
        mask = there[:, None]
        at = here[:, None] * SIZE + f[None, :]
        a = here[:, None] * (4 * SIZE) + f[None, :]
        dh = tl.load(grad_ptr + at, mask=mask, other=0.0).to(tl.float32)
        for tap in tl.range(0, TAPS):
            new, will = _at(t + 1, place - FIRST - tap, height, width, n, direction, picture, DIAGONAL)
            da = dx_ptr + new[:, None] * (4 * SIZE) + f[None, :]
            w = w_ptr + (direction * TAPS + tap) * (4 * SIZE * SIZE)
            for gate in tl.static_range(0, 4):
                part = tl.load(da + gate * SIZE, mask=will[:, None], other=0.0).to(tl.float32)
                dh = _product(part, w + gate * SIZE, True, dh, SIZE)
        i = tl.load(gates_ptr + a, mask=mask, other=0.0).to(tl.float32)
        k = tl.load(gates_ptr + a + SIZE, mask=mask, other=0.0).to(tl.float32)
        o = tl.load(gates_ptr + a + 2 * SIZE, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(gates_ptr + a + 3 * SIZE, mask=mask, other=0.0).to(tl.float32)
        tanh_c = _tanh(tl.load(c_ptr + at, mask=mask, other=0.0).to(tl.float32))
        old, was = _at(t - 1, place, height, width, n, direction, picture, DIAGONAL)
        before = tl.load(c_ptr + old[:, None] * SIZE + f[None, :], mask=was[:, None] & mask, other=0.0).to(tl.float32)
        d_cell = dc + dh * o * (1 - tanh_c * tanh_c)
        tl.store(dx_ptr + a, d_cell * g * i * (1 - i), mask=mask)
        tl.store(dx_ptr + a + SIZE, d_cell * before * k * (1 - k), mask=mask)
        tl.store(dx_ptr + a + 2 * SIZE, dh * tanh_c * o * (1 - o), mask=mask)
        tl.store(dx_ptr + a + 3 * SIZE, d_cell * i * (1 - g * g), mask=mask)
        dc = tl.where(mask, d_cell * k, 0.0)
        tl.debug_barrier()


# -- launch -------------------------------------------------------------------------------------------------------


def unfit(size: int, length: int) -> str:
    """Why the launch cannot scan states of h units along lines of a length, or ""."""
    if size not in (16, 32):
        return f"{size} units are not 16 or 32"
    if length > 128:
        return f"lines of {length} places are longer than 128"
    return ""


def scan_config(size: int, length: int) -> dict[str, int]:
    """The size of a program's tile."""
    return {"SIZE": size, "PLACES": max(16, 1 << (length - 1).bit_length()), "num_warps": size // 4}


def _geometry(x: Tensor, diagonal: bool) -> tuple[tuple[int, int], tuple[int, int, int, int], int]:
    """(grid, arguments, places of a line)."""
    directions, height, width, n, _ = x.shape
    lines, length = (height + width - 1, height) if diagonal else (height, width)
    return (n, directions), (height, width, n, lines), length


def _scan_fake(x: Tensor, w: Tensor, first: int, diagonal: bool) -> tuple[Tensor, Tensor, Tensor]:
    made = x.new_empty(*x.shape[:-1], x.shape[-1] // 4)
    return made, torch.empty_like(x), torch.empty_like(made)


def _back_fake(grad: Tensor, gates: Tensor, c: Tensor, w: Tensor, first: int, diagonal: bool) -> Tensor:
    return torch.empty_like(gates)


def _random(
    size: int, taps: int, picture: tuple[int, int], n: int, diagonal: bool, device: Any, dtype: Any
) -> list[Tensor]:
    directions = 2 if diagonal else 1
    x = torch.randn(directions, *picture, n, 4 * size, device=device, dtype=dtype)
    return [x, torch.randn(directions, taps, size, 4 * size, device=device, dtype=dtype) * (taps * size) ** -0.5]


def _case(name: str, size: int, taps: int, picture: tuple[int, int], n: int, budget: float, *, back: bool) -> Case:
    diagonal = name.startswith("diagonal")
    first = -1 if diagonal else -(taps // 2)

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
        x, w = _random(size, taps, picture, n, diagonal, device, dtype)
        if not back:
            return x, w, first, diagonal
        c = torch.randn(*x.shape[:-1], size, device=device, dtype=dtype)
        return torch.randn_like(c), x.sigmoid(), c, w, first, diagonal

    cells = (2 if diagonal else 1) * picture[0] * picture[1] * n
    flops = 2 * cells * taps * size * 4 * size
    return Case(name=name, make=make, bytes=4 * cells * size * 10, flops=flops, instructions=budget, seconds=0.5)


def _near(exact: tuple[Tensor, ...], out: tuple[Tensor, ...], dtype: torch.dtype) -> str:
    worst = max(float((a.double() - b.double()).abs().max()) for a, b in zip(exact, out))
    return "" if worst < (1e-3 if dtype == torch.float32 else 0.15) else f"off by {worst:.2g} from float64"


def scan_agrees(args: tuple[Any, ...], out: tuple[Tensor, ...]) -> str:
    """ "" if all three outputs are those of float64."""
    x, w, first, diagonal = args
    return _near(plain_scan(x.double(), w.double(), first, diagonal), out, x.dtype)


def back_agrees(args: tuple[Any, ...], out: Tensor) -> str:
    """ "" if the gradient is that of float64."""
    *tensors, first, diagonal = args
    exact = plain_scan_backward(*(tensor.double() for tensor in tensors), first, diagonal)  # type: ignore[call-arg]
    return _near((exact,), (out,), tensors[0].dtype)


FACTS: dict[str, Any] = {
    "opt_in": "unmeasured on a GPU: GENTOOL_KERNELS=triton takes it",
    "note": "PixelRNN's lines in one launch; not yet timed on a GPU",
}
# Name, h, taps, picture, pictures; instructions for each of the tensor cores', forward and backward.
SHAPES: list[tuple[tuple[str, int, int, tuple[int, int], int], float, float]] = [
    (("diagonal 16, 28x28", 16, 2, (28, 28), 16), 9.5, 12.0),
    (("diagonal 32, 28x28", 32, 2, (28, 28), 16), 7.2, 8.2),
    (("row 32, 28x28", 32, 3, (28, 28), 16), 7.2, 8.2),
]


@kernel(
    "gentool_autoregressive::scan(Tensor x, Tensor w, int first, bool diagonal) -> (Tensor, Tensor, Tensor)",
    reference=plain_scan,
    fake=_scan_fake,
    agree=scan_agrees,
    cases=[_case(*shape, budget, back=False) for shape, budget, _ in SHAPES],
    machine=Machine(kernel="_scan_kernel", tensor_cores=True, dtypes=(torch.float32,)),
    **FACTS,
)
def scan_forward(x: Tensor, w: Tensor, first: int, diagonal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Launch: a program for each picture and direction."""
    h, gates, c = _scan_fake(x, w, first, diagonal)
    grid, sizes, length = _geometry(x, diagonal)
    _scan_kernel[grid](
        x.contiguous(), w.contiguous(), h, gates, c, *sizes,
        FIRST=first, TAPS=w.shape[1], DIAGONAL=diagonal, **scan_config(w.shape[2], length),
    )  # fmt: skip
    return h, gates, c


@kernel(
    "gentool_autoregressive::scan_backward"
    "(Tensor grad, Tensor gates, Tensor c, Tensor w, int first, bool diagonal) -> Tensor",
    reference=plain_scan_backward,
    fake=_back_fake,
    agree=back_agrees,
    cases=[_case(*shape, budget, back=True) for shape, _, budget in SHAPES],
    machine=Machine(kernel="_scan_backward_kernel", tensor_cores=True, dtypes=(torch.float32,)),
    **FACTS,
)
def scan_backward(grad: Tensor, gates: Tensor, c: Tensor, w: Tensor, first: int, diagonal: bool) -> Tensor:
    """Launch: a program for each picture and direction."""
    dx = torch.empty_like(gates)
    sizes_of, sizes, length = _geometry(gates, diagonal)
    _scan_backward_kernel[sizes_of](
        grad.contiguous(), gates, c, w.contiguous(), dx, *sizes,
        FIRST=first, TAPS=w.shape[1], DIAGONAL=diagonal, **scan_config(w.shape[2], length),
    )  # fmt: skip
    return dx


class LaunchedScan(torch.autograd.Function):
    """The scan by its two launches; a gradient of the weights by whole matrix products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, first: int, diagonal: bool) -> Tensor:
        h, gates, c = scan_forward(x.detach(), w.detach(), first, diagonal)
        ctx.save_for_backward(w, h, gates, c)
        ctx.first, ctx.diagonal = first, diagonal
        made: Tensor = h
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        w, h, gates, c = ctx.saved_tensors
        dx = scan_backward(grad, gates, c, w, ctx.first, ctx.diagonal)
        return dx, weight_gradient(h, dx, w.shape[1], ctx.first, ctx.diagonal), None, None
