"""A table of any number of rows: only the lines on the screen are ever made, and only those that changed drawn again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.color import Color
from textual.events import Click, MouseMove
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gentool.show.text import cell_width, clip, safe_text
from gentool.tui.page import binding
from gentool.tui.theme import curve_colors

T = TypeVar("T")
Piece = tuple[str, str]  # text, style: "", a component class without "grid--", or "curve0" and so on
Cell = str | Piece | Sequence[Piece]
GAP = 2


@dataclass(frozen=True)
class Column:
    """A column of `width` cells or more; `grow` is its share of the room that is left, up to `most`. Where there is too
    little room, columns of a high `priority` go first (0 never goes)."""

    key: str
    title: str
    width: int
    grow: int = 0
    most: int = 1000
    right: bool = False
    priority: int = 0
    sorts: bool = True


class Grid(ScrollView, Generic[T], can_focus=True, inherit_bindings=False):
    """Rows under a heading. `cell(row, column key, width)` gives what stands in a cell, `key(row)` what the row is."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--head", "grid--text", "grid--soft", "grid--strong", "grid--good", "grid--bad", "grid--warn", "grid--live",
        "grid--mark", "grid--cursor", "grid--hover",
    }  # fmt: skip
    DEFAULT_CSS = """
    Grid { width: 1fr; height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; scrollbar-gutter: auto; }
    Grid > .grid--head { color: $soft; }
    Grid > .grid--text { color: $foreground; }
    Grid > .grid--soft { color: $soft; }
    Grid > .grid--strong { color: $foreground; text-style: bold; }
    Grid > .grid--good { color: $good; }
    Grid > .grid--bad { color: $bad; }
    Grid > .grid--warn { color: $warn; }
    Grid > .grid--live { color: $live; }
    Grid > .grid--mark { color: $accent; }
    Grid > .grid--cursor { background: $cursor; }
    Grid > .grid--hover { background: $block-hover-background; }
    Grid:nocolor > .grid--cursor { text-style: reverse; }
    Grid:ansi > .grid--cursor { background: ansi_blue; color: ansi_bright_white; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("down,j", "move(1)", "Down"),
        binding("up,k", "move(-1)", "Up"),
        binding("pagedown,ctrl+d", "page(1)", "Page down"),
        binding("pageup,ctrl+u", "page(-1)", "Page up"),
        binding("home,g", "edge(-1)", "To the top"),
        binding("end,G", "edge(1)", "To the bottom"),
        binding("enter,l", "choose", "Open"),
    ]
    ALLOW_SELECT = False
    cursor: reactive[int] = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, grid: Grid[Any], row: Any) -> None:
            super().__init__()
            self.grid, self.row = grid, row

        @property
        def control(self) -> Grid[Any]:
            return self.grid

    class Chosen(Moved):
        """A row is to be opened: enter, or a second click."""

    class Heading(Message):
        """A column's heading was clicked."""

        def __init__(self, grid: Grid[Any], column: Column) -> None:
            super().__init__()
            self.grid, self.column = grid, column

    def __init__(
        self,
        columns: Sequence[Column],
        cell: Callable[[T, str, int], Cell],
        key: Callable[[T], str],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.cell, self.key = cell, key
        self.rows: list[T] = []
        self.top = 1 if any(column.title for column in columns) else 0  # lines of the heading
        self.sorted_by = ""  # a column's key, with a - where it falls
        self._index: dict[str, int] = {}
        self._hover = -1
        self._laid: tuple[int, list[tuple[Column, int]]] = (-1, [])

    # -- rows -------------------------------------------------------------------------------------------------------

    @property
    def row(self) -> T | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    def set_rows(self, rows: Sequence[T]) -> None:
        """Show these rows; the cursor stays on the row it was on, wherever that went."""
        here = self.key(self.rows[self.cursor]) if self.row is not None else None
        at_top = self.cursor == 0
        self.rows = list(rows)
        self._index = {self.key(row): i for i, row in enumerate(self.rows)}
        found = self._index.get(here, None) if here is not None and not at_top else None
        size = Size(self.size.width, len(self.rows) + self.top)
        if size != self.virtual_size:
            self.virtual_size = size
        at = found if found is not None else min(self.cursor, max(len(self.rows) - 1, 0))
        self.set_reactive(Grid.cursor, at)
        self._reveal()
        self.refresh()
        self.post_message(self.Moved(self, self.row))

    def redraw(self, keys: Collection[str]) -> None:
        """Draw the rows of these keys again, those that are on the screen."""
        first = round(self.scroll_y)
        last = first + self.size.height - self.top
        if len(keys) > self.size.height:
            self.refresh()
            return
        for key in keys:
            i = self._index.get(key)
            if i is not None and first <= i < last:
                self.refresh(Region(0, i - first + self.top, self.size.width, 1))

    def index_of(self, key: str) -> int | None:
        return self._index.get(key)

    def go_to(self, key: str) -> bool:
        """Put the cursor on a row."""
        i = self._index.get(key)
        if i is not None:
            self.cursor = i
        return i is not None

    # -- the cursor -------------------------------------------------------------------------------------------------

    def watch_cursor(self, old: int, new: int) -> None:
        self._line(old)
        self._line(new)
        self._reveal()
        self.post_message(self.Moved(self, self.row))

    def validate_cursor(self, value: int) -> int:
        return max(0, min(value, len(self.rows) - 1))

    def _line(self, i: int) -> None:
        y = i - round(self.scroll_y) + self.top
        if self.top <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _reveal(self) -> None:
        height = max(self.size.height - self.top, 1)
        first = round(self.scroll_y)
        if self.cursor < first:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= first + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def action_move(self, by: int) -> None:
        self.cursor += by

    def action_page(self, by: int) -> None:
        self.cursor += by * max(self.size.height - 2, 1)

    def action_edge(self, side: int) -> None:
        self.cursor = 0 if side < 0 else len(self.rows) - 1

    def action_choose(self) -> None:
        if self.row is not None:
            self.post_message(self.Chosen(self, self.row))

    # -- the mouse --------------------------------------------------------------------------------------------------

    @property
    def wide(self) -> int:
        """Cells of a line, without the scroll bar."""
        return self.scrollable_content_region.width

    def on_click(self, event: Click) -> None:
        self.focus()
        if event.y < self.top:
            x = 0
            for column, width in self._layout(self.wide):
                if x <= event.x < x + width + GAP and column.sorts:
                    self.post_message(self.Heading(self, column))
                x += width + GAP
            return
        i = event.y - self.top + round(self.scroll_y)
        if i < len(self.rows):
            again = i == self.cursor and event.chain >= 2
            self.cursor = i
            if again:
                self.action_choose()

    def on_mouse_move(self, event: MouseMove) -> None:
        self._hovered(event.y - self.top + round(self.scroll_y) if event.y >= self.top else -1)

    def on_leave(self) -> None:
        self._hovered(-1)

    def _hovered(self, i: int) -> None:
        if i != self._hover:
            old, self._hover = self._hover, i
            self._line(old)
            self._line(i)

    # -- drawing ----------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.rows) + self.top)
        self._reveal()

    def set_columns(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self._laid = (-1, [])
        self.refresh()

    def _layout(self, width: int) -> list[tuple[Column, int]]:
        if self._laid[0] == width:
            return self._laid[1]
        kept = list(self.columns)

        def taken() -> int:
            return sum(column.width for column in kept) + GAP * (len(kept) - 1)

        while taken() > width and any(column.priority for column in kept):
            kept.remove(max(kept, key=lambda column: column.priority))
        widths = {column.key: column.width for column in kept}
        room = width - taken()
        growing = [column for column in kept if column.grow]
        while room > 0 and growing:
            shares = sum(column.grow for column in growing)
            spent = 0
            for column in growing:
                more = min(max(1, room * column.grow // shares), column.most - widths[column.key], room - spent)
                widths[column.key] += more
                spent += more
            room -= spent
            growing = [column for column in growing if widths[column.key] < column.most]
            if not spent:
                break
        if room < 0 and kept:  # the first may be cut at last
            widest = max(kept, key=lambda column: widths[column.key])
            widths[widest.key] = max(4, widths[widest.key] + room)
        laid = [(column, widths[column.key]) for column in kept]
        self._laid = (width, laid)
        return laid

    def render_line(self, y: int) -> Strip:
        width = self.wide
        base = self.rich_style
        if y < self.top:
            return self._heading(width, base)
        i = y - self.top + round(self.scroll_y)
        if i >= len(self.rows):
            return Strip.blank(width, base)
        over: Style | None = None
        if i == self.cursor and (self.has_focus or self.screen.focused is None):
            over = self.get_component_rich_style("grid--cursor", partial=True)
        elif i == self.cursor or i == self._hover:
            over = self.get_component_rich_style("grid--hover", partial=True)
        segments: list[Segment] = []
        cells = [
            (column, wide, _pieces(self.cell(self.rows[i], column.key, wide))) for column, wide in self._layout(width)
        ]
        while cells:
            column, wide, pieces = cells.pop(0)
            while cells and not column.right and not any(text for text, _ in cells[0][2]):
                wide += GAP + cells.pop(0)[1]  # over the empty cells beside it
            if segments:
                segments.append(Segment(" " * GAP, base))
            self._cell(segments, pieces, wide, column.right, base)
        strip = Strip(segments).adjust_cell_length(width, base)
        return Strip(Segment.apply_style(strip, post_style=over), width) if over else strip

    def _cell(self, segments: list[Segment], pieces: Sequence[Piece], wide: int, right: bool, base: Style) -> None:
        made: list[Segment] = []
        used = 0
        for text, style in pieces:
            shown = clip(safe_text(text), wide - used)
            used += cell_width(shown)
            made.append(Segment(shown, self._style(style, base)))
            if used >= wide:
                break
        blank = Segment(" " * (wide - used), base)
        segments.extend([blank, *made] if right else [*made, blank])

    def _style(self, name: str, base: Style) -> Style:
        if name.startswith("curve"):  # a colour of a plot's curves
            colors = curve_colors(self.app.current_theme)
            return base + Style.from_color(Color.parse(colors[int(name[5:]) % len(colors)]).rich_color)
        return self.get_component_rich_style(f"grid--{name}") if name else base

    def _heading(self, width: int, base: Style) -> Strip:
        style = self.get_component_rich_style("grid--head")
        segments: list[Segment] = []
        for n, (column, wide) in enumerate(self._layout(width)):
            if n:
                segments.append(Segment(" " * GAP, base))
            text = column.title
            if self.sorted_by.removeprefix("-") == column.key:
                text += " ▼" if self.sorted_by.startswith("-") else " ▲"
            text = clip(text, wide)
            space = " " * (wide - cell_width(text))
            segments.append(Segment(space + text if column.right else text + space, style))
        return Strip(segments).adjust_cell_length(width, base)


def _pieces(cell: Cell) -> Sequence[Piece]:
    """What stands in a cell, in pieces."""
    if isinstance(cell, str):
        return ((cell, "text"),)
    if cell and isinstance(cell[0], str):
        return (cell,)  # type: ignore[return-value]
    return cell  # type: ignore[return-value]
