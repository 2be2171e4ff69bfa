"""Pictures in the terminal, read back cell by cell by a terminal of the test's own."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gentool.errors import UsageError
from gentool.show import terminal
from gentool.show.pixels import to_bytes
from gentool.show.terminal import Layout, fit_columns, half_cells, lay_out, shade_cells, show_image

from .screen import cells, in_pty, pixels

SHOW = """
import numpy as np
from gentool.show.terminal import show_image
x = np.linspace(-1, 1, 16 * 28 * 28).reshape(16, 1, 28, 28)
shown = show_image(x, title="samples \\x1b[2J", {options})
"""


def area(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean over the (fractional) rectangle of every new pixel, in float64: the definition, by brute force."""

    def weights(old: int, new: int) -> np.ndarray:
        matrix = np.zeros((new, old))
        for i in range(new):
            low, high = i * old / new, (i + 1) * old / new
            for j in range(old):
                matrix[i, j] = max(0.0, min(high, j + 1) - max(low, j)) / (high - low)
        return matrix

    return weights(image.shape[0], height) @ image.astype(float) @ weights(image.shape[1], width).T


@pytest.mark.parametrize("shape", [(4, 4), (5, 7), (1, 1), (9, 2)])
def test_half_cells_hold_every_pixel(shape):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    seen = pixels(half_cells(Image.fromarray(data), "truecolor"))
    assert (seen[: shape[0], : shape[1]] == data).all()
    assert seen.shape[:2] == (shape[0] + shape[0] % 2, shape[1])


def test_256_colours_are_near():
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(2, axis=0)
    text = half_cells(Image.fromarray(ramp), "256")
    assert ";2;" not in text
    assert np.abs(pixels(text).astype(int) - ramp).max() <= 12


@pytest.mark.parametrize(("height", "width", "to"), [(28, 28, 18), (32, 32, 14), (28, 28, 28), (8, 8, 16)])
def test_images_are_shrunk_by_area_and_grown_by_repeating(height, width, to):
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, (3, 1, height, width), dtype=np.uint8)
    page = np.asarray(lay_out(to_bytes(data), Layout(2, 3, to, to)))
    for i, (top, left) in enumerate([(0, 0), (0, to + 1), (to + 2, 0)]):
        tile = page[top : top + to, left : left + to, 0].astype(float)
        image = data[i, 0]
        if to >= height:
            expected = image.repeat(to // height, 0).repeat(to // width, 1)
            assert (tile == expected).all()
        else:
            assert np.abs(tile - area(image, to, to)).max() <= 1.01  # two roundings
    assert (page[:, to] == 24).all()


def test_shades_follow_brightness():
    ramp = np.repeat(np.linspace(0, 255, 50).astype(np.uint8)[None], 4, axis=0)
    for unicode, order in ((True, terminal.SHADES), (False, terminal.ASCII_SHADES)):
        text = shade_cells(Image.fromarray(ramp), unicode=unicode)
        lines = text.splitlines()
        assert len(lines) == 2
        ranks = [order.index(char) for char in lines[0]]
        assert ranks == sorted(ranks)
        assert set(ranks) == set(range(len(order)))
        assert text.isascii() is not unicode


@pytest.mark.parametrize("width", [79, 39, 20, 3, 1])
@pytest.mark.parametrize(("n", "side"), [(1, 8), (16, 8), (16, 28), (64, 28), (1000, 28), (9, 32), (2, 300)])
def test_a_layout_fits(n, side, width):
    layout = fit_columns(n, side, side, max_width=width)
    page = lay_out(np.zeros((n, side, side, 1), np.uint8), layout)
    assert page.width <= width
    assert page.height <= 2 * terminal.LINES + 1
    assert 1 <= layout.shown <= n
    if width == 79:
        assert layout.width >= min(side, terminal.LEGIBLE)


def test_the_columns_of_a_view_are_kept():
    assert fit_columns(16, 28, 28, columns=8).columns == 8
    assert fit_columns(400, 28, 28, columns=20).columns == 20


# -- where it goes -----------------------------------------------------------------------------------------------------


def test_a_terminal_of_80_columns_shows_half_cells():
    seen = in_pty(SHOW.format(options=""), COLORTERM="truecolor")["pty"]
    title, _, picture = seen.partition("\n")
    assert title == "samples \\x1b[2J"
    rows = cells(picture)
    assert max(map(len, rows)) <= 79
    assert 30 <= len(rows) <= 40
    # The first image is the darkest and the last the lightest: every column of images is there.
    x = to_bytes(np.linspace(-1, 1, 16 * 28 * 28).reshape(16, 1, 28, 28))
    drawn = pixels(picture)
    for i in range(16):
        top, left = i // 4 * 20, i % 4 * 19
        tile = drawn[top : top + 18, left : left + 18, 0]
        assert np.abs(tile - area(x[i, :, :, 0], 18, 18)).max() <= 1.01


def test_256_colours_without_colorterm_and_in_tmux():
    for env in ({}, {"TERM": "screen", "TMUX": "/tmp/x"}):
        seen = in_pty(SHOW.format(options=""), **env)["pty"]
        assert "\x1b[38;5;" in seen
        assert ";2;" not in seen


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "vt100"}])
def test_without_colours_there_are_shades_and_no_escape(env):
    seen = in_pty(SHOW.format(options=""), **env)["pty"]
    assert "\x1b" not in seen
    assert "█" in seen
    assert max(map(len, seen.splitlines())) <= 79


def test_an_ascii_terminal_gets_ascii():
    seen = in_pty(SHOW.format(options=""), PYTHONIOENCODING="ascii", COLORTERM="truecolor")["pty"]
    assert seen.isascii()
    assert "@" in seen


def test_a_pty_of_no_columns_counts_as_80():
    seen = in_pty(SHOW.format(options=""), columns=0, lines=0, COLORTERM="truecolor")["pty"]
    assert 70 <= max(map(len, cells(seen.partition("\n")[2]))) <= 79


def test_a_narrow_terminal_is_not_overrun():
    seen = in_pty(SHOW.format(options=""), columns=20, COLORTERM="truecolor")["pty"]
    assert max(map(len, cells(seen))) <= 19


@pytest.mark.parametrize("mode", ["auto", "half", "sixel", "kitty", "off"])
def test_a_pipe_never_gets_an_escape(mode):
    code = SHOW.format(options=f"mode={mode!r}") + "print(shown)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.strip() == ("0" if mode in ("auto", "off") else "16")
    assert bool(done.stderr) == (mode not in ("auto", "off"))


def test_the_result_keeps_its_pipe():
    """`gentool sample gan > file`: the picture is on the terminal, the path alone in the pipe; and the reverse."""
    code = SHOW.format(options="") + "print('result.png')"
    seen = in_pty(code, stdout=False, COLORTERM="truecolor")
    assert seen["out"] == "result.png\n"
    assert "▄" in seen["pty"]
    seen = in_pty(code, stderr=False, COLORTERM="truecolor")
    assert seen["err"] == ""
    assert "▄" in seen["pty"]


def test_off_says_nothing():
    assert in_pty(SHOW.format(options="mode='off'"))["pty"] == ""


def test_fewer_are_shown_when_not_all_are_legible():
    out = io.StringIO()
    out.isatty = lambda: True
    assert show_image(np.zeros((64, 1, 28, 28), np.uint8), stream=out) == 25
    assert "(the first 25 of 64)" in out.getvalue()


def test_a_finished_picture_is_fitted():
    out = io.StringIO()
    assert show_image(Image.new("RGB", (640, 320), (255, 255, 255)), mode="half", stream=out, max_width=40) == 1
    assert out.getvalue() == ("█" * 40 + "\n") * 10


# -- sixel and kitty ---------------------------------------------------------------------------------------------------


def test_unknown_modes_and_missing_extras_are_refused_at_once(monkeypatch):
    with pytest.raises(UsageError, match=r"Did you mean 'sixel'"):
        terminal.check_mode("sixels")
    monkeypatch.setitem(sys.modules, "textual_image", None)
    with pytest.raises(UsageError, match=r"gentool\[images\]"):
        terminal.check_mode("kitty")
    assert terminal.check_mode("half") == "half"


@pytest.mark.parametrize("mode", ["sixel", "kitty"])
def test_inside_tmux_half_cells_take_over_with_one_sentence(mode):
    seen = in_pty(SHOW.format(options=f"mode={mode!r}"), TMUX="/tmp/tmux-0/default,1,0", COLORTERM="truecolor")["pty"]
    assert f"{mode} pictures do not get through tmux or screen; half cells are shown instead." in seen
    assert "▄" in seen


# What a terminal would answer: who it is, its colours, the size of its window and cells, where its cursor is, kitty pictures.
QUESTIONS = re.compile(r"\x1b\[(?:[>=]?\d*c|1[1-9]t|\?[\d;]*\$p|\??[56]n)|\x1b_G[^;]*a=q|\x1b\][\d;]*;\?|\x1bP\+q")
SIXEL = re.compile(r'\x1bP[\d;]*q"1;1;(\d+);(\d+)')
READ = "\nimport sys\nprint('typed:', sys.stdin.readline())"


@pytest.mark.parametrize(("mode", "mark"), [("sixel", "\x1bP"), ("kitty", "\x1b_G")])
def test_the_extra_draws(mode, mark):
    pytest.importorskip("textual_image._sixel", reason="needs the extra 'images'")
    seen = in_pty(SHOW.format(options=f"mode={mode!r}") + READ, COLORTERM="truecolor", typed="abc\n")["pty"]
    assert mark in seen
    assert "failed" not in seen
    assert not QUESTIONS.search(seen)
    assert seen.rstrip().endswith("typed: abc")  # nothing has read what was typed ahead


@pytest.mark.parametrize("cell", [(0, 0), (8, 16), (15, 30)])
def test_sixels_fit_the_screen_in_the_terminals_own_pixels(cell):
    pytest.importorskip("textual_image._sixel", reason="needs the extra 'images'")
    tall = SHOW.replace("np.linspace(-1, 1, 16 * 28 * 28).reshape(16, 1, 28, 28)", "np.zeros((1, 3, 900, 300))")
    seen = in_pty(tall.format(options="mode='sixel'"), COLORTERM="truecolor", cell=cell)["pty"]
    across, down = map(int, SIXEL.search(seen).groups())
    line = cell[1] or 20
    assert 18 * line < down <= 21 * line  # three lines of 24 are the title's and the prompt's
    assert down / 3 - (cell[0] or 10) <= across <= down / 3 + (cell[0] or 10)
    assert not QUESTIONS.search(seen)


def test_the_extra_may_fail(monkeypatch, capsys):
    def broken(mode):
        raise ZeroDivisionError("a pty of no columns")

    out = io.StringIO()
    out.isatty = lambda: True
    monkeypatch.setattr(terminal, "_renderable", broken)
    monkeypatch.setattr(terminal, "_protocol", lambda mode, stream: mode)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert show_image(np.zeros((2, 1, 8, 8), np.uint8), mode="sixel", stream=out) == 2
    assert "sixel pictures failed here (a pty of no columns); half cells are shown instead." in capsys.readouterr().err
    assert "▄" in out.getvalue()
