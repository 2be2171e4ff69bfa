"""Drawn text in the terminal: streamed as it grows, or several one after the other. Always made safe."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO

from gentool.show.terminal import is_terminal, terminal_size
from gentool.show.text import clip, safe_text, speaks_unicode, write

UNFINISHED = "\ufffd"  # the first bytes of a character whose last are still to come


class TextStream:
    """One text that grows: `show` writes what is new of it."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.stream = stream or sys.stdout
        self.shown = ""

    def show(self, text: str) -> None:
        """The text so far. What does not go on from what was written waits for `end`."""
        text = text.rstrip(UNFINISHED)
        if len(text) > len(self.shown) and text.startswith(self.shown):
            write(safe_text(text[len(self.shown) :], keep_newlines=True), self.stream)
            self.shown = text

    def end(self, text: str) -> None:
        """The rest of the finished text, and a newline where it has none; a text that became another is written anew."""
        if not text.startswith(self.shown):
            write("\n", self.stream)
            self.shown = ""
        rest = text[len(self.shown) :]
        write(safe_text(rest, keep_newlines=True) + ("" if text.endswith("\n") else "\n"), self.stream)
        self.shown = ""


def print_texts(
    texts: Sequence[str], captions: Sequence[str] | None = None, *, first: bool = True, stream: IO[str] | None = None
) -> None:
    """Texts one after the other: a dim ruler (with its caption) above each on a terminal, an empty line between two in a
    pipe (none where each is but a line). first: whether none was printed before these."""
    target = stream or sys.stdout
    apart = several_lines(texts)
    rulers = is_terminal(target) and (len(texts) > 1 or captions is not None or not first)
    for number, text in enumerate(texts):
        if rulers:
            write(_ruler(captions[number] if captions else "", target), target)
        elif apart and (number or not first):
            write("\n", target)
        write(safe_text(text, keep_newlines=True) + ("" if text.endswith("\n") else "\n"), target)


def several_lines(texts: Sequence[str]) -> bool:
    """Whether any text has more than one line, so that something has to stand between two."""
    return any("\n" in text.removesuffix("\n") for text in texts)


def _ruler(caption: str, stream: IO[str]) -> str:
    width = max(8, min(80, terminal_size(stream)[0] - 1))
    line = "─" if speaks_unicode(stream) else "-"
    words = clip(f" {' '.join(safe_text(caption).split())} ", width - 4) if caption else ""
    text = line * 2 + words + line * (width - 2 - len(words))
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") in (None, "", "dumb")
    return text + "\n" if plain else f"\x1b[2m{text}\x1b[0m\n"


def excerpt(text: str, lines: int, width: int) -> str:
    """The first lines of a text, each cut to `width` cells, the cut marked: for talk, never for results."""
    every = safe_text(text, keep_newlines=True).expandtabs().split("\n")
    kept = [clip(line, width) for line in every[:lines]]
    return "\n".join([*kept, "…"] if len(every) > lines else kept)
