"""What a pixel of a PixelCNN can see, and which pixels can therefore be drawn at once; from the config alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import PixelCNNConfig

Offset = tuple[int, int]  # (rows up, columns to the right)


def _dilate(seen: set[Offset], taps: Iterable[Offset], height: int, width: int) -> set[Offset]:
    """What is seen through a layer with these taps, by a pixel of a picture of this size."""
    moved = {(up + u, right + r) for up, right in seen for u, r in taps}
    return {(up, right) for up, right in moved if up < height and abs(right) < width}


def receptive_field(config: PixelCNNConfig, height: int, width: int) -> set[Offset]:
    """The offsets (rows up, columns to the right) of the pixels that a pixel's logits depend on.

    Follows the two stacks layer by layer. Pixels to the left in the same row are (0, -1), (0, -2), ...
    """
    first, reach = config.first_kernel // 2, config.kernel // 2
    v = {(up, right) for up in range(1, first + 1) for right in range(-first, first + 1)}
    h = v | {(0, -left) for left in range(1, first + 1)}
    lowest = 1 if config.field == "cone" else 0
    v_taps = {(up, right) for up in range(lowest, reach + 1) for right in range(-reach, reach + 1)} | {(0, 0)}
    h_taps = {(0, -left) for left in range(reach + 1)}
    for _ in range(config.layers - 1):
        v = _dilate(v, v_taps, height, width)
        h = _dilate(h, h_taps, height, width) | v
    return {(up, right) for up, right in h if up < height and abs(right) < width}


def lags(config: PixelCNNConfig) -> list[int]:
    """For each layer, how many columns its vertical stack has to be ahead of the pixel being drawn.

    The top layer needs its own column; each layer below `kernel // 2` more, where the kernel looks along its own row.
    """
    ahead = 0 if config.field == "cone" else config.kernel // 2
    return [ahead * (config.layers - 1 - layer) for layer in range(config.layers)]


def slope(config: PixelCNNConfig) -> int:
    """The least s for which the pixels (row r, column t - s r) can be drawn together, for t = 0, 1, 2, ...

    A pixel that sees d columns to the right, u rows up, needs these drawn: c + d + s (r - u) < c + s r, so s > d / u.
    The vertical stack of the first layer runs `lags` ahead and sees first_kernel // 2 further, one row up; in a cone
    each layer above adds no more than kernel // 2 columns for a row, so the steeper of the two decides.
    """
    first = config.first_kernel // 2
    if config.field == "cone" and config.layers > 1:
        return max(first + 1, config.kernel // 2)
    return first + lags(config)[0] + 1
