"""Heat maps as text and as pictures."""

from __future__ import annotations

import io
import re

import pytest

from gentool.evaluating import HeatMap, Report
from gentool.show.heatmap import RAMP, heatmap_png, heatmap_terminal, heatmap_text, shade_of
from gentool.show.text import cell_width

CODE = re.compile(r"\x1b\[[0-9;]*m")


def made(rows: list[str], columns: list[str], **more: object) -> HeatMap:
    values = [[(i == j) * 0.875 for j in range(len(columns))] for i in range(len(rows))]
    return HeatMap("map", values, rows, columns, **more)  # type: ignore[arg-type]


def test_numbers_stand_under_their_words():
    text = heatmap_text(made(["un", "chien"], ["a", "dog"], title="a dog"), 79)
    title, heads, one, two = text.splitlines()
    assert title == "a dog"
    assert one.split() == ["un", "88█"]
    assert one.index("88") + 2 == heads.index("a") + 1
    assert two.index("88") + 2 == heads.index("dog") + 3


@pytest.mark.parametrize("depth", [None, "256", "truecolor"])
@pytest.mark.parametrize("width", [12, 30, 79])
def test_no_line_is_wider_than_the_terminal(width, depth):
    words = [f"word{'y' * i}" for i in range(20)]
    text = heatmap_text(made(words, words), width, depth=depth)
    plain = CODE.sub("", text)
    assert max(cell_width(line) for line in plain.splitlines()[:-1]) <= width
    assert ("\x1b" in text) == (depth is not None)
    assert "of 20 columns" in plain


def test_hostile_words_and_values():
    nan = float("nan")
    heat = HeatMap("m", [[nan, 0.5], [1e300, -1]], ["\x1b[31m", "[bold]x"], ["", "日本\n語"], most=1.0)
    text = heatmap_text(heat, 40, depth="truecolor")
    assert "\x1b[31m" not in text
    assert "[bold]x" in text
    assert "日本 語" in text
    assert shade_of(nan) == (190, 190, 190)
    assert heatmap_png(heat).width > 50


def test_nothing_to_show():
    empty = HeatMap("m", [], [], [])
    assert heatmap_text(empty, 40) == "\n"
    assert heatmap_png(empty).size > (0, 0)


def test_without_blocks_where_the_stream_has_none():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert heatmap_terminal(made(["a"], ["b"]), stream)
    stream.seek(0)
    assert stream.read().split() == ["b", "a", "88"]


def test_cells_of_a_picture_have_their_shade():
    heat = HeatMap("m", [[1.0, 0.0]], ["a"], ["b", "c"])
    picture = heatmap_png(heat, cell=60)
    colours = {colour for _, colour in picture.getcolors(100_000)}
    assert RAMP[-1] in colours
    assert shade_of(0) == RAMP[0]
    assert shade_of(2) == RAMP[-1]


def test_the_darkest_cell_is_the_largest_value_if_none_is_named():
    heat = HeatMap("m", [[2.0, 4.0]], ["a"], ["b", "c"], most=None)
    assert heat.shares() == [[0.5, 1]]
    assert HeatMap("m", [[0.0]], ["a"], ["b"], most=None).shares() == [[0]]
    assert HeatMap("m", [[1.0, float("inf")]], ["a"], ["b", "c"], most=None).shares()[0][0] == 1


def test_a_report_has_them_in_its_json():
    report = Report("r", heatmaps=[made(["a"], ["b"])])
    assert report.to_json()["heatmaps"][0]["values"] == [[0.875]]
    assert "heatmaps" not in Report("r").to_json()
