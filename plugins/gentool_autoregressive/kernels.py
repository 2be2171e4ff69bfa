"""A whole PixelCNN sampling run in one launch: thousands of small kernels become one.

The order is the wavefront's (wavefront.py): at step t the pixels (row r, column t - s r) of all rows are drawn together.
A program paints one picture, or a few: the pixels of a diagonal are the rows of its matrix products, the activations live
in its own part of a scratch tensor, and a barrier stands where a layer reads what another thread has just written. The
weights stay in the second-level cache. Of all programs, none waits for another.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool.kernels import Case, Machine, jit, kernel

from . import PixelCNNConfig, field
from . import chain_kernel as chain_kernel  # registers its op
from . import scan_kernel as scan_kernel  # and its ops
from .packing import Shape, flatten, pack, shape_of, unflatten, up
from .painter import Painter, chances_of
from .wavefront import Wavefront
from .weights import plain

if TYPE_CHECKING:
    import triton.language as tl

TILE = 16  # pixels a program treats at once: the rows of the smallest tensor-core product


# -- reference ----------------------------------------------------------------------------------------------------


def raster(
    chances: Tensor,
    flat: list[Tensor],
    shape: list[int],
    known: Tensor | None,
    labels: Tensor | None,
    temperature: float,
) -> Tensor:
    """chances and known (H, W, n, C), labels (n,) -> levels, int64 (n, C, H, W). Pixel after pixel, in plain torch.

    A row's vertical stack is run at once; then each pixel's horizontal one, on the row's activations so far.
    """
    weights = unflatten(flat, Shape(*shape))
    height, width, n, channels = chances.shape
    p, layers = weights.layers[0].out.shape[1], weights.layers
    painter = Painter(weights, chances, temperature, known)
    inputs = [channels * weights.values.shape[1]] + [p] * (len(layers) - 1)
    zeros = chances.new_zeros
    v = [zeros(n, height + la.reach, width + 2 * la.reach, f) for la, f in zip(layers, inputs)]
    h = [zeros(n, height, width + la.reach, f) for la, f in zip(layers, inputs)]
    for r in range(height):
        given = []
        for i, layer in enumerate(layers):
            windows = v[i][:, r : r + layer.rows].unfold(2, 2 * layer.reach + 1, 1)  # (n, rows, W, features, k)
            ab = windows.permute(0, 2, 1, 4, 3).flatten(2) @ layer.v + layer.v_bias
            if layer.v_own is not None:
                ab = ab + v[i][:, r + layer.reach, layer.reach : layer.reach + width] @ layer.v_own
            extra = zeros(1, 1, 4 * p)
            if weights.place is not None and layer.first:
                extra = extra + weights.place[r]
            if layer.label is not None and labels is not None:
                extra = extra + layer.label[labels][:, None]
            ab = ab + extra[..., : 2 * p]
            given.append(ab @ layer.v_to_h + layer.h_bias + extra[..., 2 * p :])
            if not layer.last:
                a, b = ab.chunk(2, -1)
                reach = layers[i + 1].reach
                v[i + 1][:, r + reach, reach : reach + width] = torch.tanh(a) * torch.sigmoid(b)
        for c in range(width):
            top = zeros(n, p)
            for i, layer in enumerate(layers):
                a, b = (given[i][:, c] + h[i][:, r, c : c + layer.taps].flatten(1) @ layer.h).chunk(2, -1)
                top = top + (torch.tanh(a) * torch.sigmoid(b)) @ layer.out[:-1] + layer.out[-1]
                if not layer.last:
                    h[i + 1][:, r, c + layers[i + 1].reach] = top
            levels, seen = painter.draw(top, chances[r, c], None if known is None else known[r, c])
            painter.grid[r, c] = levels
            v[0][:, r + layers[0].reach, c + layers[0].reach] = seen
            h[0][:, r, c + layers[0].reach] = seen
    return painter.grid.permute(2, 3, 0, 1).contiguous()


def plain_paint(
    chances: Tensor,
    flat: list[Tensor],
    shape: list[int],
    known: Tensor | None,
    labels: Tensor | None,
    temperature: float,
) -> Tensor:
    """`raster`, or the cached wavefront where the receptive field leaves a diagonal more than one pixel."""
    facts = Shape(*shape)
    if field.slope(facts.config()) >= chances.shape[1]:
        return raster(chances, flat, shape, known, labels, temperature)
    weights = unflatten(flat, facts)
    painter = Painter(weights, chances, temperature, known)
    config = dataclasses.replace(facts.config(), channels=weights.layers[0].out.shape[1])
    net: Any = SimpleNamespace(config=config, channels=chances.shape[3])
    for _ in Wavefront(net, weights, painter, labels).paint():
        pass
    return painter.grid.permute(2, 3, 0, 1).contiguous()


# -- Triton -------------------------------------------------------------------------------------------------------


@jit
def _gate(a, b):  # type: ignore[no-untyped-def]
    """tanh(a) sigmoid(b)"""
    return (2 * tl.sigmoid(2 * a) - 1) * tl.sigmoid(b)


@jit
def _high(x):  # type: ignore[no-untyped-def]
    """x cut to the 10-bit mantissa that tensor cores read of a float32; the rest, x - _high(x), is exact."""
    return (x.to(tl.int32, bitcast=True) & ~0x1FFF).to(tl.float32, bitcast=True)


@jit
def _dot(x, w, made):  # type: ignore[no-untyped-def]
    """made + x @ w with float32's accuracy, by three tf32 products, or two where w is bfloat16: such a number is a tf32
    one. Half the instructions of Triton's "tf32x3", which minds infinities."""
    x_high = _high(x)
    if w.dtype == tl.float32:
        w_high = _high(w)
        made = tl.dot(x_high, w - w_high, made, input_precision="tf32")
    else:
        w_high = w.to(tl.float32)
    made = tl.dot(x - x_high, w_high, made, input_precision="tf32")
    return tl.dot(x_high, w_high, made, input_precision="tf32")


@jit
def _diagonal(t, slot, here, S: tl.constexpr, H: tl.constexpr, W: tl.constexpr):  # type: ignore[no-untyped-def]
    """The pixels (r, t - S r) of a diagonal, one a slot, and whether there is one."""
    r = tl.maximum(t - (W - 1) + S - 1, 0) // S + slot
    c = t - S * r
    return r, c, here & (r < H) & (c >= 0)


@jit
def _window(  # type: ignore[no-untyped-def]
    a, b, x_ptr, start, active, w_ptr, row_stride,
    K: tl.constexpr, ROW: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """(a, b) + window @ w: K numbers of x for each pixel, in rows of ROW, from `start`; w is (K up to a whole BLOCK, 2P).

    EVEN: a block lies in one row, and on a 16-byte boundary.
    """
    k, n = tl.arange(0, BLOCK), tl.arange(0, P)
    for j in tl.range(0, K, BLOCK, num_stages=3):
        if EVEN:
            u = j // ROW
            place = tl.multiple_of(u * (row_stride - ROW) + j, 16) + k
            x = tl.load(x_ptr + tl.multiple_of(start, 16)[:, None] + place[None, :], mask=active[:, None], other=0.0)
        else:
            kk = j + k
            place = kk // ROW * (row_stride - ROW) + kk
            x = tl.load(x_ptr + start[:, None] + place[None, :], mask=active[:, None] & (kk < K)[None, :], other=0.0)
        w = w_ptr + (j + k)[:, None] * (2 * P) + n[None, :]
        a = _dot(x, tl.load(w), a)
        b = _dot(x, tl.load(w + P), b)
    return a, b


@jit
def _product(  # type: ignore[no-untyped-def]
    made, x_ptr, start, w_ptr, K: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """made + x @ w, for K numbers of x from `start` for each pixel, and w (K, N)."""
    k, n = tl.arange(0, BLOCK), tl.arange(0, N)
    for j in tl.range(0, K, BLOCK, num_stages=3):
        x = tl.load(x_ptr + tl.multiple_of(start, 16)[:, None] + (j + k)[None, :])
        w = tl.load(w_ptr + (j + k)[:, None] * N + n[None, :])
        made = _dot(x, w, made)
    return made


@jit
def _bias(  # type: ignore[no-untyped-def]
    bias_ptr, label_ptr, place_ptr, i, part, who, where, active,
    P: tl.constexpr, CLASSES: tl.constexpr, PLACE: tl.constexpr,
):  # fmt: skip
    """(TILE, P): a layer's bias, with those of label and place. part: 0 and 1 the vertical gates, 2 and 3 the horizontal."""
    n = tl.arange(0, P)
    made = tl.load(bias_ptr + (i * 4 + part) * P + n)[None, :] + tl.zeros((who.shape[0], P), tl.float32)
    if CLASSES:
        made += tl.load(label_ptr + ((i * CLASSES + who) * 4 + part)[:, None] * P + n[None, :])
    if PLACE:
        made += tl.load(place_ptr + (where * 4 + part)[:, None] * P + n[None, :], mask=active[:, None], other=0.0)
    return made


@jit
def _keep(ptr, start, active, x, P: tl.constexpr):  # type: ignore[no-untyped-def]
    """Store x (TILE, P) at `start` of each pixel."""
    tl.store(ptr + start[:, None] + tl.arange(0, P)[None, :], x, mask=active[:, None])


@jit
def _fetch(ptr, start, active, P: tl.constexpr):  # type: ignore[no-untyped-def]
    """What `_keep` stored."""
    return tl.load(ptr + start[:, None] + tl.arange(0, P)[None, :], mask=active[:, None], other=0.0)


@jit
def _paint_kernel(  # type: ignore[no-untyped-def]
    chances_ptr, known_ptr, labels_ptr, grid_ptr, x_ptr, v_ptr, h_ptr, ahead_ptr, desk_ptr,
    first_v_ptr, first_h_ptr, w_v_ptr, w_own_ptr, w_h_ptr, w_give_ptr, w_out_ptr, bias_ptr, out_bias_ptr,
    label_ptr, place_ptr, w_hidden_ptr, hidden_bias_ptr, table_ptr, w_logits_ptr, logits_bias_ptr, values_ptr,
    n, each, temperature,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, E: tl.constexpr, E2: tl.constexpr, P: tl.constexpr,
    Q: tl.constexpr, LEVELS: tl.constexpr, K: tl.constexpr, LAYERS: tl.constexpr, CLASSES: tl.constexpr,
    S: tl.constexpr, FIRST: tl.constexpr, REACH: tl.constexpr, CONE: tl.constexpr, SLOTS: tl.constexpr,
    KNOWN: tl.constexpr, PLACE: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Program i paints pictures i * each ... of n, each on SLOTS rows of its tile.

    What one thread stores and another loads has a barrier between. In a layer: after the vertical window (v and `desk_ab`
    are there), before ga and gb come back from where they ran ahead, and after the gate (`desk_y`). The next layer reads v
    at once and h after its own first barrier. Each desk is written again only after the barrier that follows its readers.
    """
    M: tl.constexpr = FIRST if FIRST > REACH else REACH  # margin of the planes
    WIDE: tl.constexpr = W + 2 * M
    CELLS: tl.constexpr = (H + M) * WIDE
    IN: tl.constexpr = C * E  # features of the input
    LAG: tl.constexpr = 0 if CONE else REACH  # columns that a layer's vertical stack is ahead of the layer above
    V_ROWS: tl.constexpr = REACH if CONE else REACH + 1
    V_ROW: tl.constexpr = (2 * REACH + 1) * P
    tile = tl.arange(0, TILE)
    slot = tile % SLOTS
    image = tl.program_id(0) * each + tile // SLOTS
    here = (tile // SLOTS < each) & (image < n)
    image = tl.where(here, image, 0)
    who = image
    if CLASSES:
        who = tl.load(labels_ptr + image).to(tl.int32)
    x_image = image * (CELLS * IN)
    plane = image * ((LAYERS - 1) * CELLS * P)
    features = tl.arange(0, E2)
    desk = (tl.program_id(0) * TILE + tile) * (4 * P + Q)  # of each pixel: ab (2P), y (P), context (P), hidden (Q)
    desk_ab, desk_y, desk_context, desk_u = desk, desk + 2 * P, desk + 3 * P, desk + 4 * P
    always = tile >= 0
    steps = W + S * (H - 1) + LAG * (LAYERS - 1)
    for step in range(0, steps):
        t = step - LAG * (LAYERS - 1)

        # the first layer: the vertical stack on its own diagonal, ahead of the pixels
        r, c, active = _diagonal(step, slot, here, S, H, W)
        a = _bias(bias_ptr, label_ptr, place_ptr, 0, 0, who, r * W + c, active, P, CLASSES, PLACE)
        b = _bias(bias_ptr, label_ptr, place_ptr, 0, 1, who, r * W + c, active, P, CLASSES, PLACE)
        start = x_image + ((r + M - FIRST) * WIDE + c + M - FIRST) * IN
        a, b = _window(a, b, x_ptr, start, active, first_v_ptr, WIDE * IN,
                       FIRST * (2 * FIRST + 1) * IN, (2 * FIRST + 1) * IN, P, BLOCK, False)  # fmt: skip
        ga = _bias(bias_ptr, label_ptr, place_ptr, 0, 2, who, r * W + c, active, P, CLASSES, PLACE)
        gb = _bias(bias_ptr, label_ptr, place_ptr, 0, 3, who, r * W + c, active, P, CLASSES, PLACE)
        if LAYERS > 1:
            _keep(v_ptr, plane + ((r + M) * WIDE + c + M) * P, active, _gate(a, b), P)
        _keep(desk_ptr, desk_ab, always, a, P)
        _keep(desk_ptr, desk_ab + P, always, b, P)
        tl.debug_barrier()
        ga, gb = _window(ga, gb, desk_ptr, desk_ab, always, w_give_ptr, 2 * P, 2 * P, 2 * P, P, BLOCK, True)
        if LAG > 0:
            given = (((image * LAYERS) * H + r) * W + c) * (2 * P)
            _keep(ahead_ptr, given, active, ga, P)
            _keep(ahead_ptr, given + P, active, gb, P)
            tl.debug_barrier()
            r, c, active = _diagonal(t, slot, here, S, H, W)
            given = (((image * LAYERS) * H + r) * W + c) * (2 * P)
            ga, gb = _fetch(ahead_ptr, given, active, P), _fetch(ahead_ptr, given + P, active, P)
        own = (r + M) * WIDE + c + M  # the cell of each pixel
        a, b = _window(ga, gb, x_ptr, x_image + (own - FIRST) * IN, active, first_h_ptr, FIRST * IN,
                       FIRST * IN, FIRST * IN, P, BLOCK, False)  # fmt: skip
        _keep(desk_ptr, desk_y, always, _gate(a, b), P)
        tl.debug_barrier()
        h = tl.load(out_bias_ptr + tl.arange(0, P))[None, :] + tl.zeros((TILE, P), tl.float32)
        h = _product(h, desk_ptr, desk_y, w_out_ptr, P, P, BLOCK)
        if LAYERS > 1:
            _keep(h_ptr, plane + own * P, active, h, P)

        for i in range(1, LAYERS):
            layer = plane + (i - 1) * (CELLS * P)
            r_v, c_v, active_v = _diagonal(t + LAG * (LAYERS - 1 - i), slot, here, S, H, W)
            own_v = (r_v + M) * WIDE + c_v + M
            a = _bias(bias_ptr, label_ptr, place_ptr, i, 0, who, own_v, active_v, P, CLASSES, False)
            b = _bias(bias_ptr, label_ptr, place_ptr, i, 1, who, own_v, active_v, P, CLASSES, False)
            start = layer + (own_v - REACH * WIDE - REACH) * P
            a, b = _window(a, b, v_ptr, start, active_v, w_v_ptr + (i - 1) * (V_ROWS * V_ROW * 2 * P), WIDE * P,
                           V_ROWS * V_ROW, V_ROW, P, BLOCK, True)  # fmt: skip
            if CONE:
                a, b = _window(a, b, v_ptr, layer + own_v * P, active_v, w_own_ptr + (i - 1) * (2 * P * P), P,
                               P, P, P, BLOCK, True)  # fmt: skip
            ga = _bias(bias_ptr, label_ptr, place_ptr, i, 2, who, own_v, active_v, P, CLASSES, False)
            gb = _bias(bias_ptr, label_ptr, place_ptr, i, 3, who, own_v, active_v, P, CLASSES, False)
            _keep(v_ptr, layer + (CELLS + own_v) * P, active_v & (i < LAYERS - 1), _gate(a, b), P)
            _keep(desk_ptr, desk_ab, always, a, P)
            _keep(desk_ptr, desk_ab + P, always, b, P)
            tl.debug_barrier()
            ga, gb = _window(ga, gb, desk_ptr, desk_ab, always, w_give_ptr + i * (4 * P * P), 2 * P,
                             2 * P, 2 * P, P, BLOCK, True)  # fmt: skip
            if LAG > 0:
                given = (((image * LAYERS + i) * H + r_v) * W + c_v) * (2 * P)
                _keep(ahead_ptr, given, active_v, ga, P)
                _keep(ahead_ptr, given + P, active_v, gb, P)
                tl.debug_barrier()
                given = (((image * LAYERS + i) * H + r) * W + c) * (2 * P)
                ga, gb = _fetch(ahead_ptr, given, active, P), _fetch(ahead_ptr, given + P, active, P)
            taps: tl.constexpr = (REACH + 1) * P
            a, b = _window(ga, gb, h_ptr, layer + (own - REACH) * P, active, w_h_ptr + (i - 1) * (taps * 2 * P), taps,
                           taps, taps, P, BLOCK, True)  # fmt: skip
            _keep(desk_ptr, desk_y, always, _gate(a, b), P)
            tl.debug_barrier()
            h += tl.load(out_bias_ptr + i * P + tl.arange(0, P))[None, :]
            h = _product(h, desk_ptr, desk_y, w_out_ptr + i * (P * P), P, P, BLOCK)
            _keep(h_ptr, layer + (CELLS + own) * P, active & (i < LAYERS - 1), h, P)

        # the head: each channel given those before it
        _keep(desk_ptr, desk_context, always, tl.maximum(h, 0.0), P)
        tl.debug_barrier()
        q = tl.arange(0, Q)
        k = tl.arange(0, K)
        for channel in tl.static_range(0, C):
            u = tl.load(hidden_bias_ptr + channel * Q + q)[None, :] + tl.zeros((TILE, Q), tl.float32)
            u = _product(u, desk_ptr, desk_context, w_hidden_ptr + channel * (P * Q), P, Q, BLOCK)
            for lower in tl.static_range(0, channel):
                drawn = tl.load(grid_ptr + ((image * C + lower) * H + r) * W + c, mask=active, other=0).to(tl.int32)
                u += tl.load(table_ptr + ((channel * C + lower) * LEVELS + drawn)[:, None] * Q + q[None, :])
            u = tl.maximum(u, 0.0)
            chance = tl.load(chances_ptr + ((r * W + c) * n + image) * C + channel, mask=active, other=0.0)
            if LEVELS == 2:
                w = tl.load(w_logits_ptr + (channel * Q + q) * K).to(tl.float32)
                odds = tl.sum(u * w[None, :], 1) + tl.load(logits_bias_ptr + channel * K)
                level = (odds >= chance).to(tl.int32)
            else:
                _keep(desk_ptr, desk_u, always, u, Q)
                tl.debug_barrier()
                logits = tl.load(logits_bias_ptr + channel * K + k)[None, :] + tl.zeros((TILE, K), tl.float32)
                logits = _product(logits, desk_ptr, desk_u, w_logits_ptr + channel * (Q * K), Q, K, 16)
                logits = logits / temperature
                cumulative = tl.cumsum(tl.exp(logits - tl.max(logits, 1)[:, None]), 1)
                below = (cumulative <= (chance * tl.max(cumulative, 1))[:, None]) & (k < LEVELS)[None, :]
                level = tl.minimum(tl.sum(below.to(tl.int32), 1), LEVELS - 1)
            pixel = ((image * C + channel) * H + r) * W + c
            if KNOWN:
                given_level = tl.load(known_ptr + ((r * W + c) * n + image) * C + channel, mask=active, other=-1)
                level = tl.where(given_level >= 0, given_level.to(tl.int32), level)
            tl.store(grid_ptr + pixel, level.to(tl.int64), mask=active)
            seen = tl.load(values_ptr + level[:, None] * E + features[None, :], mask=(features < E)[None, :], other=0.0)
            place = x_image + own * IN + channel * E
            tl.store(x_ptr + place[:, None] + features[None, :], seen, mask=active[:, None] & (features < E)[None, :])
            if C > 1:
                tl.debug_barrier()  # the next channel reads what was drawn, and writes over the hidden units
        tl.debug_barrier()


# -- launch -------------------------------------------------------------------------------------------------------


def paint_config(shape: Shape, p: int, width: int, tight: bool = False) -> dict[str, int]:
    """The sizes that the launch fixes at compile time, for a net of p features on pictures of this width.

    tight: bfloat16 weights, whose conversion takes registers, and more than two levels, which do too: in longer blocks
    a wide net would spill.
    """
    slope = field.slope(shape.config())
    diagonal = min(width, -(-width // slope))
    return {
        "P": up(p),
        "S": slope,
        "SLOTS": 1 << (diagonal - 1).bit_length(),
        "BLOCK": 16 if up(p) == 16 or (tight and up(p) >= 64) else 32,
        "TILE": TILE,
        "num_warps": 8 if up(p) >= 64 else 4,
    }


def unfit(shape: Shape, p: int, channels: int, planes: int, width: int) -> str:
    """Why the launch cannot paint with this net, or ""."""
    if paint_config(shape, p, width)["SLOTS"] > TILE:
        return f"a diagonal has more than {TILE} pixels"
    if up(p) > 128:
        return "it has more than 128 features"
    if channels * planes > 512:
        return "its input has more than 512 features"
    return ""


def _paint_fake(chances: Tensor, *_: Any) -> Tensor:
    h, w, n, c = chances.shape
    return chances.new_empty((n, c, h, w), dtype=torch.int64)


def _paint_case(
    name: str, size: tuple[int, int, int], levels: int, n: int, budget: float, *, embed: int = 0, **config: Any
) -> Case:
    """A case: random weights of the scale of a trained net's."""

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
        from gentool import DataInfo

        from .model import PixelCNN

        made = PixelCNNConfig(input="embedding" if embed else "scalar", embed=embed or 1, **config)
        model = PixelCNN(made, DataInfo(image=size, levels=levels)).to(device, dtype)
        uniform = torch.rand(n, size[0], *size[1:], device=device)
        chances = chances_of(uniform, levels, 1.0, dtype)
        return chances, flatten(plain(model)), shape_of(made), None, None, 1.0

    p, layers, reach = config["channels"], config["layers"], config.get("kernel", 3) // 2
    rows = reach + (config.get("field", "full") == "full")
    macs = layers * (rows * (2 * reach + 1) * p * 2 * p + 4 * p * p + (reach + 1) * p * 2 * p + p * p)
    return Case(
        name=name,
        make=make,
        bytes=4 * macs,
        flops=2 * macs * size[1] * size[2] * n,
        instructions=(budget, 15.0),
        seconds=1.0,
    )


def paint_agrees(args: tuple[Any, ...], out: Tensor) -> str:
    """ "" if the pictures are those of the cached wavefront in float64.

    One pixel in ten thousand may fall on the other side of its threshold, and takes its picture's rest along: so whole
    pictures are counted.
    """
    chances, flat, shape, known, labels, temperature = args
    exact = raster(chances.double(), [w.double() for w in flat], shape, known, labels, temperature)
    same = float((exact == out).flatten(1).all(1).float().mean())
    return "" if same > 0.8 else f"only {same:.0%} of the pictures are those of float64"


@kernel(
    "gentool_autoregressive::paint"
    "(Tensor chances, Tensor[] weights, int[] shape, Tensor? known, Tensor? labels, float temperature) -> Tensor",
    reference=plain_paint,
    fake=_paint_fake,
    rivals={"raster": raster},
    agree=paint_agrees,
    opt_in="unmeasured on a GPU: GENTOOL_KERNELS=triton takes it",
    note="a whole sampling run in one launch; not yet timed on a GPU",
    cases=[
        _paint_case("odd sizes", (2, 9, 11), 5, 3, 9.0, channels=20, layers=3, hidden=24, first_kernel=5),
        _paint_case("digits", (1, 8, 8), 2, 16, 9.0, channels=32, layers=8),
        _paint_case("mnist", (1, 28, 28), 2, 16, 9.0, channels=64, layers=12, field="cone"),
        _paint_case("cifar10", (3, 32, 32), 256, 16, 9.0, channels=128, layers=12, field="cone"),
        _paint_case("codes", (1, 7, 7), 512, 16, 9.0, channels=64, layers=8, hidden=128, embed=32),
    ],
    machine=Machine(kernel="_paint_kernel", tensor_cores=True),
)
def paint(
    chances: Tensor,
    flat: list[Tensor],
    shape: list[int],
    known: Tensor | None,
    labels: Tensor | None,
    temperature: float,
) -> Tensor:
    """Launch: as many programs as there are pictures, or as few as fill the GPU."""
    facts = Shape(*shape)
    weights = unflatten(flat, facts)
    (height, width, n, channels), p = chances.shape, weights.layers[0].out.shape[1]
    planes = weights.values.shape[1]
    tight = weights.layers[0].out.dtype == torch.bfloat16 and len(weights.values) > 2
    config = paint_config(facts, p, width, tight)
    packed = pack(weights, p, config["BLOCK"])
    wide, q = config["P"], packed["w_hidden"].shape[-1]
    processors = torch.cuda.get_device_properties(chances.device).multi_processor_count if chances.is_cuda else 1
    each = min(TILE // config["SLOTS"], -(-n // processors))
    programs = -(-n // each)

    first, reach = facts.first_kernel // 2, facts.kernel // 2
    margin = max(first, reach)
    cells = (height + margin) * (width + 2 * margin)
    room: dict[str, Any] = {"dtype": torch.float32, "device": chances.device}
    x = torch.zeros(n * cells * channels * planes, **room)
    v, h = (torch.zeros(max(1, n * (facts.layers - 1) * cells * wide), **room) for _ in range(2))
    ahead = torch.empty(1 if facts.cone else n * facts.layers * height * width * 2 * wide, **room)
    desk = torch.empty(programs * TILE * (4 * wide + q), **room)
    grid = _paint_fake(chances)
    conditional = labels is not None and weights.layers[0].label is not None
    _paint_kernel[(programs,)](
        chances.contiguous(), grid if known is None else known.contiguous(), labels if conditional else grid, grid,
        x, v, h, ahead, desk, *packed.values(), n, each, temperature,
        H=height, W=width, C=channels, E=planes, E2=1 << (planes - 1).bit_length(), Q=q,
        LEVELS=len(weights.values), K=packed["w_logits"].shape[-1], LAYERS=facts.layers,
        CLASSES=packed["label"].shape[1] if conditional else 0, FIRST=first, REACH=reach, CONE=bool(facts.cone),
        KNOWN=known is not None, PLACE=weights.place is not None, **config,
    )  # fmt: skip
    return grid
