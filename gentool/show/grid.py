"""Grids of images with captions, as pictures that are large enough to be judged."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from gentool.errors import UsageError
from gentool.runs.files import replace_file
from gentool.show.pixels import Pixels, drawable, fit_text, font, near_square, text_width, to_bytes, wrap_text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

NARROWEST, WIDEST = 400, 1000  # of a grid in pixels, where its images allow it
COMFORTABLE = 112  # pixels a side at which a small image is well seen
LARGEST = 80_000_000  # pixels: more is refused as a decompression bomb by readers (Pillow's own limit is 89 million)
PAGE, INK = 255, 40
KEY = "gentool"  # of the text in a PNG that says how its grid is laid out
CAPTION_LINES = 2


def make_grid(
    images: Tensor | NDArray[Any],
    columns: int | None = None,
    captions: Sequence[object] | None = None,
    scale: int | Literal["auto"] = "auto",
    pad: int | None = None,
    title: str | None = None,
) -> Image.Image:
    """Images (n, C, H, W), float in [-1, 1] or uint8, C 1 or 3, laid out in rows on a white page.

    `columns`: None for near square. `scale`: a whole factor of nearest-neighbour enlargement; "auto" takes one that makes
    the picture 400 to 1000 pixels wide. `pad`: pixels between images and around them (None: a few). `captions`: a text
    under each image, wrapped to two lines and cut to its width; `title`: a text above all. Values that are not finite
    are magenta. A PNG of it says how it is laid out (`read_sheet`). `UsageError` for shapes that are no pictures, and
    where the grid would be over 80 million pixels.
    """
    pixels = to_bytes(images)
    n, height, width, channels = pixels.shape
    columns = min(near_square(n) if columns is None else _positive(columns, "columns"), n)
    rows = -(-n // columns)
    factor = _auto_scale(columns, height, width) if scale == "auto" else _positive(scale, "scale")
    tile_w, tile_h = width * factor, height * factor
    gap = max(2, min(8, tile_w // 16)) if pad is None else pad

    texts = [drawable(c) for c in (captions or [])][:n]
    face = font(max(10, min(16, tile_w // 8)))
    lines = [wrap_text(text, face, tile_w, CAPTION_LINES) for text in texts]
    line_h = _line_height(face)
    below = max((len(own) for own in lines), default=0) * line_h + (6 if texts else 0)

    page_w = columns * (tile_w + gap) + gap
    title_face = font(18)
    heading = wrap_text(drawable(title), title_face, max(page_w - 2 * gap, 200), 3) if title else []
    above = len(heading) * _line_height(title_face) + 8 if heading else 0
    page_w = max([page_w, *(text_width(line, title_face) + 2 * gap for line in heading)])
    page_h = rows * (tile_h + below + gap) + gap + above
    if page_w * page_h > LARGEST:
        raise UsageError(
            f"A grid of {n} pictures would be {page_w} x {page_h} pixels: show fewer, or write them to a .npy file."
        )

    page: Pixels = np.full((page_h, page_w, channels), PAGE, dtype=np.uint8)
    for i in range(n):
        top, left = _corner(i, columns, tile_w, tile_h + below, gap, above)
        page[top : top + tile_h, left : left + tile_w] = enlarge(pixels[i], factor)
    picture = Image.fromarray(page[:, :, 0] if channels == 1 else page)
    place = Sheet(
        n, columns, height, width, factor, gap, below, above, [str(c) for c in captions or []][:n], title or ""
    )
    picture.info[KEY] = place.to_text()

    pen = ImageDraw.Draw(picture)
    ink: Any = INK if channels == 1 else (INK, INK, INK)
    for number, line in enumerate(heading):
        pen.text((gap, gap + number * _line_height(title_face)), line, fill=ink, font=title_face)
    for i, own in enumerate(lines):
        top, left = _corner(i, columns, tile_w, tile_h + below, gap, above)
        for number, line in enumerate(own):
            at = left + (tile_w - text_width(line, face)) // 2
            pen.text((at, top + tile_h + 2 + number * line_h), line, fill=ink, font=face)
    return picture


@dataclass(frozen=True)
class Sheet:
    """How a grid is laid out, so that its images can be cut out of it again: kept in the PNG itself.

    n images of (height, width), each pixel `scale` times enlarged, `columns` in a row, `gap` between; below each row are
    `below` pixels of captions, above all `above` of a title.
    """

    n: int
    columns: int
    height: int
    width: int
    scale: int
    gap: int
    below: int
    above: int
    captions: Sequence[str] = ()
    title: str = ""

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    def cut(self, page: Pixels) -> Pixels:
        """The images, uint8 (n, height, width, C), of a page (H, W, C) of that layout."""
        tile_w, tile_h = self.width * self.scale, self.height * self.scale
        parts = []
        for i in range(self.n):
            top, left = _corner(i, self.columns, tile_w, tile_h + self.below, self.gap, self.above)
            parts.append(page[top : top + tile_h : self.scale, left : left + tile_w : self.scale])
        return np.stack(parts)


def read_sheet(text: str, height: int, width: int) -> Sheet | None:
    """The layout that the text in the PNG of a grid of (height, width) says it has; None where it says nothing, or what
    cannot be."""
    try:
        found = Sheet(**json.loads(text))
        whole = (found.n, found.columns, found.height, found.width, found.scale, found.gap, found.below, found.above)
        if any(type(value) is not int or value < 0 for value in whole) or min(whole[:5]) < 1:
            return None
        last_row = (found.n - 1) // found.columns
        across = min(found.columns, found.n)
        right = found.gap + across * (found.width * found.scale + found.gap)
        cell = found.height * found.scale + found.below + found.gap
        if right > width or found.above + found.gap + (last_row + 1) * cell > height:
            return None
        captions = [str(c) for c in found.captions] if isinstance(found.captions, list) else []
        return replace(found, captions=captions[: found.n], title=str(found.title))
    except (ValueError, TypeError, RecursionError):
        return None


def enlarge(image: Pixels, factor: int) -> Pixels:
    """An image (H, W, C) with every pixel repeated `factor` times each way."""
    return image if factor == 1 else image.repeat(factor, axis=0).repeat(factor, axis=1)


def write_png(image: Image.Image, target: Path | IO[bytes]) -> None:
    """A PNG, with the layout of a grid in it."""
    texts = PngInfo()
    if KEY in image.info:
        texts.add_text(KEY, image.info[KEY])
    image.save(target, "PNG", optimize=False, pnginfo=texts)


def save_png(image: Image.Image, path: Path | str) -> Path:
    """Write a PNG whole: beside, flushed, renamed. `GentoolError` in one sentence where the disk refuses."""
    path = Path(path)
    data = io.BytesIO()
    write_png(image, data)
    replace_file(path, data.getvalue())
    return path


def _auto_scale(columns: int, height: int, width: int) -> int:
    """A comfortable tile, then as many pixels as the narrowest page wants, never more than the widest allows."""
    wanted = max(round(COMFORTABLE / max(width, height)), -(-NARROWEST // (columns * width)))
    allowed = (WIDEST - 4 * (columns + 1)) // (columns * width)
    tall = 3 * WIDEST // height  # one narrow column of tall images
    return max(1, min(wanted, allowed, tall))


def _corner(i: int, columns: int, tile_w: int, cell_h: int, gap: int, above: int) -> tuple[int, int]:
    row, column = divmod(i, columns)
    return above + gap + row * (cell_h + gap), gap + column * (tile_w + gap)


def _line_height(face: Any) -> int:
    box = face.getbbox("Ág|")
    return int(box[3] - min(box[1], 0)) + 2


def _positive(value: int, what: str) -> int:
    if value < 1:
        raise UsageError(f"A grid's {what} is at least 1, not {value}.")
    return value


__all__ = ["Sheet", "enlarge", "fit_text", "make_grid", "read_sheet", "save_png", "write_png"]
