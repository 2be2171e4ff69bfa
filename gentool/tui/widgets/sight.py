"""What can be looked at, in one place: pictures, a text, or heat maps, whichever there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Static

from gentool.evaluating import HeatMap
from gentool.runs.gallery import Look, Shot
from gentool.show.heatmap import heatmap_text
from gentool.show.text import safe_text
from gentool.tui.page import binding
from gentool.tui.widgets.album import Album, album_of
from gentool.tui.widgets.pictures import Pictures
from gentool.tui.widgets.scroll import Scroll


class Maps(Scroll):
    """Heat maps one above the other, as wide as there is room. Other maps in their place: the same one stays in sight."""

    DEFAULT_CSS = """
    Maps { height: 1fr; padding: 0 1; }
    Maps Static { width: auto; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("right,l", "next(1)", "Next map"),
        binding("left,h", "next(-1)", "Map before"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.maps: Sequence[HeatMap] = ()
        self._tops = [0]  # the line at which each map begins, and the line after the last

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)

    def show(self, maps: Sequence[HeatMap]) -> None:
        """Show these maps."""
        seen = self.seen
        within = self.scroll_offset.y - self._tops[seen]
        self.maps = maps
        self._draw()
        if seen < len(maps):
            tall = self._tops[seen + 1] - self._tops[seen]
            self.call_after_refresh(self.scroll_to, y=self._tops[seen] + min(within, tall - 1), animate=False)

    @property
    def seen(self) -> int:
        """The map at the top."""
        return max((i for i, top in enumerate(self._tops[:-1]) if top <= self.scroll_offset.y), default=0)

    def _draw(self) -> None:
        colours = self.app.console.color_system
        depth = None if colours in (None, "standard") else "truecolor" if colours == "truecolor" else "256"
        width = max(30, self.size.width - 4)
        drawn = [heatmap_text(one, width, depth=depth) for one in self.maps]
        self._tops = [0]
        for one in drawn:
            self._tops.append(self._tops[-1] + one.count("\n") + 1)
        self.query_one(Static).update(Text.from_ansi("\n".join(drawn)))

    def on_resize(self, event: Resize) -> None:
        if self.maps:
            self.show(self.maps)

    def action_next(self, by: int) -> None:
        self.scroll_to(y=self._tops[min(max(self.seen + by, 0), len(self._tops) - 1)], animate=False)


class Sight(Container):
    """Pictures, a text or maps: the last that was shown is seen, the others are hidden."""

    DEFAULT_CSS = """
    Sight { width: 1fr; height: 1fr; }
    Sight #words { height: 1fr; padding: 0 1; }
    Sight #words Static { width: 1fr; height: auto; }
    """

    def __init__(self, empty: str = "") -> None:
        super().__init__()
        self._empty = empty

    def compose(self) -> ComposeResult:
        yield Pictures(self._empty, id="look")
        with Scroll(id="words") as words:
            words.display = False
            yield Static("", markup=False)
        maps = Maps(id="maps")
        maps.display = False
        yield maps

    @property
    def pictures(self) -> Pictures:
        return self.query_one("#look", Pictures)

    @property
    def front(self) -> Widget:
        """The one that is seen; itself before there are any, and when they are gone."""
        return next((one for one in self.children if one.display), self)

    def show_pictures(self, album: Album | None, said: str | None = None, *, keep: bool = True) -> None:
        """Show pictures, or in their place what is said (None: as before). keep: the same picture stays chosen and zoomed."""
        self._bring(self.pictures)
        if said is not None:
            self.pictures.say(said)
        self.pictures.show(album, keep=keep)

    def show_text(self, text: str) -> None:
        """Show a text; what in it could upset the terminal is escaped."""
        self.query_one("#words Static", Static).update(safe_text(text, keep_newlines=True).expandtabs(4))
        self._bring(self.query_one("#words"))

    def show_maps(self, maps: Sequence[HeatMap]) -> None:
        """Show heat maps."""
        found = self.query_one(Maps)
        self._bring(found)
        found.show(maps)

    def show_look(self, shot: Shot, found: Look, *, truth: bool = False, keep: bool = True) -> None:
        """Show what a file of a run holds."""
        if found.text is not None:
            self.show_text(found.text)
        elif found.maps:
            self.show_maps(found.maps)
        else:
            album = album_of(shot, found, truth=truth) if found.pixels is not None else None
            self.show_pictures(album, found.problem, keep=keep)

    def _bring(self, chosen: Widget) -> None:
        focused = any(one.has_focus for one in self.children)
        for one in self.children:
            one.display = one is chosen
        if focused and not chosen.has_focus:
            chosen.focus()
