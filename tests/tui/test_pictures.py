"""Pictures in cells: every pixel where it belongs, and nothing drawn again that did not change."""

from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style
from textual.app import App

from gentool.tui.widgets.album import Album, Box, paired
from gentool.tui.widgets.cells import Label, Page, scaled
from gentool.tui.widgets.pictures import Pictures


def pixels_of(page: Page) -> np.ndarray:
    """The pixels that a terminal would show: a cell's ground above, its ink below (or the ground where it is a space)."""
    out = np.zeros((2 * page.lines, page.width, 3), np.uint8)
    for y in range(page.lines):
        x = 0
        for text, style, _ in page.strip(y):
            for char in text:
                out[2 * y, x] = style.bgcolor.triplet
                out[2 * y + 1, x] = (style.bgcolor if char == " " else style.color).triplet
                x += 1
        assert x == page.width
    return out


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_pixel_is_in_its_cell(lines: int, width: int, colours: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, colours, (2 * lines, width, 3), dtype=np.uint8)
    assert np.array_equal(pixels_of(Page(pixels)), pixels)


def test_only_what_changed_is_drawn_again() -> None:
    before = np.zeros((8, 10, 3), np.uint8)
    after = before.copy()
    after[3, 4:6] = 9
    after[6, 9] = 1
    found = Page(after).changed(Page(before))
    assert found is not None
    assert [tuple(region) for region in found] == [(4, 1, 2, 1), (9, 3, 1, 1)]
    assert Page(before).changed(Page(before.copy())) == []
    assert Page(before).changed(Page(before[:4])) is None
    words = Page(before, [Label(2, 2, "abc", Style())])
    assert [tuple(region) for region in words.changed(Page(before)) or []] == [(2, 2, 3, 1)]
    assert words.strip(2).text == "  abc     "


@pytest.mark.parametrize(("shape", "to"), [((4, 4), (8, 8)), ((4, 4), (2, 2)), ((4, 6), (5, 8)), ((4, 4), (13, 14))])
@pytest.mark.parametrize("channels", [1, 3])
def test_scaling_keeps_a_flat_picture_flat(shape, to, channels) -> None:
    image = np.full((*shape, channels), 77, np.uint8)
    found = scaled(image, *to)
    assert found.shape == (*to, channels)
    assert (found == 77).all()


def test_pairs_stand_under_each_other() -> None:
    assert paired(6, 2) == [0, 1, 3, 4, 2, None, 5, None]
    assert paired(8, 4) == list(range(8))


class Stage(App[None]):
    CSS = "Pictures > .pictures--word, Pictures > .pictures--empty { color: white; }"

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), "soft": "#888888"}

    def compose(self):
        yield Pictures("nothing [b]here[/b]")


def test_a_new_frame_draws_its_own_lines_and_no_others() -> None:
    """What Textual is asked to draw, and what it writes for it."""

    async def play() -> None:
        app = Stage()
        async with app.run_test(size=(60, 20)) as pilot:
            shown = app.query_one(Pictures)
            asked: list[tuple] = []
            refresh = shown.refresh
            shown.refresh = lambda *regions, **more: (asked.append(regions), refresh(*regions, **more))[1]
            images = np.zeros((2, 16, 16, 1), np.uint8)
            shown.show(Album(images))
            await pilot.pause()
            assert asked == [()]  # the first time all of it
            asked.clear()
            shown.show(Album(images.copy()))
            assert asked == []
            other = images.copy()
            other[1, 0:4] = 200
            shown.show(Album(other))
            (regions,) = asked
            left, top = shown._corner(1)
            assert {region.x for region in regions} == {left}
            assert min(region.y for region in regions) == top // 2
            assert len(regions) <= 20 * 4 // 16 + 1

    asyncio.run(play())


def test_boxes_above_the_threshold_with_words_when_zoomed() -> None:
    async def play() -> None:
        app = Stage()
        async with app.run_test(size=(60, 20)) as pilot:
            shown = app.query_one(Pictures)
            boxes = [Box((2, 2, 10, 10), 0, 0.9, "\x1bcell"), Box((5, 5, 15, 15), 1, 0.3, "other")]
            shown.show(Album(np.zeros((1, 16, 16, 3), np.uint8), boxes=[boxes]))
            both = len(np.unique(shown._page.pixels.reshape(-1, 3), axis=0))
            shown.threshold = 0.5
            assert len(np.unique(shown._page.pixels.reshape(-1, 3), axis=0)) == both - 1
            shown.action_zoom()
            await pilot.pause()
            assert [label.text for label in shown._page.labels] == [r" \x1bcell 0.90 "]
            shown.threshold = 0.0
            assert len(shown._page.labels) == 2

    asyncio.run(play())


def test_where_not_all_fit_it_says_which_are_seen() -> None:
    async def play() -> None:
        app = Stage()
        async with app.run_test(size=(40, 14)) as pilot:
            shown = app.query_one(Pictures)

            def said() -> list[str]:
                assert shown._page is not None
                return [label.text for label in shown._page.labels]

            shown.show(Album(np.zeros((2, 28, 28, 1), np.uint8)))
            assert said() == []
            shown.show(Album(np.zeros((50, 28, 28, 1), np.uint8)))
            seen = shown._layout.shown
            assert said() == [f"1-{seen} of 50"]
            shown.action_edge(1)
            await pilot.pause()
            assert said()[0].endswith("-50 of 50")
            shown.action_zoom()
            await pilot.pause()
            assert said() == []

    asyncio.run(play())


def test_without_pictures_it_says_so_and_few_colours_get_shades() -> None:
    async def play() -> None:
        app = Stage()
        async with app.run_test(size=(30, 8)) as pilot:
            shown = app.query_one(Pictures)
            lines = [shown.render_line(y).text for y in range(8)]
            assert any("nothing [b]here[/b]" in line for line in lines)
            app.console._color_system = None
            shown.show(Album(np.full((1, 8, 8, 1), 255, np.uint8)))
            await pilot.pause()
            assert any("█" in shown.render_line(y).text for y in range(8))
            for key in ("left", "right", "up", "down", "enter", "escape", "home", "end"):
                await pilot.press(key)

    asyncio.run(play())


def test_pixels_of_the_terminal_itself_are_shown_while_the_application_steps_aside(monkeypatch, capsys) -> None:
    from contextlib import contextmanager

    import gentool.show.terminal
    from gentool.tui.widgets import pictures

    shown_by: list[tuple] = []
    monkeypatch.setattr(gentool.show.terminal, "show_image", lambda *given, **more: shown_by.append(given))
    monkeypatch.setattr(pictures.sys, "stdin", type("In", (), {"readline": lambda self: ""})())

    async def play() -> None:
        app = Stage()
        aside: list[str] = []

        @contextmanager
        def suspend():
            aside.append("went")
            yield
            aside.append("came")

        async with app.run_test(size=(60, 20)) as pilot:
            shown = app.query_one(Pictures)
            shown.focus()
            shown.show(Album(np.zeros((3, 8, 8, 1), np.uint8)))
            await pilot.press("w")  # half cells are what was asked for: only a word
            assert not shown_by
            app.images = "kitty"
            await pilot.press("w")  # no terminal here to step aside from
            assert not shown_by
            monkeypatch.setattr(app, "suspend", suspend)
            await pilot.press("enter", "w")
            assert aside == ["went", "came"]
            assert (shown_by[0][0].shape, shown_by[0][1]) == ((1, 1, 8, 8), "kitty")

    asyncio.run(play())


ASIDE = """
import sys
from pathlib import Path
from gentool.tui.app import GentoolApp
from gentool.tui.widgets import pictures

class In:
    def readline(self):
        return chr(10)

pictures.sys = type("Sys", (), {{"stdin": In(), "__stdout__": sys.__stdout__}})
app = GentoolApp(Path({runs!r}))

async def play(pilot):
    while not app.store.whole:
        await pilot.pause(0.05)
    app.open_run(app.store.views()[0], "samples")
    while not (found := app.screen.query("#look")) or found.first().album is None:
        await pilot.pause(0.05)
    for app.images in ("kitty", "sixel"):
        await pilot.press("w")
        await pilot.pause(0.1)
    app.exit()

app.run(auto_pilot=play)
"""


def test_the_bytes_of_such_pictures_on_a_real_terminal(tmp_path) -> None:
    """Outside the application's own screen, and without a question: a late answer would be read as keys."""
    pytest.importorskip("textual_image._sixel", reason="needs the extra 'images'")
    from runs_on_disk import make
    from show.screen import in_pty
    from show.test_terminal import QUESTIONS

    from gentool.show.grid import make_grid, save_png

    run = make(tmp_path, "2026-11-01_vae_0001", [], model="vae", created=1.0)
    (run / "samples").mkdir(exist_ok=True)
    save_png(make_grid(np.zeros((4, 1, 6, 5), np.uint8)), run / "samples" / "000001.png")
    seen = in_pty(ASIDE.format(runs=str(tmp_path)), COLORTERM="truecolor", cell=(8, 16))["pty"]
    before, first, between, second, after = re.split(r"\x1b\[\?1049[hl]", seen)[1:6]
    marks = [("\x1b_G" in part, "\x1bP" in part) for part in (before, first, between, second, after)]
    assert marks == [(False, False), (True, False), (False, False), (False, True), (False, False)]
    own = {"\x1b[?2026$p", "\x1b[?2048$p"}  # Textual's, as it takes the screen: modes of output, answered to itself
    assert {found.group() for part in (before, between, after) for found in QUESTIONS.finditer(part)} <= own
    assert not any(QUESTIONS.search(part) for part in (first, second))
