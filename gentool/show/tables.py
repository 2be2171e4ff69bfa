"""Tables: by Rich on a terminal, never wider than it; plain aligned text in a pipe; JSON without NaN."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import IO, Any, Literal

from gentool.show import units
from gentool.show.terminal import color_depth, is_terminal, terminal_size
from gentool.show.text import cell_width, clip, pad, rich_text, safe_text, write

Align = Literal["left", "right"]
Row = Mapping[str, Any]
_GAP = 2  # cells between columns


@dataclass(frozen=True)
class Column:
    """One column: the `key` of its values in a row, and how they are shown.

    When a terminal is too narrow, columns of low `priority` are dropped first (0 is never dropped), and then the columns
    that may `shrink` are cut, down to `least` cells. `style` gives a Rich style for a value.
    """

    key: str
    title: str = ""
    align: Align | None = None  # None: numbers right, text left
    priority: int = 0
    shrink: bool = False
    least: int = 8
    show: Callable[[Any], str] = units.number
    style: Callable[[Any], str] | None = None

    @property
    def heading(self) -> str:
        return safe_text(self.title or self.key)


def print_table(
    rows: Sequence[Row],
    columns: Sequence[Column | str] | None = None,
    *,
    stream: IO[str] | None = None,
    title: str = "",
) -> None:
    """Print rows on stdout (or `stream`): cut to a terminal's width, whole in a pipe. Text in cells is escaped.

    `columns`: None takes the keys of the rows in the order in which they first come; the first column is never dropped.
    """
    target = stream or sys.stdout
    if not is_terminal(target):
        write(table_text(rows, columns, title=title), target)
        return
    wide = max(terminal_size(target)[0] - 1, 1)
    write(_rich_table(rows, columns, wide, title), target)


def table_text(
    rows: Sequence[Row], columns: Sequence[Column | str] | None = None, *, title: str = "", width: int | None = None
) -> str:
    """Rows as aligned lines of plain text, cut to `width` cells if one is given."""
    chosen, cells, widths = _fit(rows, _columns(rows, columns), width)
    if not chosen:
        return ""
    lines = [safe_text(title)] if title else []
    for texts in [[column.heading for column in chosen], *cells]:
        line = (" " * _GAP).join(
            pad(clip(text, wide), wide, _align(column, rows))
            for text, wide, column in zip(texts, widths, chosen, strict=True)
        )
        lines.append(line.rstrip())
    return "".join(line + "\n" for line in lines)


def _rich_table(rows: Sequence[Row], columns: Sequence[Column | str] | None, width: int, title: str) -> str:
    from rich.console import Console
    from rich.table import Table

    chosen, cells, widths = _fit(rows, _columns(rows, columns), width)
    if not chosen:
        return ""
    depth = color_depth()
    table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for column, wide in zip(chosen, widths, strict=True):
        table.add_column(justify=_align(column, rows), width=wide, no_wrap=True, overflow="ellipsis")
    heading = "bold" if depth else ""
    table.add_row(*(rich_text(column.heading, heading) for column in chosen))
    for row, texts in zip(rows, cells, strict=True):
        painted = []
        for column, text in zip(chosen, texts, strict=True):
            style = column.style(row.get(column.key)) if column.style and depth else ""
            painted.append(rich_text(text, style))
        table.add_row(*painted)
    console = Console(
        file=io.StringIO(), width=width, force_terminal=depth is not None, no_color=depth is None,
        color_system=depth, legacy_windows=False, _environ={},
    )  # fmt: skip
    if title:
        console.print(rich_text(clip(safe_text(title), width), heading), end="\n")
    console.print(table)
    drawn: str = console.file.getvalue()  # type: ignore[attr-defined]
    return drawn


def _columns(rows: Sequence[Row], columns: Sequence[Column | str] | None) -> list[Column]:
    given = columns if columns is not None else list({key: None for row in rows for key in row})
    return [
        column if isinstance(column, Column) else Column(column, priority=i, shrink=True)
        for i, column in enumerate(given)
    ]


def _align(column: Column, rows: Sequence[Row]) -> Align:
    if column.align:
        return column.align
    values = [row.get(column.key) for row in rows]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return "right" if numbers and len(numbers) == sum(value is not None for value in values) else "left"


def _fit(
    rows: Sequence[Row], columns: list[Column], width: int | None
) -> tuple[list[Column], list[list[str]], list[int]]:
    """(the columns that stay, their texts by row, their widths)."""
    texts = {column.key: [safe_text(column.show(row.get(column.key))) for row in rows] for column in columns}
    full = {
        column.key: max([cell_width(column.heading), *map(cell_width, texts[column.key])], default=0)
        for column in columns
    }
    kept = list(columns)

    def least(column: Column) -> int:
        return min(full[column.key], column.least) if column.shrink else full[column.key]

    if width is not None:
        while len(kept) > 1 and sum(map(least, kept)) + _GAP * (len(kept) - 1) > width:
            last = max(kept, key=lambda column: (column.priority, kept.index(column)))
            if last.priority == 0:
                break
            kept.remove(last)
    widths = [full[column.key] for column in kept]
    if width is not None:
        room = width - _GAP * (len(kept) - 1)
        for limits in ([least(column) for column in kept], [1] * len(kept)):  # at last even what should not be cut
            while sum(widths) > room and (over := [i for i, wide in enumerate(widths) if wide > limits[i]]):
                widths[max(over, key=lambda i: widths[i])] -= 1
    return kept, [[texts[column.key][i] for column in kept] for i in range(len(rows))], widths


def pairs_text(pairs: Sequence[tuple[str, object]], *, width: int | None = None) -> str:
    """``name  value`` lines, the values aligned and cut to `width` cells if one is given."""
    wide = max((cell_width(safe_text(name)) for name, _ in pairs), default=0)
    lines = (f"{pad(safe_text(name), wide)}  {safe_text(value)}".rstrip() for name, value in pairs)
    return "".join((clip(line, width) if width else line) + "\n" for line in lines)


# -- JSON --------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value of plain JSON types: NaN and infinities become null, arrays lists, paths and dates text, sets sorted."""
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # arrays and tensors
        return plain(value.tolist())
    if isinstance(value, PurePath):
        return str(value)
    return str(value)


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON text in ASCII (so that no terminal acts on it), keys in the order in which they were given."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=True, allow_nan=False)
    return text.replace("\x7f", "\\u007f")


def print_json(value: Any, stream: IO[str] | None = None) -> None:
    """`to_json` on stdout."""
    write(to_json(value) + "\n", stream)
