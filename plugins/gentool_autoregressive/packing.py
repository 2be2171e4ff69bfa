"""A PixelCNN's weights as one op takes them (a list of tensors and a few integers) and as one launch reads them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from . import PixelCNNConfig
from .weights import HeadWeights, LayerWeights, Weights


@dataclass(frozen=True)
class Shape:
    """What the tensors of a net do not say by themselves; the op takes it as a list of integers."""

    layers: int
    first_kernel: int
    kernel: int
    cone: int

    def config(self) -> PixelCNNConfig:
        """The part of a config that decides the order of painting."""
        return PixelCNNConfig(
            layers=self.layers,
            first_kernel=self.first_kernel,
            kernel=self.kernel,
            field="cone" if self.cone else "full",
        )


def flatten(weights: Weights) -> list[Tensor]:
    """All tensors of a net in a fixed order; empty ones stand for those it does not have."""
    none = weights.values.new_empty(0)
    flat = [weights.values, none if weights.place is None else weights.place]
    for layer in weights.layers:
        own = none if layer.v_own is None else layer.v_own
        label = none if layer.label is None else layer.label
        flat += [layer.v, own, layer.v_bias, layer.h, layer.h_bias, layer.v_to_h, layer.out, label]
    for head in weights.heads:
        lower = none if head.lower is None else head.lower
        flat += [head.hidden, head.hidden_bias, lower, head.logits, head.logits_bias]
    return flat


def unflatten(flat: list[Tensor], shape: Shape) -> Weights:
    """The inverse of `flatten`."""

    def some(tensor: Tensor) -> Tensor | None:
        return tensor if tensor.numel() else None

    layers = []
    for i in range(shape.layers):
        v, own, v_bias, h, h_bias, v_to_h, out, label = flat[2 + 8 * i : 10 + 8 * i]
        reach = (shape.kernel if i else shape.first_kernel) // 2
        rows, taps = reach + (1 if i and not shape.cone else 0), reach + (1 if i else 0)
        last = i == shape.layers - 1
        layers.append(
            LayerWeights(reach, not i, last, rows, taps, v, some(own), v_bias, h, h_bias, v_to_h, out, some(label))
        )
    rest = flat[2 + 8 * shape.layers :]
    heads = []
    for start in range(0, len(rest), 5):
        hidden, hidden_bias, lower, logits, logits_bias = rest[start : start + 5]
        heads.append(HeadWeights(hidden, hidden_bias, some(lower), logits, logits_bias))
    return Weights(layers, heads, some(flat[1]), flat[0])


def shape_of(config: PixelCNNConfig) -> list[int]:
    """The integers of `Shape` for a config."""
    return [config.layers, config.first_kernel, config.kernel, int(config.field == "cone")]


def up(n: int) -> int:
    """The power of two that n features are padded to."""
    return max(16, 1 << (n - 1).bit_length())


def _pad(x: Tensor, *sizes: int, value: float = 0.0) -> Tensor:
    """x with its last dimensions made as large as `sizes`."""
    short = [edge for size, have in zip(reversed(sizes), reversed(x.shape)) for edge in (0, size - have)]
    return F.pad(x, short, value=value)


def pack(weights: Weights, p: int, block: int) -> dict[str, Tensor]:
    """The weights of a net as the launch reads them: features padded with zeros to powers of two, layers stacked."""
    wide, q = up(p), up(weights.heads[0].hidden.shape[1])
    levels = len(weights.values)
    k = up(weights.heads[0].logits.shape[1])

    def gates(x: Tensor) -> Tensor:  # (..., 2p) -> (..., 2 * wide)
        return _pad(x.reshape(*x.shape[:-1], 2, p), wide).flatten(-2)

    def features(x: Tensor) -> Tensor:  # (places * p, 2p) -> (places * wide, 2 * wide)
        return _pad(gates(x).reshape(-1, p, 2 * wide), wide, 2 * wide).flatten(0, 1)

    def parts(x: Tensor) -> Tensor:  # (..., 4p) -> (..., 4 * wide)
        return _pad(x.reshape(*x.shape[:-1], 4, p), wide).flatten(-2)

    def whole(x: Tensor) -> Tensor:
        return _pad(x, -(-len(x) // block) * block, x.shape[1])

    def stack(made: list[Tensor]) -> Tensor:
        return torch.stack(made).contiguous() if made else weights.values.new_empty(1)

    first, *rest = weights.layers
    heads = weights.heads
    none = weights.values.new_zeros(1)
    table = weights.values.new_zeros(len(heads), len(heads), levels, q)
    planes = weights.values.shape[1]
    for c, head in enumerate(heads):
        for lower in range(c if head.lower is not None else 0):
            assert head.lower is not None
            table[c, lower] = _pad(weights.values @ head.lower[lower * planes : (lower + 1) * planes], q)
    return {
        "first_v": whole(gates(first.v)),
        "first_h": whole(gates(first.h)),
        "w_v": stack([features(layer.v) for layer in rest]),
        "w_own": stack([features(layer.v_own) for layer in rest if layer.v_own is not None]),
        "w_h": stack([features(layer.h) for layer in rest]),
        "w_give": stack(
            [
                _pad(gates(layer.v_to_h).reshape(2, p, 2 * wide), wide, 2 * wide).flatten(0, 1)
                for layer in weights.layers
            ]
        ),
        "w_out": stack([_pad(layer.out[:-1], wide, wide) for layer in weights.layers]),
        "bias": stack([torch.cat([gates(layer.v_bias), gates(layer.h_bias)]) for layer in weights.layers]),
        "out_bias": stack([_pad(layer.out[-1], wide) for layer in weights.layers]),
        "label": stack([parts(layer.label) for layer in weights.layers if layer.label is not None]),
        "place": none if weights.place is None else parts(weights.place).contiguous(),
        "w_hidden": stack([_pad(head.hidden, wide, q) for head in heads]),
        "hidden_bias": stack([_pad(head.hidden_bias, q) for head in heads]),
        "table": table,
        "w_logits": stack([_pad(head.logits, q, k) for head in heads]),
        "logits_bias": stack([_pad(head.logits_bias, k, value=float("-inf")) for head in heads]),
        "values": weights.values.contiguous(),
    }
