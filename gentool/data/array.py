"""`array:FILE.npy`: a user's own pictures in one NumPy file, such as `gentool sample --out FILE.npy` writes."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gentool.data.find import Where
from gentool.data.sets import ImageSet, scramble
from gentool.errors import UsageError
from gentool.show.text import safe_text

HELD_OUT = 20
_CHUNK = 1000


def array(argument: str, split: str, where: Where) -> ImageSet:
    """Pictures (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W), without labels.

    uint8 as they are; bool as 0 and 255; floating-point numbers in [0, 1] or [-1, 1] scaled to 0 … 255. Nothing is
    unpickled, and NaN or infinities are refused. Splits: a fixed shuffle, of which a tenth is the test, a tenth
    validation (nothing is held out of fewer than 20).
    """
    path = Path(argument).expanduser()
    data = _open(path)
    shown = safe_text(argument)
    data = _nchw(data, shown)
    order = scramble(len(data), salt=3)
    held = len(data) // 10 if len(data) >= HELD_OUT else 0
    cut = len(data) - 2 * held
    rows = {"train": order[:cut], "validation": order[cut : cut + held], "test": order[cut + held :]}[split]
    offset = _range(data, shown)
    parts = [_bytes(data[rows[start : start + _CHUNK]], offset) for start in range(0, len(rows), _CHUNK)]
    images = np.concatenate(parts) if parts else np.zeros((0, *data.shape[1:]), np.uint8)
    return ImageSet(f"array:{path.name}", split, torch.from_numpy(np.ascontiguousarray(images)))


def _open(path: Path) -> np.ndarray[Any, Any]:
    """The file's array, mapped: the header is held against the file's length, and nothing is read yet."""
    shown = safe_text(str(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"'{shown}' is not a regular file; array:FILE.npy names a NumPy file.")
        with path.open("rb") as stream:
            magic = stream.read(6)
        if magic != b"\x93NUMPY":
            raise UsageError(f"'{shown}' is not a .npy file; numpy.save writes one.")
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise UsageError(f"'{shown}' cannot be read: {error.strerror or error}.") from None
    except (ValueError, EOFError, OverflowError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        why = " ".join(safe_text(str(error)).split())[:120]
        raise UsageError(f"'{shown}' is not a usable .npy file ({why}); save it again with numpy.save.") from None


def _nchw(data: np.ndarray[Any, Any], shown: str) -> np.ndarray[Any, Any]:
    if data.dtype.kind not in "fbu" or (data.dtype.kind == "u" and data.dtype.itemsize > 1):
        raise UsageError(f"'{shown}' holds {data.dtype}; pictures are uint8, bool or floating-point numbers.")
    if data.ndim == 3:
        data = data[:, None]
    elif data.ndim == 4 and data.shape[1] not in (1, 3) and data.shape[3] in (1, 3):
        data = data.transpose(0, 3, 1, 2)
    if data.ndim != 4 or data.shape[1] not in (1, 3) or 0 in data.shape:
        raise UsageError(
            f"'{shown}' has the shape {data.shape}; it has to be (N, H, W), (N, H, W, C) or (N, C, H, W), with C 1 or 3."
        )
    return data


def _range(data: np.ndarray[Any, Any], shown: str) -> float | None:
    """The lowest value a floating-point array may take: 0 or -1; None for whole numbers."""
    if data.dtype.kind != "f":
        return None
    low, high = np.inf, -np.inf
    for start in range(0, len(data), _CHUNK):
        part = data[start : start + _CHUNK]
        finite = np.isfinite(part)
        if not finite.all():
            place = start + int(np.argwhere(~finite.reshape(len(part), -1).all(axis=1))[0, 0])
            raise UsageError(f"'{shown}' has NaN or infinite values, first in picture {place}; remove or mend them.")
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    if low < -1 or high > 1:
        raise UsageError(
            f"'{shown}' has values from {low:g} to {high:g}; floating-point pictures are in [0, 1] or [-1, 1], others uint8."
        )
    return -1.0 if low < 0 else 0.0


def _bytes(part: np.ndarray[Any, Any], offset: float | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if offset is None:
        return part.astype(np.uint8) * (255 if part.dtype.kind == "b" else 1)
    return np.rint((part.astype(np.float64) - offset) * (255 / (1 - offset))).astype(np.uint8)
