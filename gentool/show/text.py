"""Text from a file is text: nothing in a name, a caption or a sample may act on the terminal that shows it. Light."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# C0, DEL and C1 controls; marks that reorder what is read (Unicode TR 36, "bidirectional text spoofing"); line and
# paragraph separators; interlinear annotation, the byte order mark and invisible tag characters; lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_in_line(match: re.Match[str]) -> str:
    return match.group() if match.group() in "\n\t" else _escape(match)


def safe_text(text: object, keep_newlines: bool = False) -> str:
    r"""`text` with every character that could act on a terminal written out: ``\x1b``, ``\u202e``, ``\n``.

    Escaped are C0 and C1 controls, DEL, bidirectional controls, line separators, invisible tags and lone surrogates (so
    the result can always be encoded as UTF-8). `keep_newlines` leaves newlines and tabs as they are, for text of
    several lines. Anything that is not a string goes through ``str`` first. Escaping twice changes nothing more.
    """
    return _UNSAFE.sub(_escape_in_line if keep_newlines else _escape, text if isinstance(text, str) else str(text))


def rich_text(text: object, style: str = "") -> Text:
    """`text` for Rich, escaped, and never parsed as markup: ``[bold]`` stays ``[bold]``."""
    from rich.text import Text

    return Text(safe_text(text), style=style, no_wrap=True, overflow="ellipsis", end="")


def cell_width(text: str) -> int:
    """How many terminal cells a line takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(text: str, width: int) -> str:
    """`text` cut to `width` cells, the cut marked by an ellipsis."""
    if cell_width(text) <= width:
        return text
    if width <= 0:
        return ""
    kept, used = [], 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def pad(text: str, width: int, align: str = "left") -> str:
    """`text` filled with spaces to `width` cells ("left" or "right" aligned); longer text is left whole."""
    space = " " * max(0, width - cell_width(text))
    return space + text if align == "right" else text + space


def write(text: str, stream: IO[str] | None = None) -> None:
    """Write ready text; characters that the stream's encoding lacks are written out instead of failing."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    stream.write(text)
    stream.flush()


def speaks_unicode(stream: IO[str]) -> bool:
    """Whether block and box characters can be written to a stream."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
    return encoding.startswith("utf")


def class_names(words: Sequence[str]) -> list[str]:
    """Names that are safe to show, no longer than 100 characters, and each unlike the others."""
    names: dict[str, None] = {}
    for word in words:
        plain = safe_text(word)[:100]
        name, n = plain, 2
        while name in names:
            name, n = f"{plain} ({n})", n + 1
        names[name] = None
    return list(names)
