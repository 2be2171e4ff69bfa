"""The net as plain matrices, for code that evaluates a few pixels at a time: the caching samplers and the kernels.

A window of activations is flattened in the order (row, column, feature), so that a convolution at some pixels is one
matrix product ``window @ matrix``. Nothing is copied to another device or type.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .density import PixelNet
    from .model import PixelCNN


@dataclass(frozen=True)
class LayerWeights:
    """One layer; p features, `inputs` features below, reach = k // 2."""

    reach: int
    first: bool
    last: bool
    rows: int  # of the vertical window: `reach` rows above, and its own where it is looked at
    taps: int  # of the horizontal window, which ends at the pixel itself, or before it in the first layer
    v: Tensor  # (rows * k * inputs, 2p)
    v_own: Tensor | None  # (inputs, 2p): the vertical stack's own place, in a cone
    v_bias: Tensor  # (2p,)
    h: Tensor  # (taps * inputs, 2p)
    h_bias: Tensor  # (2p,)
    v_to_h: Tensor  # (2p, 2p)
    out: Tensor  # (p + 1, p): the last row is the bias, for an input that ends in 1
    label: Tensor | None  # (classes, 4p): of v, then of h


@dataclass(frozen=True)
class HeadWeights:
    """The output of one channel c of C."""

    hidden: Tensor  # (p, q)
    hidden_bias: Tensor  # (q,)
    lower: Tensor | None  # (c * planes, q)
    logits: Tensor  # (q, K)
    logits_bias: Tensor  # (K,)


@dataclass(frozen=True)
class Weights:
    """A whole net. place: (H, W, 4p), of v, then of h, added in the first layer. values: (levels, planes)."""

    layers: list[LayerWeights]
    heads: list[HeadWeights]
    place: Tensor | None
    values: Tensor


@torch.no_grad()
def plain(model: PixelCNN) -> Weights:
    """The matrices of a net, on its device and in its type."""
    layers = []
    for layer in model.stack():
        assert layer.v.bias is not None
        assert layer.h.bias is not None
        v, h = layer.v.weight, layer.h.weight  # (2p, inputs, rows, columns)
        layers.append(
            LayerWeights(
                reach=layer.reach,
                first=layer.first,
                last=layer.last,
                rows=v.shape[2],
                taps=h.shape[3],
                v=v.permute(2, 3, 1, 0).reshape(-1, v.shape[0]).contiguous(),
                v_own=None if layer.v_own is None else layer.v_own.weight.t().contiguous(),
                v_bias=layer.v.bias.detach(),
                h=h.permute(2, 3, 1, 0).reshape(-1, h.shape[0]).contiguous(),
                h_bias=layer.h.bias.detach(),
                v_to_h=layer.v_to_h.weight.t().contiguous(),
                out=torch.cat([layer.out.weight.t(), layer.out.bias[None]]),
                label=None if layer.label is None else layer.label.weight.detach(),
            )
        )
    made = tail(model)
    place = None if model.place is None else model.place.detach()
    return replace(made, layers=layers, place=place)


@torch.no_grad()
def tail(model: PixelNet) -> Weights:
    """What turns the context of a pixel into its value: the heads and the values, without layers."""
    heads = [
        HeadWeights(
            hidden=hidden.weight.t().contiguous(),
            hidden_bias=hidden.bias.detach(),
            lower=None if lower is None else lower.weight.t().contiguous(),
            logits=logits.weight.t().contiguous(),
            logits_bias=logits.bias.detach(),
        )
        for hidden, lower, logits in model.head.parts()
    ]
    return Weights(layers=[], heads=heads, place=None, values=_values(model))


def _values(model: PixelNet) -> Tensor:
    """(levels, planes): how the net sees each level."""
    if model.embedding is not None:
        return model.embedding.weight.detach()
    levels = torch.arange(model.levels, device=next(model.parameters()).device)
    return model.planes(levels.view(-1, 1, 1, 1)).view(-1, 1)
