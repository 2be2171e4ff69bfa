"""What is known of something: names on the left, values on the right, under headings."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from gentool.show.text import cell_width, pad, safe_text

Fact = tuple[str, object] | tuple[str, object, str]  # name, value, style of the value


def facts_content(facts: Sequence[Fact], *, width: int = 0) -> Content:
    """Aligned lines; `width` is that of the names (0: as wide as they are). Text is made safe and is never markup."""
    wide = width or max((cell_width(safe_text(fact[0])) for fact in facts), default=0)
    lines = []
    for fact in facts:
        style = fact[2] if len(fact) > 2 else ""
        name, value = pad(safe_text(fact[0]), wide), safe_text(fact[1])
        lines.append(Content.assemble((name, "$soft"), "  ", (value, style) if style else value))
    return Content("\n").join(lines)


def heading(text: str) -> Content:
    """A heading of a section."""
    return Content.styled(safe_text(text), "bold $primary")
