"""silu(GroupNorm(x)) as one operation, forward and backward, over pictures whose channels lie side by side (NHWC).

Every residual block of the U-Net begins with it, twice. In plain torch it reads and writes the features three times
forward; the launch reads them once from memory (and once from cache) and writes them once. x is float32 or bfloat16
(N, C, H, W), weight and bias float32 (C,); statistics are float32. On a CPU the plain reference is what runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.kernels import Case, Machine, jit, kernel

if TYPE_CHECKING:
    import triton.language as tl

EPS = 1e-5


# -- reference --------------------------------------------------------------------------------------------------------


def forward_reference(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """(silu(GroupNorm(x)), the mean and 1/deviation of every group (N, groups)) by torch's own operators."""
    n, channels, height, width = x.shape
    wide = x.to(weight.dtype)
    y, mean, rstd = torch.native_group_norm(wide, weight, bias, n, channels, height * width, groups, EPS)
    return F.silu(y).to(x.dtype).contiguous(memory_format=torch.channels_last), mean, rstd


def backward_reference(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, rstd: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(dx, dweight (C,), dbias (C,)) by torch's own operators, nothing kept from the forward pass but the statistics."""
    n, channels, height, width = x.shape
    aten, size = torch.ops.aten, height * width
    wide = x.to(weight.dtype).contiguous()
    y = torch.native_group_norm(wide, weight, bias, n, channels, size, groups, EPS)[0]
    dz = aten.silu_backward(grad.to(weight.dtype).contiguous(), y)
    dx, dweight, dbias = aten.native_group_norm_backward(
        dz, wide, mean, rstd, weight, n, channels, size, groups, [True, True, True]
    )
    return dx.to(x.dtype).contiguous(memory_format=torch.channels_last), dweight, dbias


# -- Triton -----------------------------------------------------------------------------------------------------------


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    x_ptr, weight_ptr, bias_ptr, y_ptr, mean_ptr, rstd_ptr, places, eps,
    C: tl.constexpr, WIDE: tl.constexpr, GROUPS: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """One program normalises BLOCK_G groups of WIDE channels of one picture. It walks the places twice: for the sums, and
    again, then from cache, to write. Sums are of differences to the first place, so that a large mean costs no digits."""
    g = tl.program_id(1) * BLOCK_G + tl.arange(0, BLOCK_G)
    j = tl.arange(0, BLOCK_W)
    channel = g[:, None] * WIDE + j[None, :]
    real = (g < GROUPS)[:, None] & (j < WIDE)[None, :]
    base = tl.program_id(0).to(tl.int64) * places * C
    p = tl.arange(0, BLOCK_P)
    origin = tl.load(x_ptr + base + channel, mask=real, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_P, BLOCK_G, BLOCK_W), tl.float32)
    squares = tl.zeros((BLOCK_P, BLOCK_G, BLOCK_W), tl.float32)
    for start in range(0, places, BLOCK_P):
        inside = (start + p < places)[:, None, None] & real[None, :, :]
        at = base + (start + p)[:, None, None] * C + channel[None, :, :]
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        x = tl.where(inside, x - origin[None, :, :], 0.0)
        total += x
        squares += x * x
    count = places.to(tl.float32)
    first = tl.sum(total, 0) / count  # mean of a channel, less its origin
    spread = tl.sum(squares, 0) - count * first * first
    centre = origin + first
    mean = tl.sum(tl.where(real, centre, 0.0), 1) / WIDE
    off = tl.where(real, centre - mean[:, None], 0.0)
    variance = tl.sum(tl.where(real, spread, 0.0) / count + off * off, 1) / WIDE
    rstd = 1 / tl.sqrt(tl.maximum(variance, 0.0) + eps)
    here = tl.program_id(0) * GROUPS + g
    tl.store(mean_ptr + here, mean, mask=g < GROUPS)
    tl.store(rstd_ptr + here, rstd, mask=g < GROUPS)
    weight = tl.load(weight_ptr + channel, mask=real, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + channel, mask=real, other=0.0).to(tl.float32)
    scale = rstd[:, None] * weight
    for start in range(0, places, BLOCK_P):
        inside = (start + p < places)[:, None, None] & real[None, :, :]
        at = base + (start + p)[:, None, None] * C + channel[None, :, :]
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        z = (x - mean[None, :, None]) * scale[None, :, :] + bias[None, :, :]
        tl.store(y_ptr + at, z / (1 + tl.exp(-z)), mask=inside)


@jit
def _gradient_before(x, grad, mean, rstd, weight, bias):  # type: ignore[no-untyped-def]
    """x^, and the gradient by z = weight x^ + bias of that by silu(z): x and grad (places, groups, channels)."""
    hat = (x - mean[None, :, None]) * rstd[None, :, None]
    z = hat * weight[None, :, :] + bias[None, :, :]
    s = 1 / (1 + tl.exp(-z))
    return hat, grad * s * (1 + z * (1 - s))


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    grad_ptr, x_ptr, weight_ptr, bias_ptr, mean_ptr, rstd_ptr, dx_ptr, dweight_ptr, dbias_ptr, places,
    C: tl.constexpr, WIDE: tl.constexpr, GROUPS: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """The gradients of the same groups, nothing saved but the input and the statistics: two walks over the places, the
    first for the sums of dz and dz * x^ of every channel (they are the gradients of bias and weight), the second for dx."""
    g = tl.program_id(1) * BLOCK_G + tl.arange(0, BLOCK_G)
    j = tl.arange(0, BLOCK_W)
    channel = g[:, None] * WIDE + j[None, :]
    real = (g < GROUPS)[:, None] & (j < WIDE)[None, :]
    base = tl.program_id(0).to(tl.int64) * places * C
    p = tl.arange(0, BLOCK_P)
    here = tl.program_id(0) * GROUPS + g
    mean = tl.load(mean_ptr + here, mask=g < GROUPS, other=0.0)
    rstd = tl.load(rstd_ptr + here, mask=g < GROUPS, other=0.0)
    weight = tl.load(weight_ptr + channel, mask=real, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + channel, mask=real, other=0.0).to(tl.float32)
    dz_sum = tl.zeros((BLOCK_P, BLOCK_G, BLOCK_W), tl.float32)
    dzx_sum = tl.zeros((BLOCK_P, BLOCK_G, BLOCK_W), tl.float32)
    for start in range(0, places, BLOCK_P):
        inside = (start + p < places)[:, None, None] & real[None, :, :]
        at = base + (start + p)[:, None, None] * C + channel[None, :, :]
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(grad_ptr + at, mask=inside, other=0.0).to(tl.float32)
        hat, dz = _gradient_before(x, grad, mean, rstd, weight, bias)
        dz_sum += dz
        dzx_sum += tl.where(inside, dz * hat, 0.0)
    dbias = tl.sum(dz_sum, 0)
    dweight = tl.sum(dzx_sum, 0)
    row = tl.program_id(0) * C + channel
    tl.store(dweight_ptr + row, dweight, mask=real)
    tl.store(dbias_ptr + row, dbias, mask=real)
    size = places.to(tl.float32) * WIDE
    level = tl.sum(tl.where(real, dbias * weight, 0.0), 1) / size
    slope = tl.sum(tl.where(real, dweight * weight, 0.0), 1) / size
    for start in range(0, places, BLOCK_P):
        inside = (start + p < places)[:, None, None] & real[None, :, :]
        at = base + (start + p)[:, None, None] * C + channel[None, :, :]
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(grad_ptr + at, mask=inside, other=0.0).to(tl.float32)
        hat, dz = _gradient_before(x, grad, mean, rstd, weight, bias)
        dx = rstd[None, :, None] * (dz * weight[None, :, :] - level[None, :, None] - hat * slope[None, :, None])
        tl.store(dx_ptr + at, dx, mask=inside)


def config(channels: int, groups: int) -> dict[str, int]:
    """Tile sizes: so many groups that a row of the tile is 64 channels wide or more, and 2048 numbers in all."""
    wide = channels // groups
    block_w = max(2, 1 << (wide - 1).bit_length())
    block_g = max(1, min(64 // block_w, 1 << (groups - 1).bit_length()))
    block_p = max(1, 2048 // (block_w * block_g))
    return {"BLOCK_P": block_p, "BLOCK_G": block_g, "BLOCK_W": block_w, "num_warps": 4}


def _elements(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> int:
    """Numbers that one pass of the inner loop treats in one program."""
    tile = config(x.shape[1], groups)
    return tile["BLOCK_P"] * tile["BLOCK_G"] * tile["BLOCK_W"]


def _backward_elements(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> int:
    return _elements(x, weight, weight, rest[-1])


def _forward_fake(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (x.shape[0], groups)
    return (
        torch.empty_like(x, memory_format=torch.channels_last),
        weight.new_empty(shape),
        weight.new_empty(shape),
    )


def _backward_fake(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, rstd: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    dx = torch.empty_like(x, memory_format=torch.channels_last)
    return dx, torch.empty_like(weight), torch.empty_like(weight)


# -- right or wrong, against float64 -----------------------------------------------------------------------------------


def _off(name: str, mine: Tensor, true: Tensor, half: bool) -> str:
    """ "" if every number is right up to the rounding of its type (and of the sums, for a gradient of a parameter)."""
    tolerance = 2e-2 if half else 1e-4
    error = (mine.double() - true).abs() / (true.abs() + true.abs().mean() + 1e-6)
    worst = float(error.max()) if error.numel() else 0.0
    return "" if worst <= tolerance else f"{name} is off by {worst:.1e}"


def exact(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, grad: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Both operations as they are defined, in float64: the forward's outputs, or with `grad` the backward's."""
    x, weight, bias = (t.detach().double().requires_grad_(grad is not None) for t in (x, weight, bias))
    with torch.enable_grad():
        grouped = x.reshape(x.shape[0], groups, -1)
        mean, rstd = grouped.mean(2), torch.rsqrt(grouped.var(2, correction=0) + EPS)
        normal = ((grouped - mean[..., None]) * rstd[..., None]).view(x.shape)
        out = F.silu(normal * weight[:, None, None] + bias[:, None, None])
        if grad is None:
            return out, mean, rstd
        dx, dweight, dbias = torch.autograd.grad(out, (x, weight, bias), grad.double())
    return dx, dweight, dbias


def forward_agrees(args: tuple[Any, ...], out: tuple[Tensor, ...]) -> str:
    x, weight, bias, groups = args
    true = exact(x, weight, bias, groups)
    half = x.dtype == torch.bfloat16
    found = [_off("the output", out[0], true[0], half), _off("1 / deviation", out[2], true[2], False)]
    scale = 1 / true[2]
    if bool(((out[1].double() - true[1]).abs() > 1e-5 * (scale + true[1].abs())).any()):
        found.append("a mean is wrong")
    return "; ".join(word for word in found if word)


def backward_agrees(args: tuple[Any, ...], out: tuple[Tensor, ...]) -> str:
    grad, x, weight, bias, _, _, groups = args
    true = exact(x, weight, bias, groups, grad)
    half = x.dtype == torch.bfloat16
    names = ("dx", "dweight", "dbias")
    found = [_off(name, mine, right, half) for name, mine, right in zip(names, out, true, strict=True)]
    return "; ".join(word for word in found if word)


def _make(n: int, channels: int, side: int, groups: int) -> Any:
    def make(device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
        x = torch.randn(n, channels, side, side, device=device, dtype=dtype) + 0.5
        x = x.contiguous(memory_format=torch.channels_last)
        return x, torch.rand(channels, device=device) + 0.5, torch.randn(channels, device=device), groups

    return make


def _case(name: str, n: int, channels: int, side: int, budget: float | tuple[float, float]) -> Case:
    groups = max(1, min(32, channels // 8))
    size = n * channels * side * side
    made = _make(n, channels, side, groups)
    return Case(name=name, make=made, bytes=8 * size, flops=10 * size, instructions=budget)


def _backward_case(name: str, n: int, channels: int, side: int, budget: float | tuple[float, float]) -> Case:
    groups = max(1, min(32, channels // 8))
    forward = _make(n, channels, side, groups)

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
        x, weight, bias, _ = forward(device, dtype)
        _, mean, rstd = forward_reference(x, weight, bias, groups)
        return torch.randn_like(x), x, weight, bias, mean, rstd, groups

    size = n * channels * side * side
    return Case(name=name, make=make, bytes=12 * size, flops=25 * size, instructions=budget)


SHAPES = (
    ("28x28, batch 128, 64 wide", 128, 64, 28),
    ("14x14, batch 128, 128 wide", 128, 128, 14),
    ("32x32, batch 128, 128 wide", 128, 128, 32),
    ("16x16, batch 128, 256 wide", 128, 256, 16),
    ("7x7, batch 64, 96 wide", 64, 96, 7),
    ("8x8, batch 128, 384 wide", 128, 384, 8),
)


@kernel(
    "gentool_diffusion::group_norm_silu(Tensor x, Tensor weight, Tensor bias, int groups) -> (Tensor, Tensor, Tensor)",
    reference=forward_reference,
    fake=_forward_fake,
    agree=forward_agrees,
    note="one read and one write of the features; not yet timed on a GPU",
    cases=[_case(*shape, (18.5, 20.0)) for shape in SHAPES],
    machine=Machine(elements=_elements, kernel="_forward_kernel"),
)
def norm_silu_forward(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Launch: a program for every picture and block of groups."""
    x = x.contiguous(memory_format=torch.channels_last)
    n, channels, height, width = x.shape
    y, mean, rstd = _forward_fake(x, weight, bias, groups)
    if not x.numel():
        return y, mean, rstd
    tile = config(channels, groups)
    grid = (n, -(-groups // tile["BLOCK_G"]))
    _forward_kernel[grid](
        x, weight.contiguous(), bias.contiguous(), y, mean, rstd, height * width, EPS,
        C=channels, WIDE=channels // groups, GROUPS=groups, **tile,
    )  # fmt: skip
    return y, mean, rstd


@kernel(
    "gentool_diffusion::group_norm_silu_backward(Tensor grad, Tensor x, Tensor weight, Tensor bias, Tensor mean, "
    "Tensor rstd, int groups) -> (Tensor, Tensor, Tensor)",
    reference=backward_reference,
    fake=_backward_fake,
    agree=backward_agrees,
    note="nothing is saved but the input; not yet timed on a GPU",
    cases=[_backward_case(*shape, (28.0, 30.5)) for shape in SHAPES],
    machine=Machine(elements=_backward_elements, kernel="_backward_kernel"),
)
def norm_silu_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, rstd: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch: a program for every picture and block of groups. The gradients of the parameters are summed over pictures
    after it, in a fixed order."""
    x, grad = x.contiguous(memory_format=torch.channels_last), grad.contiguous(memory_format=torch.channels_last)
    n, channels, height, width = x.shape
    dx = torch.empty_like(x)
    dweight, dbias = weight.new_empty(n, channels), weight.new_empty(n, channels)
    if not x.numel():
        return dx, torch.zeros_like(weight), torch.zeros_like(bias)
    tile = config(channels, groups)
    grid = (n, -(-groups // tile["BLOCK_G"]))
    _backward_kernel[grid](
        grad, x, weight.contiguous(), bias.contiguous(), mean, rstd, dx, dweight, dbias, height * width,
        C=channels, WIDE=channels // groups, GROUPS=groups, **tile,
    )  # fmt: skip
    return dx, dweight.sum(0), dbias.sum(0)


class _NormSiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
        y, mean, rstd = norm_silu_forward.op(x, weight, bias, groups)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.groups = groups
        made: Tensor = y
        return made

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        dx, dweight, dbias = norm_silu_backward.op(grad, *ctx.saved_tensors, ctx.groups)
        return dx, dweight, dbias, None


def group_norm_silu(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """silu(GroupNorm(x)) of x (N, C, H, W): weight and bias (C,) scale and shift every channel after normalising."""
    if norm_silu_forward.uses_triton(x.device):
        return _NormSiLU.apply(x, weight, bias, groups)  # type: ignore[no-untyped-call, no-any-return]
    return F.silu(F.group_norm(x, groups, weight, bias, EPS))
