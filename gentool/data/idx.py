"""The idx format of mnist: big-endian magic (two zeros, a type byte, the number of dimensions), the dimensions, bytes.

A header is believed only as far as the file can hold what it says: nothing is allocated for one that lies.
"""

from __future__ import annotations

import functools
import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from gentool.data.find import Where, files_of, open_regular
from gentool.data.known import FASHION_MNIST, MNIST, Known
from gentool.data.sets import ImageSet
from gentool.errors import UsageError
from gentool.show.text import safe_text

MAX_BYTES = 1 << 31  # of one unpacked file
UBYTE = 0x08
VALIDATION = 5000
DIGITS = tuple("0123456789")
ARTICLES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
# Deflate cannot shrink below 1/1032: a smaller file cannot hold what its header promises.
_DEFLATE = 1040


def read_idx(path: Path, dimensions: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The array in an idx file of unsigned bytes, plain or gzipped; `UsageError` naming the file if it is not whole."""
    try:
        with open_regular(path) as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
            shape = _header(path, stream, dimensions)
            count = math.prod(shape)
            head = 4 + 4 * dimensions
            room = size * _DEFLATE if packed else size - head
            if count > min(room, MAX_BYTES):
                raise _wrong(path, f"its header promises {_shape(shape)} values, more than the file can hold")
            data = _read(stream, count)
            if len(data) < count:
                raise _wrong(path, f"it is cut off: {len(data):,} of {count:,} values are there")
            if stream.read(1):
                raise _wrong(path, f"it goes on after the {_shape(shape)} values of its header")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _wrong(path, f"its compression is damaged ({safe_text(str(error))})") from None
    except OSError as error:
        raise UsageError(f"'{safe_text(str(path))}' cannot be read: {error.strerror or error}.") from None
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _header(path: Path, stream: IO[bytes], dimensions: int) -> tuple[int, ...]:
    head = stream.read(4 + 4 * dimensions)
    if not head:
        raise _wrong(path, "it is empty")
    if len(head) < 4 or head[:2] != b"\0\0":
        raise _wrong(path, "it does not start as an idx file does")
    if head[2] != UBYTE or head[3] != dimensions:
        raise _wrong(path, f"its magic number {head[:4].hex()} is not {bytes((0, 0, UBYTE, dimensions)).hex()}")
    if len(head) < 4 + 4 * dimensions:
        raise _wrong(path, "it is cut off inside its header")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    if 0 in shape:
        raise _wrong(path, f"its header says {_shape(shape)}: nothing")
    return shape


def _read(stream: IO[bytes], count: int) -> bytearray:
    data = bytearray()
    while len(data) < count:
        chunk = stream.read(min(1 << 20, count - len(data)))
        if not chunk:
            break
        data += chunk
    return data


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _wrong(path: Path, why: str) -> UsageError:
    return UsageError(f"'{safe_text(str(path))}' is not a usable idx file: {why}; fetch it again.")


@functools.lru_cache(maxsize=4)
def _pair(images: Path, labels: Path, stamps: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures uint8 (N, 1, H, W) and labels int64 (N,). Kept, as training and validation come from one file."""
    pixels, classes = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(classes):
        raise UsageError(
            f"'{safe_text(str(images))}' has {len(pixels):,} pictures, but '{safe_text(str(labels))}' {len(classes):,} "
            "labels; they do not belong together."
        )
    if classes.max() > 9:
        raise UsageError(f"'{safe_text(str(labels))}' has the label {classes.max()}; there are ten classes, 0 to 9.")
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(classes.astype(np.int64))


def _open(known: Known, classes: tuple[str, ...], split: str, where: Where) -> ImageSet:
    """Test: the 10,000 of the publishers. Validation: the last 5,000 of their 60,000 for training (of a smaller file,
    the last twelfth); training: those before."""
    files = files_of(known, where)
    part = "t10k" if split == "test" else "train"
    paths = [files[f"{part}-images-idx3-ubyte.gz"], files[f"{part}-labels-idx1-ubyte.gz"]]
    stamps = tuple(stamp for path in paths for stamp in (path.stat().st_mtime_ns, path.stat().st_size))
    images, labels = _pair(paths[0], paths[1], stamps)
    if split != "test":
        cut = len(images) - min(VALIDATION, len(images) // 12)
        chosen = slice(0, cut) if split == "train" else slice(cut, None)
        images, labels = images[chosen], labels[chosen]
    return ImageSet(known.name, split, images, labels, classes)


def mnist(argument: str, split: str, where: Where) -> ImageSet:
    """28x28 grey, 0 to 9. LeCun et al. 1998."""
    return _open(MNIST, DIGITS, split, where)


def fashion_mnist(argument: str, split: str, where: Where) -> ImageSet:
    """28x28 grey, ten articles of clothing. Xiao et al. 2017, arXiv:1708.07747."""
    return _open(FASHION_MNIST, ARTICLES, split, where)
