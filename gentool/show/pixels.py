"""Tensors of images as arrays of bytes, and fonts: what grids, terminal pictures and plots share."""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from gentool.errors import UsageError
from gentool.show.text import safe_text

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
MAGENTA = (255, 0, 255)  # where a value is not finite: a colour no grey image has, so that it is seen


def to_bytes(images: Tensor | NDArray[Any]) -> Pixels:
    """Images (n, C, H, W) as bytes (n, H, W, C) with C 1 or 3.

    Floats are in [-1, 1] (what lies outside is clipped), uint8 is taken as it is. Accepted are C of 1 or 3, (n, H, W) for
    grey, and C of 5 and more as the grey frames of a clip, which are laid side by side.
    Values that are not finite become magenta, which makes a grey set coloured. `UsageError` for other shapes.
    """
    array: NDArray[Any]
    if isinstance(images, np.ndarray):
        array = images
    else:
        tensor = images.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] in (2, 4) or 0 in array.shape:
        raise UsageError(f"Pictures are (n, 1 or 3, height, width) and not empty; these are {tuple(array.shape)}.")
    array = array.transpose(0, 2, 3, 1)
    if array.shape[3] > 4:
        n, height, width, frames = array.shape
        array = array.transpose(0, 1, 3, 2).reshape(n, height, frames * width, 1)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise UsageError(f"Pictures are float in [-1, 1] or uint8; these are {array.dtype}.")
    array = np.asarray(array, dtype=np.float32)
    broken = ~np.isfinite(array)
    scaled = np.where(broken, np.float32(0), np.clip(array, -1, 1))
    pixels = np.rint((scaled + 1) * np.float32(127.5)).astype(np.uint8)
    if broken.any():
        pixels = np.repeat(pixels, 3 // pixels.shape[3], axis=3)
        pixels[broken.any(axis=3)] = MAGENTA
    return np.ascontiguousarray(pixels)


def shrink(image: Pixels, height: int, width: int) -> Pixels:
    """An image (H, W, C) at (height, width), each new pixel the mean over the area it covers, fractions included."""
    rows, columns = _coverage(image.shape[0], height), _coverage(image.shape[1], width)
    mean: NDArray[np.float32] = np.einsum("hy,yxc,wx->hwc", rows, image.astype(np.float32), columns, optimize=True)
    shrunk: Pixels = np.rint(mean).astype(np.uint8)
    return shrunk


def _coverage(old: int, new: int) -> NDArray[np.float32]:
    """(new, old): which share of each new pixel each old one covers."""
    edges = np.arange(new + 1)[:, None] * (old / new)
    starts = np.arange(old)
    overlap = np.minimum(edges[1:], starts + 1) - np.maximum(edges[:-1], starts)
    shares: NDArray[np.float32] = (np.clip(overlap, 0, None) * (new / old)).astype(np.float32)
    return shares


def near_square(n: int) -> int:
    """Columns for n pictures of a grid that is at least as wide as high and at most three times, with the fewest empty
    places."""
    least = int(np.ceil(np.sqrt(n)))
    most = max(least, int(np.ceil(np.sqrt(2.6 * n))))
    fitting = (columns for columns in range(least, most + 1) if columns <= 3 * -(-n // columns))
    return min(fitting, key=lambda columns: (-(-n // columns) * columns - n, columns))


@functools.cache
def font(size: int) -> Font:
    """The font inside Pillow, so that a picture is the same everywhere."""
    try:
        return ImageFont.load_default(size)
    except (ImportError, OSError):  # a Pillow without FreeType has one small bitmap font
        return ImageFont.load_default()


_INSTEAD = {"−": "-", "–": "-", "—": "-", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "µ": "u", "β": "beta", "α": "alpha",
            "λ": "lambda", "σ": "sigma", "∞": "inf", "²": "2", "’": "'", "“": '"', "”": '"', "ß": "ss"}  # fmt: skip


def drawable(text: object) -> str:
    """`text` in characters that Pillow's font has: accents fall off, what is left unknown becomes a question mark."""
    safe = safe_text(text)
    if safe.isascii():
        return safe
    spelled = "".join(_INSTEAD.get(char, char) for char in safe)
    plain = (c for c in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c in "…·±" else "?" for c in plain)


def text_width(text: str, face: Font) -> int:
    """Pixels that a line takes."""
    return int(np.ceil(face.getlength(text)))


def fit_text(text: str, face: Font, width: int) -> str:
    """A drawable line cut to `width` pixels, the cut marked."""
    if text_width(text, face) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle].rstrip() + "…", face) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


def wrap_text(text: str, face: Font, width: int, lines: int) -> list[str]:
    """A drawable text in at most `lines` lines of `width` pixels, broken at spaces, the last one cut if need be."""
    wrapped: list[str] = []
    words = text.split()
    while words and len(wrapped) < lines - 1:
        taken = 1
        while taken < len(words) and text_width(" ".join(words[: taken + 1]), face) <= width:
            taken += 1
        if text_width(words[0], face) > width:
            break
        wrapped.append(" ".join(words[:taken]))
        words = words[taken:]
    if words:
        wrapped.append(fit_text(" ".join(words), face, width))
    return wrapped
