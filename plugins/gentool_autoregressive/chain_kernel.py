"""A whole run of nade, or of a made of one or two hidden layers, in one launch: the loop over pixels moves to the GPU.

A program draws one picture. Its hidden preactivations stay in registers; a pixel costs a row of V (its log-odds) and, where
it is 1, a row of W (what it adds); of two hidden layers also the rows of the second whose degree is reached. Weights come
from the second-level cache, which all programs share, and no program waits for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool.kernels import Case, Machine, jit, kernel

if TYPE_CHECKING:
    import triton.language as tl

    from .density import BinaryChain
    from .made import Made
    from .nade import Nade

MOST = 16384  # hidden units that a program's registers hold


class Packed(NamedTuple):
    """A net for n pictures as the launch reads it, positions in the order of drawing; masked weights are 0.

    start (n, H): the preactivations before the first pixel; w (D, H): what a pixel that is 1 adds to them; v (D, top) and
    bias (D,): the log-odds of a pixel from the top hidden layer. direct (D, D): from the pixels themselves, or None. Of a
    second hidden layer, its units sorted by degree: w_2 (H_2, H), start_2 (n, H_2), and ends (D + 1,) int32, how many
    units have a degree of at most d; or None. sigmoid: the nonlinearity, else ReLU.
    """

    start: Tensor
    w: Tensor
    v: Tensor
    bias: Tensor
    direct: Tensor | None
    start_2: Tensor | None
    w_2: Tensor | None
    ends: Tensor | None
    sigmoid: bool


def unfit(model: BinaryChain) -> str:
    """Why the launch cannot draw from a net, or ""."""
    if getattr(model.config, "layers", 1) > 2:
        return "it has more than two hidden layers"
    if model.config.hidden > MOST:
        return f"it has more than {MOST:,} hidden units a layer"
    return ""


@torch.no_grad()
def pack(model: BinaryChain, component: int, n: int, labels: Tensor | None) -> Packed:
    """The weights of a net of one component."""
    from .nade import Nade

    return _of_nade(model, n, labels) if isinstance(model, Nade) else _of_made(model, component, n, labels)  # type: ignore[arg-type]


def _of_nade(model: Nade, n: int, labels: Tensor | None) -> Packed:
    return Packed(model.start(n, labels).contiguous(), model.w, model.v, model.bias, None, None, None, None, True)


def _of_made(model: Made, component: int, n: int, labels: Tensor | None) -> Packed:
    order, _, degrees = model.components[component]
    *masks, out, direct = model.masks(component)
    device = model.out.weight.device
    order = order.to(device)
    layers: list[tuple[Tensor, Tensor]] = []
    for i, (layer, mask) in enumerate(zip(model.hidden, masks)):
        assert isinstance(layer, nn.Linear)
        bias = layer.bias.expand(n, -1)
        layers.append(
            (layer.weight * mask, bias if labels is None or not model.classes else bias + model.label[i](labels))
        )
    (w, start), v = layers[0], (model.out.weight * out)[order]
    start_2, w_2, ends = None, None, None
    if len(layers) == 2:
        rank = degrees[1].argsort(stable=True).to(device)
        w_2, start_2, v = layers[1][0][rank], layers[1][1][:, rank].contiguous(), v[:, rank]
        place = torch.arange(model.places + 1)
        ends = torch.searchsorted(degrees[1].sort().values, place, right=True).to(device, torch.int32)
    straight = None if model.direct is None else (model.direct * direct)[order][:, order].contiguous()
    return Packed(
        start.contiguous(), w[:, order].t().contiguous(), v.contiguous(), model.out.bias[order],
        straight, start_2, w_2, ends, False,
    )  # fmt: skip


# -- reference ----------------------------------------------------------------------------------------------------


def plain_chain(
    chances: Tensor,
    known: Tensor | None,
    start: Tensor,
    w: Tensor,
    v: Tensor,
    bias: Tensor,
    direct: Tensor | None,
    start_2: Tensor | None,
    w_2: Tensor | None,
    ends: Tensor | None,
    sigmoid: bool,
) -> Tensor:
    """chances (n, D): a pixel is 1 where its log-odds reach it; known (n, D) of 0, 1 and -1 (draw) -> x, int64 (n, D).

    All in the order of drawing; the rest as in `Packed`.
    """
    a, x = start.clone(), torch.zeros_like(chances)
    top = None if start_2 is None else torch.zeros_like(start_2)
    for d in range(chances.shape[1]):
        h = top if top is not None else a.sigmoid() if sigmoid else a.relu()
        logits = h @ v[d].to(a.dtype) + bias[d]
        if direct is not None:
            logits = logits + x @ direct[d].to(a.dtype)
        x[:, d] = torch.ge(logits, chances[:, d])
        if known is not None:
            x[:, d] = torch.where(known[:, d] >= 0, known[:, d].to(x.dtype), x[:, d])
        a = a + x[:, d, None] * w[d]
        if top is not None and start_2 is not None and w_2 is not None and ends is not None:
            units = slice(int(ends[d]), int(ends[d + 1]))
            top[:, units] = (start_2[:, units] + a.relu() @ w_2[units].to(a.dtype).t()).relu()
    return x.long()


# -- Triton -------------------------------------------------------------------------------------------------------


@jit
def _chain_kernel(  # type: ignore[no-untyped-def]
    chances_ptr, known_ptr, start_ptr, w_ptr, v_ptr, bias_ptr, direct_ptr, start_2_ptr, w_2_ptr, ends_ptr, x_ptr,
    places, hidden, top_size, wide,
    H: tl.constexpr, TOP: tl.constexpr, PLACES: tl.constexpr,
    SIGMOID: tl.constexpr, DIRECT: tl.constexpr, DEEP: tl.constexpr, KNOWN: tl.constexpr,
):  # fmt: skip
    """Program p draws picture p. Rows of w and w_2 have `hidden` numbers, of v `top_size`, of direct `wide`, all of them
    multiples of 16; H, TOP and PLACES are powers of two that are not smaller."""
    p = tl.program_id(0)
    unit, upper, place = tl.arange(0, H), tl.arange(0, TOP), tl.arange(0, PLACES)
    there, above, inside = unit < hidden, upper < top_size, place < wide
    a = tl.load(start_ptr + p * hidden + unit, mask=there, other=0.0).to(tl.float32)
    if DEEP:
        top = tl.zeros((TOP,), tl.float32)
    if DIRECT:
        xs = tl.zeros((PLACES,), tl.float32)
    for d in range(0, places):
        v = tl.load(v_ptr + d * top_size + upper, mask=above, other=0.0).to(tl.float32)
        if DEEP:
            logit = tl.sum(v * top, 0)
        elif SIGMOID:
            logit = tl.sum(v * tl.sigmoid(a), 0)
        else:
            logit = tl.sum(v * tl.maximum(a, 0.0), 0)
        logit += tl.load(bias_ptr + d).to(tl.float32)
        if DIRECT:
            row = tl.load(direct_ptr + d * wide + place, mask=inside, other=0.0).to(tl.float32)
            logit += tl.sum(row * xs, 0)
        value = (logit >= tl.load(chances_ptr + p * places + d)).to(tl.float32)
        if KNOWN:
            kept = tl.load(known_ptr + p * places + d).to(tl.float32)
            value = tl.where(kept >= 0, kept, value)
        tl.store(x_ptr + p * places + d, value.to(tl.int64))
        a += value * tl.load(w_ptr + d * hidden + unit, mask=there, other=0.0).to(tl.float32)
        if DIRECT:
            xs = tl.where(place == d, value, xs)
        if DEEP:
            below = tl.maximum(a, 0.0)
            for u in range(tl.load(ends_ptr + d), tl.load(ends_ptr + d + 1)):
                row_2 = tl.load(w_2_ptr + u * hidden + unit, mask=there, other=0.0).to(tl.float32)
                made = tl.sum(row_2 * below, 0) + tl.load(start_2_ptr + p * top_size + u).to(tl.float32)
                top = tl.where(upper == u, tl.maximum(made, 0.0), top)


# -- launch -------------------------------------------------------------------------------------------------------


def _power(n: int) -> int:
    return max(128, 1 << (n - 1).bit_length())


def chain_config(hidden: int, top: int, places: int) -> dict[str, int]:
    """The sizes of a program's vectors, and its warps: up to 32 numbers a thread, so that most sums need no barrier."""
    size = _power(hidden)
    return {"H": size, "TOP": _power(top), "PLACES": _power(places), "num_warps": max(1, size // 1024)}


def _chain_fake(chances: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(chances, dtype=torch.int64)


def _even(x: Tensor) -> Tensor:
    """Rows made a multiple of 16 numbers long by zeros, so that they are read 16 bytes at a time."""
    return F.pad(x, (0, -x.shape[-1] % 16)).contiguous()


def _chain_case(name: str, model: str, hidden: int, n: int, budget: tuple[float, float], **config: Any) -> Case:
    """A case: a fresh net of 28x28 with weights strong enough to be sure of some pixels."""

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
        from gentool import DataInfo

        from .configs import MadeConfig, NadeConfig
        from .made import Made
        from .nade import Nade

        info = DataInfo(image=(1, 28, 28), levels=2)
        net: Any = (
            Nade(NadeConfig(hidden=hidden), info)
            if model == "nade"
            else Made(MadeConfig(hidden=hidden, **config), info)
        )
        with torch.no_grad():
            for weight in net.parameters():
                weight.mul_(3)
        net = net.to(device)
        packed = pack(net, 0, n, None)
        parts: list[Any] = [p.to(dtype) if isinstance(p, Tensor) and p.is_floating_point() else p for p in packed]
        parts[0] = parts[0].float()
        if parts[5] is not None:
            parts[5] = parts[5].float()
        return torch.randn(n, 784, device=device), None, *parts

    layers = config.get("layers", 1)
    macs = 784 * hidden * 2 + (layers - 1) * hidden * hidden + (784 * 784 if config.get("direct") else 0)
    return Case(name=name, make=make, bytes=4 * macs, flops=2 * macs * n, instructions=budget, seconds=0.5)


def chain_agrees(args: tuple[Any, ...], out: Tensor) -> str:
    """ "" if the pictures are those of float64, but for few: a pixel near its threshold takes its picture's rest along."""
    double: list[Any] = [a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args]
    exact = plain_chain(*double)
    same = float((exact == out).all(1).float().mean())
    return "" if same > 0.8 else f"only {same:.0%} of the pictures are those of float64"


def _elements(chances: Tensor, known: Tensor | None, start: Tensor, *rest: Any) -> int:
    """The units that one pass of the innermost loop treats."""
    return _power(start.shape[1])


@kernel(
    "gentool_autoregressive::chain(Tensor chances, Tensor? known, Tensor start, Tensor w, Tensor v, Tensor bias, "
    "Tensor? direct, Tensor? start_2, Tensor? w_2, Tensor? ends, bool sigmoid) -> Tensor",
    reference=plain_chain,
    fake=_chain_fake,
    rivals={"eager": plain_chain},
    agree=chain_agrees,
    opt_in="unmeasured on a GPU: GENTOOL_KERNELS=triton takes it",
    note="a whole run of nade or made in one launch; not yet timed on a GPU",
    cases=[
        _chain_case("nade 500", "nade", 500, 16, (19.5, 21.5)),
        _chain_case("made 500-500, direct", "made", 500, 16, (7.5, 9.5), layers=2, direct=True),
        _chain_case("made 1100-1100, direct", "made", 1100, 16, (7.5, 9.5), layers=2, direct=True),
        _chain_case("made 8000", "made", 8000, 16, (7.5, 9.5), layers=1, direct=False),
    ],
    machine=Machine(kernel="_chain_kernel", elements=_elements),
)
def chain(
    chances: Tensor,
    known: Tensor | None,
    start: Tensor,
    w: Tensor,
    v: Tensor,
    bias: Tensor,
    direct: Tensor | None,
    start_2: Tensor | None,
    w_2: Tensor | None,
    ends: Tensor | None,
    sigmoid: bool,
) -> Tensor:
    """Launch: a program for every picture."""
    n, places = chances.shape
    start, w, v = _even(start), _even(w), _even(v)
    wide = places + -places % 16
    x = _chain_fake(chances)
    config = chain_config(w.shape[1], v.shape[1], wide)
    _chain_kernel[(n,)](
        chances.contiguous(), x if known is None else known.contiguous(), start, w, v, bias.contiguous(),
        w if direct is None else _even(direct), start if start_2 is None else _even(start_2),
        w if w_2 is None else _even(w_2), x if ends is None else ends, x,
        places, w.shape[1], v.shape[1], wide,
        SIGMOID=sigmoid, DIRECT=direct is not None, DEEP=w_2 is not None, KNOWN=known is not None, **config,
    )  # fmt: skip
    return x
