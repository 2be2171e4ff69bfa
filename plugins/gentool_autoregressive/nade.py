"""NADE: Larochelle & Murray 2011, "The Neural Autoregressive Distribution Estimator".

    p(x_d = 1 | x_<d) = sigmoid(b_d + V_d h_d),   h_d = sigmoid(c + sum over i < d of W_i x_i)      (equations 9, 10)

The hidden layers of all D conditionals share their weights: a_{d+1} = a_d + W_d x_d, and the whole density costs O(D H).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gentool import DataInfo

from .density import BinaryChain

if TYPE_CHECKING:
    from . import NadeConfig
    from .incremental import NadeChain


BLOCK = 28  # pixels treated together: the more, the fewer and the longer the products of matrices


class Products(torch.autograd.Function):
    """x of 0 and 1 (N, D), a_1 (N, H), W and V (D, H) -> V_d h_d of every d, (N, D).

    Where x_d = 0 the hidden layer stays what it was: of a block of pixels a picture has its first hidden layer and one
    for each pixel that is 1, of MNIST's 28 about four. Those alone are made and kept, by products of matrices.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, w: Tensor, v: Tensor) -> Tensor:
        a, made, kept = start, torch.empty_like(x), []
        for x_b, w_b, v_b, out in zip(*(t.split(BLOCK, i) for t, i in ((x, 1), (w, 0), (v, 0), (made, 1)))):
            picture, ones, place = _changes(x_b)
            h = torch.cat([a, torch.addmm(a.index_select(0, picture), ones, w_b)]).sigmoid_()
            out.copy_((h @ v_b.t()).gather(0, place))
            a = torch.addmm(a, x_b, w_b)
            kept += [picture, ones, place, h]
        ctx.save_for_backward(x, w, v, *kept)
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        x, w, v, *kept = ctx.saved_tensors
        n, dw, dv, da = len(x), torch.empty_like(w), torch.empty_like(v), w.new_zeros(len(x), w.shape[1])
        blocks = list(zip(*(t.split(BLOCK, i) for t, i in ((x, 1), (v, 0), (dw, 0), (dv, 0), (grad, 1)))))
        for i, (x_b, v_b, dw_b, dv_b, g) in reversed(list(enumerate(blocks))):
            picture, ones, place, h = kept[4 * i : 4 * i + 4]
            g_h = g.new_zeros(len(h), g.shape[1]).scatter_(0, place, g)
            torch.mm(g_h.t(), h, out=dv_b)
            da_b = torch.ops.aten.sigmoid_backward(g_h @ v_b, h)
            torch.mm(x_b.t(), da, out=dw_b)
            dw_b.addmm_(ones.t(), da_b[n:])
            da.add_(da_b[:n]).index_add_(0, picture, da_b[n:])
        return None, da, dw, dv


def _changes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the hidden layers of a block x (N, B) change, E places in all, and which of them each pixel is given.

    The picture of each change, (E,); the pixels of the block that are 1 up to it, (E, B); and for every pixel the row of
    its hidden layer among the N at the block's start with the E changed ones after them, (N, B).
    """
    n, b = x.shape
    picture, pixel = x.nonzero(as_tuple=True)
    ones = x[picture] * (torch.arange(b, device=x.device) <= pixel[:, None])
    on = (x != 0).long()
    count, before = on.sum(1), on.cumsum(1) - on  # of the picture; and before each pixel
    first = n + count.cumsum(0) - count  # row of the picture's first change
    unchanged = torch.arange(n, device=x.device)[:, None]
    return picture, ones, torch.where(before > 0, first[:, None] + before - 1, unchanged)


class Nade(BinaryChain):
    """D binary pixels in raster order (their channels in turn, where there are several).

    Learned is not b but `middle` = b + V 1/2, the log-odds where every hidden unit is at 1/2: a step of V then leaves the
    mean of the log-odds about where it was, and rates of 1e-2 are stable.
    """

    name = "nade"

    def __init__(self, config: NadeConfig, info: DataInfo):
        super().__init__(config, info)
        places = self.places
        # An eighth of MNIST is 1: rows as large as this spread the hidden units over the sigmoid's bend.
        self.w = nn.Parameter(torch.empty(places, config.hidden).uniform_(-1, 1) * (3 / places**0.5))
        self.v = nn.Parameter(torch.empty(places, config.hidden).uniform_(-1, 1) / config.hidden**0.5)
        self.middle = nn.Parameter(torch.zeros(places))
        self.c = nn.Parameter(torch.zeros(config.hidden))
        self.label = nn.Embedding(self.classes, config.hidden) if self.classes else None
        if self.label is not None:
            nn.init.zeros_(self.label.weight)

    @property
    def bias(self) -> Tensor:
        """b, (D,)."""
        return self.middle - self.v.sum(1) / 2

    def start(self, n: int, labels: Tensor | None) -> Tensor:
        """a_1, (n, H): the bias c, and what the class adds to it."""
        start = self.c.expand(n, -1)
        return start if labels is None or self.label is None else start + self.label(labels)

    def logits(self, x: Tensor, labels: Tensor | None = None, component: int = 0) -> Tensor:
        """x in {0, 1} (N, D) -> log-odds (N, D)."""
        with torch.autocast(x.device.type, enabled=False):  # sums of hundreds of terms
            products: Tensor = Products.apply(x, self.start(len(x), labels), self.w, self.v)  # type: ignore[no-untyped-call]
            return products + self.bias

    def log_prob_levels(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x) in nats, (N,)."""
        flat = self.flat(x).to(self.w.dtype)
        logits = self.logits(flat, self.given(labels))
        return -F.binary_cross_entropy_with_logits(logits, flat, reduction="none").sum(1)

    def chain(self, component: int, n: int, labels: Tensor | None) -> NadeChain:
        """n pictures, to be drawn pixel by pixel."""
        from .incremental import NadeChain

        return NadeChain(self, n, labels)
