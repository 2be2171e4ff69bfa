"""Text as it is drawn: streamed, several, cut for talk; nothing in it acts on the terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gentool.show.text import safe_text
from gentool.show.words import TextStream, excerpt, print_texts


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def streamed(parts: list[str], end: str) -> list[str]:
    """What stood on the stream after each part and after the end."""
    stream = io.StringIO()
    words = TextStream(stream)
    seen = []
    for part in parts:
        words.show(part)
        seen.append(stream.getvalue())
    words.end(end)
    return [*seen, stream.getvalue()]


def test_only_what_is_new_is_written() -> None:
    assert streamed(["a", "ab\n", "ab\n", "ab\ncd"], "ab\ncde") == ["a", "ab\n", "ab\n", "ab\ncd", "ab\ncde\n"]
    assert streamed([], "x\n") == ["x\n"]
    assert streamed([], "") == ["\n"]


def test_the_first_bytes_of_a_character_wait() -> None:
    assert streamed(["a\ufffd", "a\ufffd", "aé"], "aé\ufffd") == ["a", "a", "aé", "aé\ufffd\n"]


def test_a_text_that_became_another_is_written_anew() -> None:
    assert streamed(["abc", "abd"], "abde") == ["abc", "abc", "abc\nabde\n"]


@given(st.text(max_size=40), st.integers(0, 40))
def test_the_stream_ends_with_the_whole_safe_text(text: str, cut: int) -> None:
    last = streamed([text[:i] for i in range(0, cut, 3)], text)[-1]
    assert last == safe_text(text, keep_newlines=True) + ("" if text.endswith("\n") else "\n")
    assert not set(last) & set("\x1b\x07\r\x00\x9b\u202e")


def shown(stream: io.StringIO, *texts: list[str]) -> str:
    first = True
    for chunk in texts:
        print_texts(chunk, first=first, stream=stream)
        first = False
    return stream.getvalue()


def test_several_in_a_pipe() -> None:
    assert shown(io.StringIO(), ["one\x1b[2J", "two\n"]) == "one\\x1b[2J\ntwo\n"
    assert shown(io.StringIO(), ["a\nb", "c\n"], ["d\ne"]) == "a\nb\n\nc\n\nd\ne\n"
    assert shown(io.StringIO(), ["a\nb"]) == "a\nb\n"


def test_rulers_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    line = "-" * 19 + "\n"
    assert shown(Terminal(), ["a", "b"], ["c"]).replace("─", "-") == f"{line}a\n{line}b\n{line}c\n"
    assert shown(Terminal(), ["a"]) == "a\n"
    stream = Terminal()
    print_texts(["a"], ["what\x1b it is and more of it"], stream=stream)
    ruler = stream.getvalue().split("\n")[0]
    assert len(ruler) == 19
    assert ruler.startswith("── what\\x1b it")
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert shown(Terminal(), ["a", "b"]).startswith("\x1b[2m")


def test_an_excerpt_is_cut_both_ways() -> None:
    assert excerpt("abcdef\nx\ty\nz\nw", 2, 5) == "abcd…\nx   …\n…"
    assert excerpt("ab\x1b", 3, 20) == "ab\\x1b"
    assert excerpt("x" * 1_000_000, 3, 10) == "x" * 9 + "…"
