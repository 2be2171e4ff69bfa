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


class Products(torch.autograd.Function):
    """x of 0 and 1 (N, D), a_1 (N, H), W and V (D, H) -> V_d h_d of every d, (N, D).

    Nothing is kept of the D hidden layers: the gradient walks the chain backwards, taking W_d x_d off again. And where
    x_d = 0 the hidden layer stays what it was, so a step treats only the pictures in which x_d = 1: a fifth of MNIST's.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, w: Tensor, v: Tensor) -> Tensor:
        a, on = start.clone(), _on(x)
        h = a.sigmoid()
        made = torch.empty(x.shape[::-1], dtype=a.dtype, device=a.device)
        for d, (rows, w_d, v_d) in enumerate(zip(on, w.unbind(), v.unbind())):
            torch.mv(h, v_d, out=made[d])
            if len(rows):
                a_d = a.index_select(0, rows).add_(w_d)
                a.index_copy_(0, rows, a_d)
                h.index_copy_(0, rows, a_d.sigmoid_())
        ctx.save_for_backward(x, a, w, v)
        return made.t()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        x, a, w, v = ctx.saved_tensors
        a, on, g = a.clone(), _on(x), grad.t().contiguous()
        h = a.sigmoid()
        da, dh = torch.zeros_like(a), torch.zeros_like(a)
        dw, dv = torch.zeros_like(w), torch.empty_like(v)
        for d in range(len(on) - 1, -1, -1):
            rows = on[d]
            if len(rows):  # leave the hidden layer after d for the one before it
                h_d = h.index_select(0, rows)
                da_d = torch.addcmul(da.index_select(0, rows), dh.index_select(0, rows), h_d - h_d * h_d)
                torch.sum(da_d, 0, out=dw[d])
                da.index_copy_(0, rows, da_d)
                dh.index_fill_(0, rows, 0)
                a_d = a.index_select(0, rows).sub_(w[d])
                a.index_copy_(0, rows, a_d)
                h.index_copy_(0, rows, a_d.sigmoid_())
            torch.mv(h.t(), g[d], out=dv[d])
            dh.addr_(g[d], v[d])
        return None, da + dh * (h - h * h), dw, dv


def _on(x: Tensor) -> list[Tensor]:
    """For each d the pictures in which x_d = 1."""
    d, rows = x.t().nonzero(as_tuple=True)
    counts: list[int] = torch.bincount(d, minlength=x.shape[1]).tolist()
    return list(torch.split(rows, counts))


class Nade(BinaryChain):
    """D binary pixels in raster order (their channels in turn, where there are several)."""

    name = "nade"

    def __init__(self, config: NadeConfig, info: DataInfo):
        super().__init__(config, info)
        places = self.places
        self.w = nn.Parameter(torch.empty(places, config.hidden).uniform_(-1, 1) / places**0.5)
        self.v = nn.Parameter(torch.empty(places, config.hidden).uniform_(-1, 1) / config.hidden**0.5)
        self.bias = nn.Parameter(torch.zeros(places))  # b
        self.c = nn.Parameter(torch.zeros(config.hidden))
        self.label = nn.Embedding(self.classes, config.hidden) if self.classes else None
        if self.label is not None:
            nn.init.zeros_(self.label.weight)

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
