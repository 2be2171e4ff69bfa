"""Nothing that a file holds may act on a terminal."""

import io
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gentool.show.text import cell_width, clip, pad, rich_text, safe_text, write

BIDI = [chr(c) for c in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
anything = st.text(st.characters(), max_size=60)  # lone surrogates included


def acts(char: str) -> bool:
    """Judged by Unicode's own tables, apart from the expression under test."""
    return (
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        or char in BIDI
        or unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    )


@given(anything)
def test_nothing_left_acts(text):
    safe = safe_text(text)
    assert not any(acts(char) for char in safe)
    safe.encode("utf-8")


@given(anything)
def test_lines_are_kept_only_when_asked(text):
    safe = safe_text(text, keep_newlines=True)
    assert not any(acts(char) for char in safe if char not in "\n\t")
    assert safe.count("\n") == text.count("\n")
    assert safe.count("\t") == text.count("\t")


@given(anything)
def test_twice_is_once(text):
    assert safe_text(safe_text(text)) == safe_text(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40))
def test_ordinary_text_is_untouched(text):
    assert safe_text(text) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\x7f\r\nb", "a\\x7f\\r\\nb"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("[bold]x[/]", "[bold]x[/]"),
        (3.5, "3.5"),
    ],
)
def test_escapes(raw, shown):
    assert safe_text(raw) == shown


def test_rich_parses_no_markup():
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=60, force_terminal=True, color_system="truecolor")
    console.print(rich_text("[red]a[/red] [link=http://x]b :smile: \x1b[31m"))
    assert out.getvalue().strip() == "[red]a[/red] [link=http://x]b :smile: \\x1b[31m"


@given(anything.map(safe_text), st.integers(0, 30))
def test_clip_fits(text, width):
    cut = clip(text, width)
    assert cell_width(cut) <= width
    assert cut == text or (cell_width(text) > width and (width == 0 or cut.endswith("…")))
    assert cell_width(pad(cut, width)) == width


def test_wide_characters_take_two_cells():
    assert cell_width("ab") == 2
    assert cell_width("中文") == 4
    assert cell_width("e\u0301") == 1
    assert clip("中文字", 5) == "中文…"


def test_a_poor_encoding_does_not_fail():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write("loss ▄ é\n", stream)
    assert raw.getvalue() == b"loss \\u2584 \\xe9\n"


def test_the_module_is_light():
    code = (
        "import sys; import gentool.show.text as t; t.safe_text('x'); "
        "bad = {'rich', 'PIL', 'numpy', 'torch', 'textual', 'pydantic'} & set(sys.modules); sys.exit(bool(bad))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
