"""The settings of each model, objective, sampler and view. Light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool.specs import option


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig:
    """model.* of `pixelcnn`."""

    channels: int = option(32, "p: features of each stack", ge=1, le=1024)
    layers: int = option(8, "gated layers, the first included", ge=1, le=100)
    first_kernel: int = option(7, "width of the first layer's kernel (mask A), odd", ge=3, le=31)
    kernel: int = option(3, "width of the other layers' kernels (mask B), odd", ge=3, le=31)
    field: Literal["full", "cone"] = option(
        "full",
        "full: every earlier pixel within reach; cone: none further right than half a kernel for each row up, "
        "for which whole anti-diagonals can be drawn at once",
    )
    hidden: int = option(64, "hidden units between the stacks and the logits", ge=1, le=4096)
    input: Literal["auto", "scalar", "embedding"] = option(
        "auto", "scalar: values are amounts; embedding: they are names (codes); auto: names if above 256"
    )
    embed: int = option(16, "embedding: features of each value", ge=1, le=1024)
    place: bool = option(True, "a learned bias for every position, in the first layer")
    conditional: bool = option(False, "condition every layer on the class")


@dataclass(frozen=True, kw_only=True)
class PixelRNNConfig:
    """model.* of `pixelrnn`."""

    kind: Literal["row-lstm", "diagonal-bilstm"] = option(
        "diagonal-bilstm", "row-lstm: a row after another; diagonal-bilstm: from both upper corners, all that is above"
    )
    hidden: int = option(16, "h: LSTM units of each position (and direction); features are 2h", ge=1, le=1024)
    layers: int = option(2, "LSTM layers, residual", ge=1, le=100)
    first_kernel: int = option(7, "width of the first convolution's kernel (mask A), odd", ge=3, le=31)
    kernel: int = option(3, "row-lstm: width of both convolutions along the row (mask B before it), odd", ge=1, le=31)
    head: int = option(64, "hidden units between the features and the logits", ge=1, le=4096)
    input: Literal["auto", "scalar", "embedding"] = option(
        "auto", "scalar: values are amounts; embedding: they are names (codes); auto: names if above 256"
    )
    embed: int = option(16, "embedding: features of each value", ge=1, le=1024)
    place: bool = option(True, "a learned bias for every position, after the first convolution")
    conditional: bool = option(False, "condition every layer on the class")


@dataclass(frozen=True, kw_only=True)
class MadeConfig:
    """model.* of `made`."""

    hidden: int = option(500, "units of each hidden layer", ge=1, le=100_000)
    layers: int = option(2, "hidden layers", ge=1, le=10)
    direct: bool = option(True, "connections from the input to the output as well")
    orders: int = option(1, "orders of the pixels: raster order, and others drawn by chance", ge=1, le=1000)
    masks: int = option(1, "patterns of connectivity for each order; the density is the mixture of all", ge=1, le=1000)
    conditional: bool = option(False, "condition every hidden layer on the class")


@dataclass(frozen=True, kw_only=True)
class NadeConfig:
    """model.* of `nade`."""

    hidden: int = option(500, "H: hidden units", ge=1, le=100_000)
    conditional: bool = option(False, "condition the hidden layer on the class")


@dataclass(frozen=True, kw_only=True)
class NllConfig:
    """loss.* of `nll`: nothing to set."""


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """sampler.* of the samplers."""

    temperature: float = option(1.0, "divides the logits: below 1 the likelier values come more often", gt=0, le=100)


@dataclass(frozen=True, kw_only=True)
class CompletionConfig(DrawConfig):
    """sampler.* of `completion`."""

    rows: int = option(0, "upper rows that are kept; 0: half of them", ge=0)


@dataclass(frozen=True, kw_only=True)
class CompleteConfig:
    """Of `gentool viz --complete`."""

    n: int = option(8, "pictures", ge=1, le=64)
    tries: int = option(5, "completions of each", ge=1, le=64)
    share: float = option(0.5, "of the rows that are given", ge=0, le=1)
    temperature: float = option(1.0, "divides the logits", gt=0, le=100)
