"""Drawing a whole run of tokens from stacked LSTMs or GRUs in one launch: dozens of small kernels a token become none.

A program draws 16 texts: the rows of its matrix products. States live in a scratch tensor that only it reads, in two halves
that take turns, and a barrier stands where a layer reads what another thread has just written. The weights are read anew
for every token and stay in the second-level cache: a net of two layers of 256 has 3 MB, so that a token takes at least
about 30 microseconds of one processor's bandwidth, and 2,000 texts on a large GPU take no longer than one.

Training has no kernel here: a recurrent training step is matrix products to nine tenths (on one CPU core the functions of
sequence.py take 0.9 to 1.2 of the time of oneDNN's LSTM and 0.7 of torch's GRU), and on a GPU cuDNN's is one launch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gentool.kernels import Case, Machine, jit, kernel

from .recurrent import Recurrent

if TYPE_CHECKING:
    import triton.language as tl

    from .language import CharLM

BUDGET = (6.6, 9.5)  # machine instructions for each of the tensor cores': float32, bfloat16
TILE = 16  # texts of a program: the rows of the smallest tensor-core product
BELOW_ONE = 1 - 2**-22  # so that a uniform number times the total is below it in float32, too


class Packed(NamedTuple):
    """A net as the launch reads it. Four groups of H columns: i, f, g, o of an LSTM; r, z and the two products within n
    (the input's, the state's) of a GRU, of which the input has no fourth and the state no third.

    table (V, 4H): the first layer's input for each token; bias (layers, 4H): the others'; hidden (layers, H, 4H) and
    input (layers, H, 4H, the first of zeros); head (H, V) and its bias.
    """

    table: Tensor
    bias: Tensor
    hidden: Tensor
    input: Tensor
    head: Tensor
    head_bias: Tensor


def pack(model: CharLM) -> Packed:
    """The weights of a charlm whose cell is lstm or gru."""
    net = model.backbone
    assert isinstance(net, Recurrent)
    size, gru = net.width, model.config.cell == "gru"

    def from_input(x: Tensor) -> Tensor:  # (..., G) -> (..., 4H)
        return F.pad(x, (0, size)) if gru else x

    def from_state(x: Tensor) -> Tensor:
        return torch.cat([F.pad(x[..., : 2 * size], (0, size)), x[..., 2 * size :]], -1) if gru else x

    weights = [net.weights(layer) for layer in range(net.layers)]
    biases = torch.stack([from_input(w.input_bias) + from_state(w.hidden_bias) for w in weights])
    first = weights[0].input
    return Packed(
        from_input(model.input.folded(first, torch.zeros_like(first[:, 0]))) + biases[0],
        biases,
        torch.stack([from_state(w.hidden.t()) for w in weights]).contiguous(),
        torch.stack([torch.zeros_like(biases[0]).expand(size, -1), *[from_input(w.input.t()) for w in weights[1:]]]),
        model.head.weight.t().contiguous(),
        model.head.bias,
    )


# -- reference ----------------------------------------------------------------------------------------------------


def plain_decode(
    first: Tensor, h: Tensor, c: Tensor, uniform: Tensor, packed: list[Tensor], gru: bool, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """first: the tokens (N,) that are read first; h and c (layers, N, H): the state before them (c of a GRU is not read);
    uniform (T, N) -> the T tokens drawn after them, int64 (T, N), and the state before the last of these is read."""
    net = Packed(*(part.to(h.dtype) for part in packed))
    h, c = h.clone(), c.clone()
    token, drawn = first, []
    for u in uniform:
        for layer in range(len(h)):
            a = net.table[token] if layer == 0 else net.bias[layer] + h[layer - 1] @ net.input[layer]
            if gru:
                x_n = a[:, 2 * h.shape[2] : 3 * h.shape[2]]
                r, z, _, h_n = (a + h[layer] @ net.hidden[layer]).chunk(4, 1)
                n = torch.tanh(x_n + torch.sigmoid(r) * h_n)
                h[layer] = torch.lerp(n, h[layer], torch.sigmoid(z))
            else:
                i, f, g, o = (a + h[layer] @ net.hidden[layer]).chunk(4, 1)
                c[layer] = torch.sigmoid(f) * c[layer] + torch.sigmoid(i) * torch.tanh(g)
                h[layer] = torch.sigmoid(o) * torch.tanh(c[layer])
        weights = torch.softmax((net.head_bias + h[-1] @ net.head) / temperature, 1).cumsum(1)
        token = (weights <= BELOW_ONE * u[:, None] * weights[:, -1:]).sum(1)
        drawn.append(token)
    return torch.stack(drawn), h, c


# -- Triton -------------------------------------------------------------------------------------------------------


@jit
def _high(x):  # type: ignore[no-untyped-def]
    """x cut to the 10-bit mantissa that tensor cores read of a float32; the rest, x - _high(x), is exact."""
    return (x.to(tl.int32, bitcast=True) & ~0x1FFF).to(tl.float32, bitcast=True)


@jit
def _dot(x, x_high, w, made):  # type: ignore[no-untyped-def]
    """made + x @ w with float32's accuracy: three tf32 products, or two where w is bfloat16 and so a tf32 number."""
    if w.dtype == tl.float32:
        w_high = _high(w)
        made = tl.dot(x_high, w - w_high, made, input_precision="tf32")
    else:
        w_high = w.to(tl.float32)
    made = tl.dot(x - x_high, w_high, made, input_precision="tf32")
    return tl.dot(x_high, w_high, made, input_precision="tf32")


@jit
def _products(  # type: ignore[no-untyped-def]
    a, b, c, d, x_ptr, rows, w_ptr, cols, H: tl.constexpr, BLOCK: tl.constexpr, THIRD: tl.constexpr, FOURTH: tl.constexpr
):  # fmt: skip
    """(a, b, c, d) + x @ w for the columns `cols` of each of w's four groups (without the third or the fourth of a GRU)."""
    k = tl.arange(0, BLOCK)
    for j in tl.range(0, H, BLOCK, num_stages=4):
        x = tl.load(x_ptr + (rows * H)[:, None] + (j + k)[None, :])
        x_high = _high(x)
        w = w_ptr + ((j + k) * (4 * H))[:, None] + cols[None, :]
        a = _dot(x, x_high, tl.load(w), a)
        b = _dot(x, x_high, tl.load(w + H), b)
        if THIRD:
            c = _dot(x, x_high, tl.load(w + 2 * H), c)
        if FOURTH:
            d = _dot(x, x_high, tl.load(w + 3 * H), d)
    return a, b, c, d


@jit
def _tanh(x):  # type: ignore[no-untyped-def]
    return 2 * tl.sigmoid(2 * x) - 1


@jit
def _decode_kernel(  # type: ignore[no-untyped-def]
    first_ptr, uniform_ptr, table_ptr, bias_ptr, hidden_ptr, input_ptr, head_ptr, head_bias_ptr, h_ptr, c_ptr, drawn_ptr,
    n, wide, steps, temperature,
    GRU: tl.constexpr, LAYERS: tl.constexpr, H: tl.constexpr, V: tl.constexpr, VOCABULARY: tl.constexpr,
    COLS: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr, SHARE: tl.constexpr,
):  # fmt: skip
    """Program p draws texts p TILE ... of n. h_ptr (2, layers, wide, H): this step's states and those before, in turns.

    Every row of the tile is computed: those beyond n are scratch, of which there are `wide` rows, a multiple of TILE.
    """
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)
    here = row < n
    token = tl.load(first_ptr + row, mask=here, other=0).to(tl.int32)
    half = LAYERS * wide * H
    for t in range(0, steps):
        before, after = (t % 2) * half, (1 - t % 2) * half
        for layer in tl.static_range(0, LAYERS):
            rows = layer * wide + row
            for j in range(0, H, COLS):
                cols = j + tl.arange(0, COLS)
                if layer == 0:
                    start = table_ptr + (token * (4 * H))[:, None] + cols[None, :]
                else:
                    start = bias_ptr + layer * (4 * H) + cols[None, :] + (0 * row)[:, None]
                a = tl.load(start).to(tl.float32)
                b = tl.load(start + H).to(tl.float32)
                c = tl.load(start + 2 * H).to(tl.float32)
                d = tl.load(start + 3 * H).to(tl.float32)
                if layer > 0:
                    a, b, c, d = _products(a, b, c, d, h_ptr + after, rows - wide, input_ptr + layer * (4 * H * H), cols,
                                           H, BLOCK, True, not GRU)  # fmt: skip
                a, b, c, d = _products(a, b, c, d, h_ptr + before, rows, hidden_ptr + layer * (4 * H * H), cols,
                                       H, BLOCK, not GRU, True)  # fmt: skip
                place = (rows * H)[:, None] + cols[None, :]
                if GRU:
                    made = _tanh(c + tl.sigmoid(a) * d)
                    made += tl.sigmoid(b) * (tl.load(h_ptr + before + place) - made)
                else:
                    cell = tl.sigmoid(b) * tl.load(c_ptr + place) + tl.sigmoid(a) * _tanh(c)
                    tl.store(c_ptr + place, cell)
                    made = tl.sigmoid(d) * _tanh(cell)
                tl.store(h_ptr + after + place, made)
            tl.debug_barrier()
        v = tl.arange(0, V)
        k = tl.arange(0, BLOCK)
        logits = tl.load(head_bias_ptr + v, mask=v < VOCABULARY, other=float("-inf")).to(tl.float32)[None, :]
        logits += tl.zeros((TILE, V), tl.float32)
        for j in tl.range(0, H, BLOCK, num_stages=4):
            x = tl.load(h_ptr + after + (((LAYERS - 1) * wide + row) * H)[:, None] + (j + k)[None, :])
            w = tl.load(head_ptr + ((j + k) * V)[:, None] + v[None, :])
            logits = _dot(x, _high(x), w, logits)
        logits = logits / temperature
        cumulative = tl.cumsum(tl.exp(logits - tl.max(logits, 1)[:, None]), 1)
        u = tl.load(uniform_ptr + t * n + row, mask=here, other=0.0)
        below = (cumulative <= (SHARE * u * tl.max(cumulative, 1))[:, None]) & (v < VOCABULARY)[None, :]
        token = tl.minimum(tl.sum(below.to(tl.int32), 1), VOCABULARY - 1)
        tl.store(drawn_ptr + t * n + row, token.to(tl.int64), mask=here)


# -- launch -------------------------------------------------------------------------------------------------------


def unfit(hidden: int, vocabulary: int) -> str:
    """Why the launch cannot draw from a net of this size, or ""."""
    if hidden % 16 or hidden > 1024:
        return f"{hidden} features are no multiple of 16 up to 1024"
    if vocabulary > 512:
        return f"a vocabulary of {vocabulary} is above 512"
    return ""


def decode_config(hidden: int, vocabulary: int) -> dict[str, int]:
    """The block sizes for a net of H features and V tokens."""
    block = 32 if hidden % 32 == 0 else 16
    return {"COLS": block, "BLOCK": block, "V": max(16, 1 << (vocabulary - 1).bit_length()), "num_warps": 4}


def _decode_fake(
    first: Tensor, h: Tensor, c: Tensor, uniform: Tensor, packed: list[Tensor], gru: bool, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    return uniform.new_empty(uniform.shape, dtype=torch.int64), torch.empty_like(h), torch.empty_like(c)


def _decode_case(name: str, cell: str, hidden: int, layers: int, n: int, steps: int) -> Case:
    """A case: a fresh net with a head strong enough that its distribution has peaks."""

    def make(device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
        from gentool import DataInfo
        from gentool.data.tokens import Characters

        from .configs import CharLMConfig
        from .language import CharLM

        info = DataInfo(name=name, vocabularies={"text": Characters("".join(map(chr, range(32, 97)))).to_json()})
        model = CharLM(CharLMConfig(cell=cell, hidden=hidden, layers=layers), info)  # type: ignore[arg-type]
        with torch.no_grad():
            model.head.weight.normal_(0, 4 / hidden**0.5)
            packed = [part.to(device, dtype).contiguous() for part in pack(model)]
        state = [torch.randn(layers, n, hidden, device=device) * 0.5 for _ in range(2)]
        first = torch.randint(65, (n,), device=device)
        return first, *state, torch.rand(steps, n, device=device), packed, cell == "gru", 1.0

    products = 8 if cell == "lstm" else 6
    macs = products // 2 * hidden * hidden * (2 * layers - 1) + 65 * hidden
    return Case(name=name, make=make, bytes=4 * macs, flops=2 * macs * n * steps, instructions=BUDGET, seconds=0.5)


def decode_agrees(args: tuple[Any, ...], out: tuple[Tensor, Tensor, Tensor]) -> str:
    """ "" if the texts are those of float64: a token in ten thousand may fall on the other side of its threshold, and takes
    its text's rest along, so whole texts are counted."""
    first, h, c, uniform, packed, gru, temperature = args
    exact, *_ = plain_decode(
        first, h.double(), c.double(), uniform.double(), [p.double() for p in packed], gru, temperature
    )
    same = float((exact == out[0]).all(0).double().mean())
    return "" if same > 0.8 else f"only {same:.0%} of the texts are those of float64"


@kernel(
    "gentool_rnn::decode(Tensor first, Tensor h, Tensor c, Tensor uniform, Tensor[] packed, bool gru, float temperature)"
    " -> (Tensor, Tensor, Tensor)",
    reference=plain_decode,
    fake=_decode_fake,
    rivals={"eager": plain_decode},
    agree=decode_agrees,
    opt_in="unmeasured on a GPU: GENTOOL_KERNELS=triton takes it",
    note="a whole run of LSTM or GRU steps in one launch; not yet timed on a GPU",
    cases=[
        _decode_case("odd sizes", "gru", 48, 3, 21, 7),
        _decode_case("lstm 128", "lstm", 128, 2, 16, 32),
        _decode_case("lstm 256", "lstm", 256, 2, 16, 32),
        _decode_case("gru 256", "gru", 256, 2, 16, 32),
        _decode_case("lstm 512", "lstm", 512, 2, 16, 32),
    ],
    machine=Machine(kernel="_decode_kernel", tensor_cores=True),
)
def decode(
    first: Tensor, h: Tensor, c: Tensor, uniform: Tensor, packed: list[Tensor], gru: bool, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch: a program for every 16 texts."""
    net = Packed(*packed)
    layers, n, size = h.shape
    steps, vocabulary = len(uniform), len(net.table)
    config = decode_config(size, vocabulary)
    programs = -(-n // TILE)
    wide = programs * TILE
    states = torch.zeros(2, layers, wide, size, dtype=torch.float32, device=h.device)
    states[0, :, :n] = h
    cells = torch.zeros(layers, wide, size, dtype=torch.float32, device=h.device)
    cells[:, :n] = c
    drawn, *_ = _decode_fake(first, h, c, uniform, packed, gru, temperature)
    head = F.pad(net.head, (0, config["V"] - vocabulary)).contiguous()
    _decode_kernel[(programs,)](
        first.contiguous(), uniform.contiguous(), net.table, net.bias, net.hidden, net.input, head, net.head_bias,
        states, cells, drawn, n, wide, steps, temperature,
        GRU=gru, LAYERS=layers, H=size, VOCABULARY=vocabulary, TILE=TILE, SHARE=BELOW_ONE, **config,
    )  # fmt: skip
    return drawn, states[steps % 2, :, :n].to(h.dtype), cells[:, :n].to(c.dtype)
