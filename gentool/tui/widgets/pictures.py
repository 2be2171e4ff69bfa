"""Pictures in a panel: a grid as large as it fits, one of them chosen, or that one alone. Draws only what changed."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
from rich.style import Style
from textual.binding import BindingType
from textual.color import Color
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from gentool.show.pixels import Pixels
from gentool.show.terminal import Layout
from gentool.show.text import cell_width, clip, safe_text
from gentool.tui.page import binding
from gentool.tui.widgets.album import Album, frame, paint_boxes
from gentool.tui.widgets.cells import Label, Page, scaled

NARROW = 7  # cells a tile has at least where there is room for gaps, frames and words between


class Pictures(Widget, can_focus=True):
    """Pictures, of which one is chosen by the arrow keys or the mouse; enter shows it alone."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pictures--frame", "pictures--mark", "pictures--word", "pictures--empty"}
    DEFAULT_CSS = """
    Pictures { width: 1fr; height: 1fr; }
    Pictures > .pictures--frame { color: $primary; }
    Pictures > .pictures--mark { color: $accent; }
    Pictures > .pictures--word { color: $soft; }
    Pictures > .pictures--empty { color: $soft; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("left,h", "step(-1, 0)", "Left"),
        binding("right,l", "step(1, 0)", "Right"),
        binding("up,k", "step(0, -1)", "Up"),
        binding("down,j", "step(0, 1)", "Down"),
        binding("home,g", "edge(-1)", "First picture"),
        binding("end,G", "edge(1)", "Last picture"),
        binding("enter", "zoom", "Zoom", show=True),
        binding("escape", "leave", "All pictures"),
        binding("w", "whole", "In the terminal's own pixels"),
    ]
    ALLOW_SELECT = False
    chosen: reactive[int] = reactive(0, repaint=False)
    zoomed: reactive[bool] = reactive(False, repaint=False)
    threshold: reactive[float] = reactive(0.0, repaint=False)

    class Chosen(Message):
        """Another picture is chosen, or the same shown alone (or with the others again)."""

        def __init__(self, pictures: Pictures) -> None:
            super().__init__()
            self.pictures = pictures

        @property
        def control(self) -> Pictures:
            return self.pictures

    def __init__(self, empty: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.empty = empty
        self.album: Album | None = None
        self.marks: dict[int, str] = {}  # pictures that are marked, by a letter
        self._page: Page | None = None
        self._layout = Layout(1, 1, 1, 1)
        self._order: list[int | None] = []  # the picture at each place, row after row
        self._first = 0  # the first row that is seen, where not all fit
        self._strips: dict[int, Strip] = {}

    # -- what is shown ----------------------------------------------------------------------------------------------

    def show(self, album: Album | None, *, keep: bool = True) -> None:
        """Other pictures. keep: the same picture stays chosen and zoomed."""
        self.album = album
        last = len(album) - 1 if album is not None else 0
        if not keep:
            self._first = 0
            self.set_reactive(Pictures.zoomed, False)
        self.set_reactive(Pictures.chosen, min(self.chosen, last) if keep else 0)
        self._draw()

    def mark(self, marks: dict[int, str]) -> None:
        """Mark pictures by letters."""
        if marks != self.marks:
            self.marks = dict(marks)
            self._draw()

    def say(self, empty: str) -> None:
        """The words where there are no pictures."""
        if empty != self.empty:
            self.empty = empty
            if self.album is None:
                self.refresh()

    def watch_chosen(self) -> None:
        self._draw()
        self.post_message(self.Chosen(self))

    def watch_zoomed(self) -> None:
        self._draw()
        self.refresh_bindings()
        self.post_message(self.Chosen(self))

    def watch_threshold(self) -> None:
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def on_focus(self) -> None:
        self._draw()

    def on_blur(self) -> None:
        self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted:
            self._page = None
            self._draw()

    def _draw(self) -> None:
        """Make the page anew, and have drawn what differs from the one before."""
        if not self.is_attached or self.size.width < 2 or self.size.height < 1:
            return
        before, self._page = self._page, None
        if self.album is not None and len(self.album):
            self._page = self._paint(self.album)
        regions = self._page.changed(before) if self._page is not None and before is not None else None
        if regions is None:
            self._strips.clear()
            self.refresh()
        elif regions:
            for region in regions:
                self._strips.pop(region.y, None)
            self.refresh(*regions)

    # -- the page ---------------------------------------------------------------------------------------------------

    def _paint(self, album: Album) -> Page:
        width, lines = self.size.width, self.size.height
        ground = np.array(self._ground().rgb, np.uint8)
        page = np.empty((2 * lines, width, 3), np.uint8)
        page[:] = ground
        labels: list[Label] = []
        if self.zoomed:
            self._paint_one(album, page, labels)
        else:
            self._paint_grid(album, page, labels)
        return Page(page, labels)

    def _paint_grid(self, album: Album, page: Pixels, labels: list[Label]) -> None:
        lines, width = page.shape[0] // 2, page.shape[1]
        height, wide = album.pixels.shape[1:3]
        below = 1 if album.captions and width >= 20 else 0
        layout = self._layout = album.fitted(max(width - 2, 1), max(lines - 2, 1), below)
        self._order = album.order(layout.columns)
        self._show_row(self._place(self.chosen) // layout.columns)
        for place in range(layout.shown):
            i = self._at_place(place)
            if i is None:
                continue
            x, y = self._corner(place)
            if x + layout.width > width or y + layout.height > page.shape[0]:
                continue
            image = album.image(i)
            tall, across = image.shape[:2]
            shape = (max(1, layout.height * tall // height), max(1, layout.width * across // wide))
            page[y : y + shape[0], x : x + shape[1]] = scaled(image, *shape)
            paint_boxes(album, i, page[y : y + shape[0], x : x + shape[1]], self.threshold)
            if layout.width >= NARROW:
                colour = self._edge(i)
                if colour is not None:
                    frame(page, x, y, layout.width, layout.height, colour)
                if mark := self.marks.get(i):
                    labels.append(Label(x, y // 2 - 1, f" {mark} ", self._flag("pictures--mark")))
                if below:
                    words = clip(safe_text(album.caption(i)), layout.width)
                    at = x + (layout.width - cell_width(words)) // 2
                    labels.append(Label(at, (y + layout.height + 1) // 2, words, self._words("pictures--word")))
        if words := self._which_of():
            labels.append(Label(width - cell_width(words), lines - 1, words, self._words("pictures--word")))

    def _paint_one(self, album: Album, page: Pixels, labels: list[Label]) -> None:
        image = album.image(self.chosen)
        height, width = image.shape[:2]
        factor = min(page.shape[1] / width, page.shape[0] / height)
        if factor >= 3:
            factor = int(factor)
        tall, across = max(1, int(height * factor)), max(1, int(width * factor))
        x, y = (page.shape[1] - across) // 2, (page.shape[0] - tall) // 4 * 2
        part = page[y : y + tall, x : x + across]
        part[:] = scaled(image, tall, across)
        labels += paint_boxes(album, self.chosen, part, self.threshold, x, y)

    def _corner(self, place: int) -> tuple[int, int]:
        """Where the tile at a place of the panel begins, in pixels of the page."""
        layout = self._layout
        gap = 1 if layout.width >= NARROW else 0
        below = 1 if self.album is not None and self.album.captions and self.size.width >= 20 else 0
        row, column = divmod(place, layout.columns)
        tall = layout.height + layout.height % 2
        return 1 + column * (layout.width + gap), 2 + row * (tall + 2 * (gap + below))

    def _at_place(self, place: int) -> int | None:
        """The picture at a place of the panel."""
        place += self._first * self._layout.columns
        return self._order[place] if place < len(self._order) else None

    def _place(self, i: int) -> int:
        """Where in the order of the rows a picture stands."""
        return self._order.index(i) if i in self._order else 0

    def _show_row(self, row: int) -> None:
        """Scroll so that a row is seen."""
        seen = max(1, self._layout.shown // self._layout.columns)
        last = max(0, -(-len(self._order) // self._layout.columns) - seen)
        self._first = min(max(min(self._first, row), row - seen + 1), last)

    def _which_of(self) -> str:
        """Which pictures are seen, where not all of them are."""
        start = self._first * self._layout.columns
        before, seen = (
            sum(i is not None for i in part)
            for part in (self._order[:start], self._order[start:][: self._layout.shown])
        )
        n = len(self._order) - self._order.count(None)
        return f"{before + 1}-{before + seen} of {n}" if seen < n else ""

    def _edge(self, i: int) -> Color | None:
        """The colour of a picture's frame, if it has one."""
        if i == self.chosen and self.has_focus:
            return self._component("pictures--frame")
        return self._component("pictures--mark") if i in self.marks else None

    # -- colours ----------------------------------------------------------------------------------------------------

    def _ground(self) -> Color:
        return self.background_colors[1]

    def _component(self, name: str) -> Color:
        return self.get_component_styles(name).color

    def _words(self, name: str) -> Style:
        return self.get_component_rich_style(name)

    def _flag(self, name: str) -> Style:
        """Words on a ground of the component's colour."""
        return replace_ground(self._words(name))

    @property
    def _shades(self) -> bool:
        """Whether the terminal has too few colours for pictures of half cells."""
        return self.app.console.color_system in (None, "standard")

    # -- drawing ----------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self._page is None:
            return self._empty_line(y, width)
        strip = self._strips.get(y)
        if strip is None:
            if y >= self._page.lines:
                return Strip.blank(width, self.rich_style)
            strip = self._page.strip(y, shades=self._shades, base=self.rich_style)
            strip = self._strips[y] = strip.adjust_cell_length(width, self.rich_style)
        return strip

    def _empty_line(self, y: int, width: int) -> Strip:
        lines = [clip(line, max(0, width - 2)) for line in safe_text(self.empty, keep_newlines=True).split("\n")]
        top = max(0, (self.size.height - len(lines)) // 3)
        words = lines[y - top] if 0 <= y - top < len(lines) and self.empty else ""
        left = max(0, (width - max(map(cell_width, lines))) // 2)
        from rich.segment import Segment

        style = self.get_component_rich_style("pictures--empty")
        return Strip([Segment(" " * left, self.rich_style), Segment(words, style)]).adjust_cell_length(
            width, self.rich_style
        )

    # -- keys and the mouse -----------------------------------------------------------------------------------------

    def action_step(self, right: int, down: int) -> None:
        if self.album is None:
            return
        by = right + down * (1 if self.zoomed else self._layout.columns)
        order = list(range(len(self.album))) if self.zoomed else self._order
        target = (self.chosen if self.zoomed else self._place(self.chosen)) + by
        if 0 <= target < len(order) and (found := order[target]) is not None:
            self.chosen = found

    def action_edge(self, which: int) -> None:
        if self.album is not None:
            self.chosen = 0 if which < 0 else len(self.album) - 1

    def action_zoom(self) -> None:
        if self.album is not None:
            self.zoomed = not self.zoomed

    def action_leave(self) -> None:
        self.zoomed = False

    def action_whole(self) -> None:
        """The chosen picture (or all of them) by sixel or kitty, while the application steps aside: it never asks the
        terminal anything itself."""
        from textual.app import SuspendNotSupported

        from gentool.show.terminal import show_image

        mode = getattr(self.app, "images", "auto")
        if self.album is None or mode not in ("sixel", "kitty"):
            self.notify(
                "gentool tui --images sixel (or kitty) shows pictures in the terminal's own pixels.", markup=False
            )
            return
        pixels = self.album.image(self.chosen)[None] if self.zoomed else self.album.pixels
        try:
            with self.app.suspend():
                show_image(pixels.transpose(0, 3, 1, 2), mode, sys.__stdout__, columns=self.album.columns)
                print("enter goes back", flush=True)
                sys.stdin.readline()
        except SuspendNotSupported:
            self.notify("Here the application cannot step aside for that.", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "leave":
            return self.zoomed  # so that escape goes on to the screen
        return True

    def at(self, x: int, y: int) -> int | None:
        """The picture under a cell."""
        if self.album is None:
            return None
        if self.zoomed:
            return self.chosen
        layout = self._layout
        for place in range(layout.shown):
            left, top = self._corner(place)
            if left <= x < left + layout.width and top <= 2 * y + 1 and 2 * y < top + layout.height:
                return self._at_place(place)
        return None

    def on_click(self, event: Click) -> None:
        self.focus()
        found = self.at(event.x, event.y)
        if found is None:
            return
        event.stop()
        again = found == self.chosen and event.chain >= 2
        self.chosen = found
        if again:
            self.action_zoom()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        self.action_step(0, 1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        self.action_step(0, -1)


def replace_ground(style: Style) -> Style:
    """A style with its ink as the ground and what stood behind as the ink."""
    return Style(color=style.bgcolor, bgcolor=style.color, bold=True)
