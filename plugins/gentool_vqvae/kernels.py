"""The operations of a vector-quantised bottleneck: the nearest code of each vector, and the statistics of codes.

z is float32 or bfloat16 (N, D), codebook float32 (K, D), index int64 (N,). No function here makes an N x K matrix.
Distances are float32 whatever autocast says: in bfloat16 one or two codes in a hundred would be others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.kernels import Case, Machine, jit, kernel, no_kernel

if TYPE_CHECKING:
    import triton.language as tl

CHUNK = 128 << 10  # scores made at once: 512 KiB of float32 stay in a core's cache
GROUP = 32  # scores whose minimum is taken at once
WIDEST = 256  # dimensions up to which the Triton launch holds a row tile on chip


# -- nearest code: reference ------------------------------------------------------------------------------------------


def _argmin_rows(scores: Tensor) -> Tensor:
    """argmin(1) of (R, K), ties to the lowest index, by groups: the minimum alone vectorises on a CPU, argmin does not.

    1.1 ms against 0.5 for 1024 x 512 on one AVX-512 core.
    """
    r, k = scores.shape
    if scores.device.type != "cpu" or k % GROUP or k <= GROUP:
        return scores.argmin(1)
    grouped = scores.view(r, k // GROUP, GROUP)
    group = grouped.amin(2).argmin(1)
    within = grouped[torch.arange(r), group].argmin(1)
    return within.add_(group, alpha=GROUP)


def nearest_index(z: Tensor, codebook: Tensor, chunk: int = CHUNK) -> Tensor:
    """argmin_k |z - e_k|^2 = argmin_k |e_k|^2 / 2 - z.e_k for each row of z: int64 (N,), ties to the lowest index.

    `chunk` bounds how many of the N x K scores exist at a time.
    """
    z, codebook = z.detach().float(), codebook.detach().float()
    half, transposed = codebook.square().sum(1).mul_(0.5), codebook.t()
    rows = max(1, chunk // len(codebook)) if z.device.type == "cpu" else max(1, 256 * chunk // len(codebook))
    with torch.autocast(z.device.type, enabled=False):
        parts = [_argmin_rows(torch.addmm(half, part, transposed, alpha=-1)) for part in torch.split(z, rows)]
    return torch.cat(parts)


def nearest_reference(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(index (N,), codebook[index] (N, D), |z - codebook[index]|^2 (N,)) in plain torch."""
    index = nearest_index(z, codebook)
    quantised = F.embedding(index, codebook)
    return index, quantised, (z.float() - quantised).square().sum(1)


# -- nearest code: Triton ---------------------------------------------------------------------------------------------


@jit
def _to_tf32(x):  # type: ignore[no-untyped-def]
    """The nearest number with a 10-bit mantissa, which is what the tensor cores read of a float32."""
    return ((x.to(tl.int32, bitcast=True) + 0x1000) & ~0x1FFF).to(tl.float32, bitcast=True)


@jit
def _split_kernel(  # type: ignore[no-untyped-def]
    codebook_ptr, high_ptr, low_ptr, half_ptr, codes, D: tl.constexpr, BLOCK_D: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    """The codebook as a sum of two tf32 matrices, and |e_k|^2 / 2. All three are padded to whole tiles, with codes that
    are infinitely far, so that the walk needs no masks."""
    k = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, BLOCK_D)
    e = tl.load(codebook_ptr + k[:, None] * D + d[None, :], mask=(k < codes)[:, None] & (d < D)[None, :], other=0.0)
    high = _to_tf32(e)
    place = k[:, None] * BLOCK_D + d[None, :]
    tl.store(high_ptr + place, high)
    tl.store(low_ptr + place, _to_tf32(e - high))
    tl.store(half_ptr + k, tl.where(k < codes, 0.5 * tl.sum(e * e, 1), float("inf")))


@jit
def _nearest_kernel(  # type: ignore[no-untyped-def]
    z_ptr, codebook_ptr, high_ptr, low_ptr, half_ptr, index_ptr, quantised_ptr, error_ptr, n, codes,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """One program finds the codes of BLOCK_N rows: it walks the codebook in tiles and keeps, for each row and each
    column of a tile, the best score so far and its tile. Rows are reduced once, after the walk. Three tf32 products
    (high x high, and the two mixed ones) give float32's accuracy on tensor cores."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    columns = tl.arange(0, BLOCK_K)
    inside = (rows < n)[:, None] & (d < D)[None, :]
    z = tl.load(z_ptr + rows[:, None] * D + d[None, :], mask=inside, other=0.0).to(tl.float32)
    z_high = _to_tf32(z)
    z_low = _to_tf32(z - z_high)
    best = tl.full((BLOCK_N, BLOCK_K), float("inf"), tl.float32)
    chosen = tl.zeros((BLOCK_N, BLOCK_K), tl.int32)
    for start in tl.range(0, codes, BLOCK_K, num_stages=STAGES):
        place = (start + columns)[None, :] * BLOCK_D + d[:, None]
        high = tl.load(high_ptr + place)
        low = tl.load(low_ptr + place)
        dot = tl.dot(z_low, high, input_precision="tf32")
        dot = tl.dot(z_high, low, dot, input_precision="tf32")
        dot = tl.dot(z_high, high, dot, input_precision="tf32")
        score = tl.load(half_ptr + start + columns)[None, :] - dot
        nearer = score < best
        best = tl.where(nearer, score, best)
        chosen = tl.where(nearer, start, chosen)
    least = tl.min(best, 1)
    code = tl.min(tl.where(best == least[:, None], chosen + columns[None, :], codes), 1)  # of equals the lowest index
    code = tl.where(code < codes, code, 0)  # a row of NaN has no nearest code
    e = tl.load(codebook_ptr + code[:, None] * D + d[None, :], mask=inside, other=0.0)
    z = tl.load(z_ptr + rows[:, None] * D + d[None, :], mask=inside, other=0.0).to(tl.float32)
    tl.store(index_ptr + rows, code.to(tl.int64), mask=rows < n)
    tl.store(quantised_ptr + rows[:, None] * D + d[None, :], e, mask=inside)
    tl.store(error_ptr + rows, tl.sum((z - e) * (z - e), 1), mask=rows < n)


def nearest_config(d: int) -> dict[str, int]:
    """Tile sizes for a width: the largest whose row tile, its two halves and the running best fit on chip unspilled."""
    block = max(16, 1 << (d - 1).bit_length())
    rows, columns, stages = (128, 64, 2) if block <= 64 else (128, 32, 2) if block <= 128 else (64, 32, 1)
    return {"BLOCK_D": block, "BLOCK_N": rows, "BLOCK_K": columns, "num_warps": 8, "STAGES": stages}


def _nearest_elements(z: Tensor, codebook: Tensor) -> int:
    """Scores that one pass of the inner loop makes in one program."""
    config = nearest_config(z.shape[1])
    return config["BLOCK_N"] * config["BLOCK_K"]


def _nearest_fake(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n, d = z.shape
    return z.new_empty(n, dtype=torch.int64), codebook.new_empty(n, d), codebook.new_empty(n)


def _nearest_case(name: str, n: int, d: int, codes: int, budget: float = 11.0) -> Case:
    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return torch.randn(n, d, device=device, dtype=dtype), torch.randn(codes, d, device=device)

    floor = 4 * (2 * n * d + codes * d) + 12 * n
    return Case(name=name, make=make, bytes=floor, flops=2 * n * codes * d, instructions=budget)


def nearest_agrees(args: tuple[Tensor, Tensor], out: tuple[Tensor, ...]) -> str:
    """ "" if every chosen code is as near as the nearest in float64 up to float32's rounding, and the rest follows."""
    z, codebook = args[0][:4096].detach().double(), args[1].detach().double()
    index, quantised, error = (part[:4096] for part in out[:3])
    if bool((index < 0).any() | (index >= len(codebook)).any()):
        return "an index is out of range"
    distance = torch.cdist(z, codebook, compute_mode="donot_use_mm_for_euclid_dist").square()
    chosen = distance.gather(1, index[:, None])[:, 0]
    scale = z.square().sum(1) + codebook[index].square().sum(1)
    worst = float(((chosen - distance.amin(1)) / scale.clamp(min=1e-30)).max())
    if not worst <= 1e-6:
        return f"a code is farther than the nearest by {worst:.1e} of its length"
    if not torch.equal(quantised, args[1][index]):
        return "a quantised vector is not its code"
    if not torch.allclose(error.double(), chosen, rtol=1e-4, atol=1e-6):
        return "a squared error is wrong"
    return ""


def nearest_whole(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All N x K distances at once: what is written without a second thought, and what `torch.compile` is given."""
    distance = z.square().sum(1, keepdim=True) - 2 * z @ codebook.t() + codebook.square().sum(1)
    index = distance.argmin(1)
    quantised = codebook[index]
    return index, quantised, (z - quantised).square().sum(1)


def nearest_cdist(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By torch's own distance operator."""
    index = torch.cdist(z, codebook).argmin(1)
    quantised = codebook[index]
    return index, quantised, (z - quantised).square().sum(1)


@kernel(
    "gentool_vqvae::nearest(Tensor z, Tensor codebook) -> (Tensor, Tensor, Tensor)",
    reference=nearest_reference,
    fake=_nearest_fake,
    agree=nearest_agrees,
    rivals={"eager": nearest_whole, "vendor": nearest_cdist},
    note="no N x K matrix; tf32x3 on tensor cores keeps float32's codes; not yet timed on a GPU",
    cases=[
        _nearest_case("28x28, batch 128", 128 * 49, 64, 512),
        _nearest_case("32x32, batch 256", 256 * 64, 64, 512),
        _nearest_case("32x32, batch 1024", 1024 * 64, 64, 512),
        _nearest_case("digits", 128 * 16, 16, 64),
        _nearest_case("8192 codes", 256 * 64, 64, 8192),
        _nearest_case("odd sizes", 6001, 50, 500),
        _nearest_case("128 wide", 128 * 49, 128, 1024, 19.0),
        _nearest_case("256 wide", 128 * 49, 256, 1024, 72.0),
    ],
    machine=Machine(elements=_nearest_elements, kernel="_nearest_kernel", tensor_cores=True),
)
def nearest(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Launch: the codebook is split once, then one program takes BLOCK_N rows."""
    z, codebook = z.contiguous(), codebook.float().contiguous()
    (n, d), codes = z.shape, len(codebook)
    out = _nearest_fake(z, codebook)
    if not n:
        return out
    config = nearest_config(d)
    tile, width = config["BLOCK_K"], config["BLOCK_D"]
    padded = -(-codes // tile) * tile
    high, low, half = codebook.new_empty(padded, width), codebook.new_empty(padded, width), codebook.new_empty(padded)
    rows = min(tile, 2048 // width)
    _split_kernel[(padded // rows,)](codebook, high, low, half, codes, D=d, BLOCK_D=width, ROWS=rows)
    _nearest_kernel[(-(-n // config["BLOCK_N"]),)](z, codebook, high, low, half, *out, n, codes, D=d, **config)
    return out


class _Nearest(torch.autograd.Function):
    """The op with its gradient: the choice is piecewise constant, so only the gather and the error have one."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index, quantised, error = nearest.op(z, codebook)
        ctx.save_for_backward(z, codebook, index)
        ctx.mark_non_differentiable(index)
        return index, quantised, error

    @staticmethod
    def backward(ctx: Any, _: Any, grad_quantised: Tensor, grad_error: Tensor) -> tuple[Tensor, Tensor]:
        z, codebook, index = ctx.saved_tensors
        pull = 2 * grad_error[:, None] * (z.float() - F.embedding(index, codebook))
        return pull.to(z.dtype), torch.zeros_like(codebook).index_put((index,), grad_quantised - pull, accumulate=True)


def nearest_code_error(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`nearest_code`, and the squared distance |z - e|^2 of each row (N,), which carries gradient to both."""
    if nearest.uses_triton(z.device) and z.shape[1] <= WIDEST:
        found: tuple[Tensor, Tensor, Tensor] = _Nearest.apply(z, codebook)  # type: ignore[no-untyped-call]
        return found
    return nearest_reference(z, codebook)


def nearest_code(z: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest code of each row of z (N, D) in codebook (K, D): (index int64 (N,), codebook[index] (N, D)).

    Ties go to the lowest index. The second output carries gradient to the codebook, never to z: that is the business of
    the straight-through estimator in `loss.py`.
    """
    if nearest.uses_triton(z.device) and z.shape[1] <= WIDEST:
        return nearest_code_error(z, codebook)[:2]
    index = nearest_index(z, codebook)
    return index, F.embedding(index, codebook)


# -- statistics of codes ----------------------------------------------------------------------------------------------


def code_statistics(z: Tensor, index: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """How often each code was used (codes,), and the sum of the vectors that chose it (codes, D); without gradient.

    float32. The same numbers every time: in order on a CPU, by sorting on a GPU (where `index_add_` has no fixed order).
    """
    z = z.detach().float()
    counts = z.new_zeros(codes).index_add_(0, index, z.new_ones(len(z)))  # whole numbers: exact in any order
    sums = z.new_zeros(codes, z.shape[1])
    if z.device.type == "cpu":
        return counts, sums.index_add_(0, index, z)
    return counts, sums.index_put_((index,), z, accumulate=True)


def ema_update(z: Tensor, index: Tensor, usage: Tensor, sums: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """The moving averages of the codes' use and the codes they give (van den Oord et al. 2017, equations 6 to 8).

    usage N_i (K,), sums m_i (K, D); gives the new N, m and e = m / N (a code that nothing chooses: m / 1e-6 at most).
    """
    n, s = code_statistics(z, index, len(usage))
    usage, sums = gamma * usage + (1 - gamma) * n, gamma * sums + (1 - gamma) * s
    return usage, sums, sums / usage[:, None].clamp(min=1e-6)


def lookup_update(z: Tensor, codebook: Tensor, usage: Tensor, sums: Tensor) -> tuple[Tensor, ...]:
    """What a training step does with a codebook: nearest codes, then their moving averages with gamma = 0.99."""
    index, quantised = nearest_code(z, codebook)
    return index, quantised, *ema_update(z, index, usage, sums, 0.99)


def lookup_update_one_hot(z: Tensor, codebook: Tensor, usage: Tensor, sums: Tensor) -> tuple[Tensor, ...]:
    """The same by one-hot matrices: distances, choice, gather, counts and sums all go through (N, K)."""
    distance = z.square().sum(1, keepdim=True) + codebook.square().sum(1) - 2 * z @ codebook.t()
    index = distance.argmin(1)
    choice = F.one_hot(index, len(codebook)).to(z.dtype)
    n, s = choice.sum(0), choice.t() @ z
    usage, sums = 0.99 * usage + 0.01 * n, 0.99 * sums + 0.01 * s
    return index, choice @ codebook, usage, sums, sums / usage[:, None].clamp(min=1e-6)


def _update_agrees(args: tuple[Tensor, ...], out: tuple[Tensor, ...]) -> str:
    z, codebook, usage, sums = args
    index, quantised, new_usage, new_sums, _ = out
    if wrong := nearest_agrees((z, codebook), (index, quantised.detach(), (z - quantised).square().sum(1))):
        return wrong
    choice = torch.zeros(len(codebook), z.shape[1], dtype=torch.float64, device=z.device)
    choice.index_put_((index,), z.double(), accumulate=True)
    if not torch.allclose(new_sums.double(), 0.99 * sums.double() + 0.01 * choice, rtol=1e-4, atol=1e-4):
        return "a moving average of sums is wrong"
    counts = torch.bincount(index, minlength=len(codebook)).double()
    if not torch.allclose(new_usage.double(), 0.99 * usage.double() + 0.01 * counts, rtol=1e-4):
        return "a moving average of counts is wrong"
    return ""


def _update_case(name: str, n: int, d: int, codes: int) -> Case:
    def make(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        codebook = torch.randn(codes, d, device=device, dtype=dtype)
        usage = torch.full((codes,), n / codes, device=device, dtype=dtype)
        return torch.randn(n, d, device=device, dtype=dtype), codebook, usage, codebook * usage[:, None]

    floor = 4 * (2 * n * d + 4 * codes * d + 2 * codes) + 8 * n
    return Case(name=name, make=make, bytes=floor, flops=2 * n * codes * d + n * d)


no_kernel(
    "gentool_vqvae::lookup_update",
    reference=lookup_update,
    agree=_update_agrees,
    rivals={"one-hot": lookup_update_one_hot},
    note="index_add is near the floor: only the lookup has a kernel",
    cases=[
        _update_case("28x28, batch 128", 128 * 49, 64, 512),
        _update_case("32x32, batch 256", 256 * 64, 64, 512),
        _update_case("32x32, batch 1024", 1024 * 64, 64, 512),
    ],
)
