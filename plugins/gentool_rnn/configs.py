"""The settings of the models, losses, samplers and views of this family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool.specs import option


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """What reads the sequence: the part of model.* that every model here has."""

    cell: Literal["rnn", "lstm", "gru", "tcn", "attention"] = option(
        "lstm", "rnn (tanh), lstm, gru; tcn: dilated causal convolutions; attention: over the last model.context steps"
    )
    hidden: int = option(256, "H: features of each layer", ge=1, le=8192)
    layers: int = option(2, "layers one above the other (tcn: blocks, each of twice the dilation)", ge=1, le=64)
    dropout: float = option(0.0, "of what goes from layer to layer, and to the output", ge=0, lt=1)
    initial: Literal["zero", "learned"] = option("zero", "rnn, lstm, gru: the state before the first step")
    memory: int = option(
        0,
        "lstm, gru: gates that begin by keeping what they hold for 1 to so many steps, each unit its own; 0: off",
        ge=0,
    )
    kernel: int = option(3, "tcn: taps of a convolution", ge=2, le=64)
    heads: int = option(4, "attention: heads", ge=1, le=128)
    context: int = option(128, "attention: steps that a step attends to, itself included", ge=1, le=65536)
    engine: Literal["auto", "torch", "own", "reference"] = option(
        "auto",
        "rnn, lstm, gru: torch: cuDNN or oneDNN; own: written-out gradients; reference: the equations, slowly; "
        "auto: the fastest for the device",
    )


@dataclass(frozen=True, kw_only=True)
class CharLMConfig(BackboneConfig):
    """model.* of `charlm`."""

    input: Literal["embedding", "one-hot"] = option("embedding", "how a token enters: a learned vector, or one-hot")
    embed: int = option(64, "embedding: features of a token", ge=1, le=8192)


@dataclass(frozen=True, kw_only=True)
class SequenceConfig(BackboneConfig):
    """model.* of `sequence`."""

    hidden: int = option(64, "H: features of each layer", ge=1, le=8192)
    layers: int = option(1, "layers one above the other (tcn: blocks, each of twice the dilation)", ge=1, le=64)
    steps: Literal["rows", "pixels", "permuted", "frames"] = option(
        "rows",
        "how a picture is read: by rows, by pixels, by pixels in one fixed shuffled order; frames: a clip whose frames "
        "are the channels, each seen through two convolutions",
    )
    task: Literal["many-to-one", "many-to-many", "one-to-many"] = option(
        "many-to-one",
        "many-to-one: reads all steps, the class after the last is scored; many-to-many: the class after every step; "
        "one-to-many: reads the class, then its own steps, and every step of the picture is scored",
    )


@dataclass(frozen=True, kw_only=True)
class NextTokenConfig:
    """loss.* of `next-token`."""

    chunk: int = option(0, "steps that the gradient goes back, an update each; 0: data.window", ge=0, le=1_000_000)


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """sampler.* of `autoregressive`."""

    prompt: str = option("", "text to go on from")
    length: int = option(500, "tokens to draw", ge=1, le=1_000_000)
    temperature: float = option(1.0, "divides the logits; 0 takes the likeliest token each time", ge=0, le=100)
    top_k: int = option(0, "draw among the k likeliest tokens; 0: among all", ge=0)
    top_p: float = option(1.0, "draw among the likeliest tokens that together have this probability", gt=0, le=1)


@dataclass(frozen=True, kw_only=True)
class EmitConfig:
    """Of `emit`."""

    each: int = option(8, "pictures of each class", ge=1, le=64)


@dataclass(frozen=True, kw_only=True)
class GradientFlowConfig:
    """Of `gradient-flow`."""

    steps: int = option(100, "T: steps that the gradient goes back", ge=2, le=5000)
    rows: int = option(16, "stretches of text that are averaged over", ge=1, le=256)
    hidden: int = option(128, "H of the fresh nets", ge=1, le=2048)
    below: float = option(0.9, "the singular value of the recurrent matrix that lets it vanish", gt=0, le=10)
    above: float = option(1.1, "the one that lets it explode", gt=0, le=10)
