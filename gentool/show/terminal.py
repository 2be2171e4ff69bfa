"""Pictures in the terminal: half cells by rich-pixels, shades where there is no colour, sixel and kitty as an extra.

A pipe never gets an escape code. The PNG on disk is the result; this is talk for whoever sits at the terminal.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from gentool.errors import UsageError, did_you_mean
from gentool.show.text import clip, safe_text, speaks_unicode, write

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    from gentool.show.pixels import Pixels

MODES = ("auto", "half", "sixel", "kitty", "off")
WIDTH, LINES = 80, 40  # of a terminal that does not say; lines that a picture may take
LEGIBLE = 14  # pixels a side under which an image is no longer readable: then fewer are shown
LARGE = 56  # pixels a side up to which small images grow
SHADES, ASCII_SHADES = " ░▒▓█", " .:-=+*#%@"
_GAP, _GREY = 1, 24  # between images: one cell across, one line (two pixels) down; a dark grey

ColorSystem = Literal["256", "truecolor"]


# -- what the terminal can do ------------------------------------------------------------------------------------------


def check_mode(mode: str) -> str:
    """A value of `--images`, refused at once where it is unknown or its extra is not installed."""
    if mode not in MODES:
        raise UsageError(f"--images is one of {', '.join(MODES)}.{did_you_mean(safe_text(mode), MODES)}")
    if mode in ("sixel", "kitty"):
        import importlib.util

        if importlib.util.find_spec("textual_image") is None:
            raise UsageError(f"--images {mode} needs an extra: pip install 'gentool[images]' (or use --images half).")
    return str(mode)


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream is a terminal; a closed or odd one is not."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):
        return False


def picture_stream() -> IO[str] | None:
    """Where talk in pictures goes: stderr if it is a terminal, else stdout if that is one, else nowhere."""
    return next((stream for stream in (sys.stderr, sys.stdout) if is_terminal(stream)), None)


def terminal_size(stream: IO[str] | None, env: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """(columns, lines) of a stream's terminal; COLUMNS and LINES first, 80 and 24 where nobody knows (or says 0)."""
    columns = lines = 0
    with contextlib.suppress(OSError, ValueError, AttributeError):
        columns, lines = os.get_terminal_size(stream.fileno()) if stream is not None else (0, 0)
    given = [env.get(name, "") for name in ("COLUMNS", "LINES")]
    own = [int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0 for text in given]
    return own[0] or columns or WIDTH, own[1] or lines or 24


def color_depth(env: Mapping[str, str] = os.environ) -> ColorSystem | None:
    """'truecolor', '256', or None where colours are unwanted (NO_COLOR), unknown, or too few to show a picture."""
    term = env.get("TERM", "").lower()
    if env.get("NO_COLOR") or term in ("", "dumb", "unknown"):
        return None
    named = env.get("COLORTERM", "").lower()
    if named in ("truecolor", "24bit") or term.endswith(("-direct", "-kitty")) or env.get("WT_SESSION"):
        return "truecolor"
    if "256color" in term or named or in_tmux(env):
        return "256"
    return None


def in_tmux(env: Mapping[str, str] = os.environ) -> bool:
    """Whether tmux or screen stands between us and the terminal."""
    return bool(env.get("TMUX")) or env.get("TERM", "").startswith(("screen", "tmux"))


# -- layout ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How many images are shown in how many columns, each of (height, width) pixels; two pixels are one line."""

    columns: int
    shown: int
    height: int
    width: int


def fit_columns(
    n: int,
    height: int,
    width: int,
    *,
    columns: int | None = None,
    max_width: int = WIDTH - 1,
    max_lines: int = LINES,
    below: int = 0,
    largest: int = LARGE,
    smooth: bool = False,
) -> Layout:
    """The layout in which n images of (height, width) are largest within `max_width` cells and `max_lines` lines.

    Small images grow by whole factors, large ones shrink; where even the smallest legible size is too large for all,
    fewer are shown. `columns` fixes the columns (of a view whose rows mean something): its rows are cut if need be.
    below: lines left free under each image; largest: pixels a side up to which small images grow; smooth: by any factor.
    """
    n, max_width = max(n, 1), max(max_width, 1)
    readable = min(LEGIBLE, width)
    found: list[tuple[tuple[bool, int, int, int], Layout]] = []
    for across in [min(columns, n)] if columns else range(1, min(n, max_width) + 1):
        gap = _GAP if (max_width + _GAP) // across >= 8 else 0
        room = max(1, (max_width + gap) // across - gap)
        rows = -(-n // across)
        tall = max((2 * max_lines + 2 * gap) // rows - 2 * (gap + below), 1)
        side = _size(height, width, room, tall - tall % 2, largest, smooth)
        shown = n
        if side[1] < readable:  # not all fit: as many rows as there is room for
            side = _size(height, width, room, min(-(-height * readable // width), 2 * max_lines), largest, smooth)
            lines = _even(side[0]) // 2
            shown = min(n, max(1, (max_lines + gap) // (lines + gap + below)) * across)
        found.append(((side[1] >= readable, shown, side[0] * side[1], -rows), Layout(across, shown, *side)))
    return max(found, key=lambda one: one[0])[1]


def _size(height: int, width: int, room: int, tall: int, largest: int, smooth: bool) -> tuple[int, int]:
    """The largest (height, width) in that room: a whole multiple of small images (unless smooth), a fraction of large ones."""
    if smooth:
        share = min(room / width, tall / height, max(1, largest / max(height, width)))
        return max(1, int(height * share)), max(1, int(width * share))
    factor = min(room // width, tall // height, max(1, largest // max(height, width)))
    if factor >= 1:
        return height * factor, width * factor
    shrink = min(room / width, tall / height)
    return max(1, int(height * shrink)), max(1, int(width * shrink))


def _even(value: int) -> int:
    return value + value % 2


def lay_out(pixels: Pixels, layout: Layout) -> Image:
    """The first images of (n, H, W, C) on one dark page, shrunk by area or grown by whole factors."""
    from PIL import Image

    channels = pixels.shape[3]
    rows = -(-layout.shown // layout.columns)
    gap = _GAP if layout.width >= 7 else 0
    tile = _even(layout.height)
    page = Image.new(
        "RGB", (layout.columns * (layout.width + gap) - gap, rows * (tile + 2 * gap) - 2 * gap), (_GREY,) * 3
    )
    for i in range(layout.shown):
        image = Image.fromarray(_resize(pixels[i], layout.height, layout.width).repeat(3 // channels, axis=2))
        row, column = divmod(i, layout.columns)
        page.paste(image, (column * (layout.width + gap), row * (tile + 2 * gap)))
    return page


def _resize(image: Pixels, height: int, width: int) -> Pixels:
    from gentool.show.pixels import shrink

    if height >= image.shape[0] and width >= image.shape[1]:
        return image.repeat(height // image.shape[0], axis=0).repeat(width // image.shape[1], axis=1)
    return shrink(image, height, width)


# -- drawing -----------------------------------------------------------------------------------------------------------


def half_cells(image: Image, depth: ColorSystem) -> str:
    """A picture as text: each cell two pixels, one above the other. One cell a pixel across."""
    from PIL import Image
    from rich.console import Console
    from rich.segment import Segment, Segments
    from rich_pixels import Pixels

    if image.height % 2:  # rich-pixels would stretch it by a pixel
        page = Image.new("RGB", (image.width, image.height + 1))
        page.paste(image, (0, 0))
        image = page
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system=depth, width=image.width + 1, no_color=False,
        legacy_windows=False, _environ={},
    )  # fmt: skip
    cells = Segment.simplify(console.render(Pixels.from_image(image)))
    console.print(Segments(cells), end="", soft_wrap=True)
    return cast(io.StringIO, console.file).getvalue()


def shade_cells(image: Image, *, unicode: bool = True) -> str:
    """A picture as text without any code: a shade a cell, each cell two pixels, light on dark."""
    from PIL import Image

    grey = image.convert("L").resize((image.width, max(1, (image.height + 1) // 2)), Image.Resampling.BOX)
    ramp = SHADES if unicode else ASCII_SHADES
    data = grey.tobytes()
    lines = []
    for row in range(grey.height):
        values = data[row * grey.width : (row + 1) * grey.width]
        lines.append("".join(ramp[value * len(ramp) // 256] for value in values).rstrip())
    return "\n".join(lines) + "\n"


def show_image(
    picture: Image | Tensor | NDArray[Any],
    mode: str = "auto",
    stream: IO[str] | None = None,
    max_width: int | None = None,
    *,
    columns: int | None = None,
    title: str = "",
) -> int:
    """Show a picture, or images (n, C, H, W) in [-1, 1] or uint8, in the terminal; gives how many images were shown.

    `mode` is a value of `--images`: "auto" draws half cells (or shades, where there are no colours) on a terminal and
    nothing elsewhere; "half", "sixel" and "kitty" insist, but a stream that is no terminal gets plain shades and never an
    escape code. `stream`: None for stderr, or stdout where only that is a terminal. `columns` keeps the columns of a view.
    Images are shrunk or grown to fit; where not all fit legibly, the first are shown and a line says so.
    """
    mode = str(mode)
    if mode not in MODES:
        check_mode(mode)
    if mode == "off":
        return 0
    target = stream or picture_stream()
    if target is None:
        if mode == "auto":
            return 0
        target = sys.stderr
    terminal = is_terminal(target)
    if mode == "auto" and not terminal:
        return 0
    if mode in ("sixel", "kitty"):
        mode = _protocol(mode, target)

    wide = min(terminal_size(target)[0] - 1, max_width or 10_000)
    page, shown, n = _page(picture, columns, max(wide, 1))
    text = safe_text(title)
    if shown < n:
        text = f"{text} (the first {shown} of {n})".strip()
    if text:
        write(clip(text, max(wide, 1)) + "\n", target)
    if mode in ("sixel", "kitty"):
        _show_protocol(picture, page, columns, shown, mode, target, wide)
        return shown
    depth = color_depth() if terminal else None
    if depth and speaks_unicode(target):
        write(half_cells(page, depth), target)
    else:
        write(shade_cells(page, unicode=speaks_unicode(target)), target)
    return shown


def _page(picture: Any, columns: int | None, wide: int) -> tuple[Image, int, int]:
    """(the picture at one pixel a cell across, how many images it shows, how many there are)."""
    import numpy as np
    from PIL import Image

    from gentool.show.pixels import to_bytes

    if not isinstance(picture, Image.Image):
        pixels = to_bytes(picture)
        n, height, width, _ = pixels.shape
        layout = fit_columns(n, height, width, columns=columns, max_width=wide)
        return lay_out(pixels, layout), layout.shown, n
    image = np.asarray(picture.convert("RGB"))
    layout = fit_columns(1, *image.shape[:2], max_width=wide, max_lines=2 * LINES)
    return Image.fromarray(_resize(image, layout.height, layout.width)), 1, 1


# -- sixel and kitty ---------------------------------------------------------------------------------------------------


def _protocol(mode: str, stream: IO[str]) -> str:
    """`mode` where it can work, else "half", with a sentence that says why."""
    import importlib.util

    if not is_terminal(stream):
        return "half"
    if not is_terminal(sys.__stdout__):
        why = f"{mode} pictures need stdout to be the terminal"
    elif in_tmux():
        why = f"{mode} pictures do not get through tmux or screen"
    elif color_depth() is None:
        why = f"{mode} pictures need a terminal with colours"
    elif importlib.util.find_spec("textual_image") is None:
        why = f"{mode} pictures need an extra (pip install 'gentool[images]')"
    else:
        return mode
    print(f"{why}; half cells are shown instead.", file=sys.stderr)
    return "half"


def _show_protocol(
    picture: Any, page: Image, columns: int | None, shown: int, mode: str, stream: IO[str], wide: int
) -> None:
    """Draw through textual-image at the terminal's own pixels; half cells where it fails."""
    from PIL import Image
    from rich.console import Console

    from gentool.show.grid import make_grid

    image = picture if isinstance(picture, Image.Image) else make_grid(picture[:shown], columns=columns)
    if image.width < 400:  # a sixel is a pixel of the screen: small grids would be stamps
        factor = max(1, 400 // image.width)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    across, down = _cell_size()
    lines = max(1, terminal_size(stream)[1] - 3)  # taller than the screen, sixels would land on the wrong lines
    fitting = max(1, lines * down * image.width // (image.height * across))
    try:
        drawn = _renderable(mode)(image, width=min(wide, fitting, -(-image.width // across)), height="auto")
        stream.flush()
        console = Console(file=stream, force_terminal=True, width=max(wide, 1), color_system="truecolor")
        console.print(drawn)
    except Exception as error:  # whatever the extra does, the picture is only talk
        reason = safe_text(" ".join(str(error).split()))[:80] or type(error).__name__
        print(f"{mode} pictures failed here ({reason}); half cells are shown instead.", file=sys.stderr)
        depth = color_depth()
        write(half_cells(page, depth) if depth else shade_cells(page), stream)


def _cell_size() -> tuple[int, int]:
    """Pixels of a cell across and down, as the terminal has told its driver; those of a VT340 where it has not."""
    import struct

    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(sys.__stdout__.fileno(), termios.TIOCGWINSZ, bytes(8))  # type: ignore[union-attr]
    except (ImportError, OSError, ValueError, AttributeError):
        return 10, 20
    lines, columns, wide, tall = struct.unpack("HHHH", answer)
    across, down = wide // max(columns, 1), tall // max(lines, 1)
    return (across, down) if across and down else (10, 20)


def _renderable(mode: str) -> Any:
    """textual-image's class. Importing it asks the terminal questions and eats typed keys unless stdout seems closed; so
    does drawing, unless it believes that it has had the answer."""
    real = sys.__stdout__
    try:
        sys.__stdout__ = None  # type: ignore[misc]
        from textual_image import _terminal
        from textual_image.renderable import SixelImage, TGPImage
    finally:
        sys.__stdout__ = real  # type: ignore[misc]
    cached: Any = _terminal.get_cell_size
    cached._result = _terminal.CellSize(*_cell_size())
    return SixelImage if mode == "sixel" else TGPImage
