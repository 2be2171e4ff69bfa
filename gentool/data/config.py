"""The `data.*` settings of each kind of data set: which one, and the transforms that are declared for it. Light."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gentool.specs import option


@dataclass(frozen=True, kw_only=True)
class AnyData:
    """What `data.*` has for every kind of data set."""

    name: str = option("digits", "a data set's name, or PREFIX:PATH for your own; `gentool data ls` lists them")
    dir: str = option("", "where data sets lie, ':' between folders; searched before GENTOOL_DATA")
    limit: int = option(0, "use only the first N training examples (of a text: characters); 0: all", ge=0)


@dataclass(frozen=True, kw_only=True)
class DataConfig(AnyData):
    """data.* of pictures.

    Order of the transforms: channels, resize, levels or binarize (on the whole set, once), then augment and the
    drawing of stochastic binarisation (per batch, functions of seed and step), then scaling to [-1, 1].
    """

    binarize: Literal["none", "threshold", "stochastic", "fixed"] = option(
        "none",
        "two levels: cut at half; or drawn with the grey value as probability, anew each step (stochastic) or once for "
        "each picture (fixed)",
    )
    resize: int = option(0, "side in pixels (centre-cropped to a square first); 0: as is", ge=0, le=1024)
    channels: Literal[0, 1, 3] = option(0, "1: grey, 3: colour, 0: as is")
    augment: Literal["none", "shift", "flip", "crop-flip"] = option(
        "none", "training only: small shifts, mirror images, or shifts of an eighth of the side with mirror images"
    )
    levels: int = option(256, "values a pixel takes: fewer are made by equal steps", ge=2, le=256)
    skip_bad: bool = option(False, "folder: leave out pictures that cannot be read instead of refusing them")


@dataclass(frozen=True, kw_only=True)
class TextConfig(AnyData):
    """data.* of a running text."""

    tokens: Literal["characters", "bpe"] = option("characters", "what a token is: a character, or a byte-pair code")
    vocabulary: int = option(1024, "bpe: how many tokens, the 256 bytes among them", ge=257, le=65536)
    window: int = option(128, "tokens that a row of a batch reads in one step", ge=1, le=1_000_000)


@dataclass(frozen=True, kw_only=True)
class PairsConfig(AnyData):
    """data.* of pairs of sentences."""

    tokens: Literal["words", "characters", "bpe"] = option(
        "words", "what a token is: a word or sign, a character, or a byte-pair code"
    )
    vocabulary: int = option(
        8000,
        "words: the N most frequent of each side; bpe: how many tokens, the 256 bytes among them",
        ge=257,
        le=65536,
    )
    min_frequency: int = option(1, "words: those that training has less often become <unk>", ge=1)
    lower: bool = option(False, "write everything in small letters first")
    joint: bool = option(False, "one vocabulary for both sides")
    reverse: bool = option(False, "swap the sides")
    max_length: int = option(100, "training only: leave out pairs with more tokens than this on a side; 0: none", ge=0)
    skip_bad: bool = option(False, "pairs: leave out lines that are no pairs instead of refusing them")


@dataclass(frozen=True, kw_only=True)
class BoxesConfig(AnyData):
    """data.* of pictures with boxes, of any size.

    A picture is resized to `short_side` and `long_side`, then, in training, flipped, cropped and scaled by draws of
    (seed, step, place), boxes with it; what is left is placed at the top left of the batch's canvas.
    """

    short_side: int = option(
        0, "shorter side in pixels that pictures are resized to; 0: they never grow", ge=0, le=2048
    )
    long_side: int = option(640, "longer side in pixels that no picture exceeds", ge=16, le=2048)
    flip: Literal["none", "horizontal", "both", "all"] = option(
        "horizontal", "training only: mirrored half of the time, left to right; both: or upside down; all: or turned"
    )
    jitter: float = option(1.0, "training only: enlarged or made smaller by up to this factor", ge=1, le=4)
    crop: float = option(0.0, "training only: share of the pictures of which a random part is cut out", ge=0, le=1)
    colour: float = option(
        0.0, "training only: brightness, contrast and colour changed by up to this share", ge=0, lt=1
    )
    workers: int = option(0, "threads that read the next batch ahead; 0: none. The batches are the same", ge=0, le=64)


def absolute_paths(config: AnyData) -> dict[str, str]:
    """The dotted keys whose paths depend on the folder gentool was started in, as absolute paths: what a run writes
    down, so that it can be resumed and evaluated from anywhere."""
    changed: dict[str, str] = {}
    if config.dir:
        changed["data.dir"] = os.pathsep.join(
            str(Path(d).expanduser().absolute()) for d in config.dir.split(os.pathsep) if d
        )
    prefix, colon, argument = config.name.partition(":")
    if colon and argument and Path(argument).expanduser().exists():
        changed["data.name"] = f"{prefix}:{Path(argument).expanduser().absolute()}"
    return {
        key: value for key, value in changed.items() if value != {"data.dir": config.dir, "data.name": config.name}[key]
    }
