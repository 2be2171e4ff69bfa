"""Decoding one picture that somebody else made: whatever is wrong with the file becomes one reason, never a crash.

Only PNG, JPEG, WebP and BMP are decoded, and only below a cap of pixels that is checked before decoding.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gentool.data.find import open_regular
from gentool.show.text import safe_text

T = TypeVar("T")

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# Below Pillow's own warning at 89 Mpx. A phone's picture has 12 to 50.
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 512 << 20
QUALITY = 88  # of JPEGs that are kept in other files
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112
_GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")

# Not in a context manager: that would not be safe in the threads that decode.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class BadPicture(Exception):
    """Why a picture cannot be used, in words for a message."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded: sides in pixels as it is to be seen, whether it has colour, and
    whether EXIF turns it by a quarter to be seen so."""

    width: int
    height: int
    colour: bool
    turned: bool = False


def read_header(file: Path) -> Header:
    """The header of a picture file; `BadPicture` if it is none that can be used."""
    with _Opened(file) as image:
        width, height = image.size
        turned = image.format in ("JPEG", "WEBP") and _orientation(image) in _TURNED
        if turned:
            width, height = height, width
        return Header(width, height, _has_colour(image), turned)


def read_picture(
    file: Path | IO[bytes], channels: int, side: int, *, turn: bool = True, least: tuple[int, int] | None = None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (channels, height, width), channels 1 or 3; with `side`, centre-cropped to a square and resized to it.

    Turned as EXIF says (unless not to `turn`); transparent pictures lie on white; 16-bit grey keeps its high byte.
    Resizing is bicubic and antialiased. least: where a smaller copy of a JPEG that is at least (height, width) is quickly
    had, that is given: a half, a quarter or an eighth of it.
    """
    with _Opened(file) as image:
        mode = "L" if channels == 1 else "RGB"
        if side and image.format == "JPEG":
            # Let the JPEG decoder shrink as far as twice the side: many times faster for photographs.
            scale = 2 * side / min(image.size)
            if scale < 1:
                image.draft(mode, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        if least is not None and image.format == "JPEG":
            swapped = turn and _orientation(image) in _TURNED
            image.draft(mode, least if swapped else least[::-1])
        turned = ImageOps.exif_transpose(image) if turn and _orientation(image) != 1 else image
        plain = _plain(turned, mode)
        if side:
            short = min(plain.size)
            left, top = (plain.width - short) // 2, (plain.height - short) // 2
            # Cropped first: a box given to `resize` lets the pixels around it bleed in.
            square = plain if plain.size == (short, short) else plain.crop((left, top, left + short, top + short))
            plain = square.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        pixels = np.asarray(plain, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_page(file: IO[bytes]) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], dict[str, str]]:
    """(uint8 (height, width, 1 or 3), the texts that lie in the file) of a picture as it is; `BadPicture` if it is none."""
    with _Opened(file) as image:
        texts = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
        pixels = np.asarray(_plain(image, "RGB" if _has_colour(image) else "L"), dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels, texts


class _Opened:
    """``with _Opened(file) as image``: a lazily opened picture, every failure inside turned into `BadPicture`."""

    def __init__(self, file: Path | IO[bytes]) -> None:
        self.file = file
        self.stream: IO[bytes] | None = None

    def __enter__(self) -> Image.Image:
        try:
            stream = open_regular(self.file) if isinstance(self.file, Path) else self.file
            self.stream = stream if isinstance(self.file, Path) else None
            size = os.fstat(stream.fileno()).st_size if isinstance(self.file, Path) else 1
            if not size:
                raise BadPicture("it is empty")
            if size > MAX_FILE_BYTES:
                raise BadPicture(f"its {size >> 20} MB are more than the {MAX_FILE_BYTES >> 20} a picture may have")
            image = Image.open(stream, formats=FORMATS)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadPicture(f"{width}x{height} pixels: over the cap of {MAX_PIXELS // 10**6} million")
            if not width or not height:
                raise BadPicture("it has no pixels")
            return image
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.stream is not None:
            self.stream.close()
        # Pillow's decoders raise nearly anything on damaged files.
        if isinstance(error, Exception) and not isinstance(error, BadPicture):
            raise BadPicture(_reason(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not a PNG, JPEG, WebP or BMP picture"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"over the cap of {MAX_PIXELS // 10**6} million pixels"
    if isinstance(error, MemoryError):
        return "it does not fit in memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(safe_text(str(error)).split())[:120] or type(error).__name__


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _has_colour(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode not in _GREY_MODES
    palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette != palette[:, :1]).any())


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """The picture as "L" or "RGB"."""
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray((wide.clip(0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise BadPicture("its pixels are floating-point numbers")
    elif image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return image if image.mode == mode else image.convert(mode)


# -- as text -----------------------------------------------------------------------------------------------------------


def to_jpeg(image: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """A picture (H, W, 3) as JPEG in base64."""
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(data, "JPEG", quality=QUALITY)
    return base64.b64encode(data.getvalue()).decode()


def from_jpeg(text: object) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (3, H, W) of a JPEG in base64; `ValueError` for anything else."""
    if not isinstance(text, str):
        raise ValueError("a picture is missing")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("a picture is not in base64") from None
    image = tried(read_picture, io.BytesIO(data), 3, 0)
    if isinstance(image, str):
        raise ValueError(f"a picture cannot be decoded: {image}")
    return image


# -- many of them ------------------------------------------------------------------------------------------------------


def tried(read: Callable[..., T], *arguments: Any, **options: Any) -> T | str:
    """What `read` gives, or why the picture cannot be used."""
    try:
        return read(*arguments, **options)
    except BadPicture as error:
        return str(error)


def in_threads(work: Callable[[Any], T], items: list[Any]) -> Iterable[T]:
    """The results in order; decoders release the interpreter's lock, so threads help on large folders."""
    if len(items) < 64:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # In blocks: results are not piled up ahead of the one who takes them.
        for start in range(0, len(items), 256):
            yield from pool.map(work, items[start : start + 256])


def machine_memory() -> int:
    """Bytes of this machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 16 << 30
