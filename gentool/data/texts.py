"""Texts: `pydocs` (embedded), `tinyshakespeare` (by name) and a user's own ``text:FILE``; and how text files are read."""

from __future__ import annotations

import functools
import hashlib
import importlib
import platform
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gentool.data.find import Where, files_of, open_regular
from gentool.data.known import TINYSHAKESPEARE
from gentool.data.text import TextSet
from gentool.errors import UsageError
from gentool.show.text import safe_text

TRAIN_SHARE = 0.9
LARGEST = 1 << 30


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """A regular file of bounded size; `UsageError` where it is none."""
    shown = safe_text(str(path))
    try:
        with open_regular(path) as stream:
            data = stream.read(largest + 1)
    except FileNotFoundError:
        raise UsageError(f"There is no file '{shown}'.") from None
    except OSError as error:
        raise UsageError(f"'{shown}' cannot be read: {error.strerror or error}.") from None
    if len(data) > largest:
        raise UsageError(f"'{shown}' is larger than {largest / 1e9:.1f} GB; train on a part of it.")
    return data


def decode(data: bytes, shown: str) -> str:
    """UTF-8 with any line ends and with or without a byte order mark, as text with ``\\n``."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"'{shown}' is not UTF-8: byte 0x{data[error.start]:02x} in line {line}; convert it, for example with "
            "`iconv -f latin1 -t utf-8`."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def cut(name: str, text: str, split: str, alphabet: str = "", extra: Mapping[str, Any] | None = None) -> TextSet:
    """The first 90 % for training, the last 10 % for validation and test."""
    at = int(TRAIN_SHARE * len(text))
    return TextSet(name, split, text[:at] if split == "train" else text[at:], alphabet, extra or {})


def own(argument: str, split: str, where: Where) -> TextSet:
    """``text:FILE``: one UTF-8 file. First 90 % training, last 10 % validation and test."""
    path = Path(argument).expanduser()
    text = decode(read_bytes(path), safe_text(argument))
    if not text:
        raise UsageError(f"The text file '{safe_text(argument)}' is empty; there is nothing to learn from.")
    return cut(f"text:{path.name}", text, split)


def tinyshakespeare(argument: str, split: str, where: Where) -> TextSet:
    """40,000 lines of Shakespeare, ASCII (Karpathy 2015). First 90 % training, last 10 % validation and test."""
    (path,) = files_of(TINYSHAKESPEARE, where).values()
    data = read_bytes(path, 1 << 24)
    ((file,),) = TINYSHAKESPEARE.layouts
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != file.checksum:
        raise UsageError(
            f"'{safe_text(str(path))}' is not tinyshakespeare (its checksum differs); name a text of your own as text:FILE."
        )
    return cut("tinyshakespeare", decode(data, "tinyshakespeare"), split)


# What typesetting adds to plain English.
_PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "--", "…": "...", "\t": " "})
_ASCII = "\n" + "".join(sorted(c for c in string.printable if c.isprintable()))


@functools.cache
def _topics() -> str:
    topics = importlib.import_module("pydoc_data.topics").topics
    text = "\n\n".join(topics[name].strip("\n") for name in sorted(topics)).translate(_PLAIN) + "\n"
    return "".join(filter(frozenset(_ASCII).__contains__, text))


def pydocs(argument: str, split: str, where: Where) -> TextSet:
    """The reference manual of Python in English, as `pydoc_data.topics` of the standard library has it, in ASCII.

    The text is that of the running Python: its version is in the `DataInfo`, and the fingerprint changes with it. The
    vocabulary, every printable ASCII character and the newline, does not. First 90 % training, last 10 % the rest.
    """
    return cut("pydocs", _topics(), split, _ASCII, {"python": platform.python_version()})
