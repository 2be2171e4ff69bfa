"""Tables fit every terminal, lose nothing in a pipe, and JSON has no NaN."""

import enum
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gentool.show import units
from gentool.show.tables import Column, pairs_text, plain, print_table, table_text, to_json

from .screen import cells, in_pty

ROWS = [
    {"id": "2026-11-20_vqvae_3f2a", "model": "vqvae", "loss": 0.123456, "step": 500, "note": "[bold]hi\x1b[31m"},
    {
        "id": "2026-11-21_a-very-long-name-for-a-run-that-somebody-gave_0001",
        "model": "gan",
        "loss": math.nan,
        "step": 12345,
    },
]
COLUMNS = [
    Column("id", shrink=True, least=12),
    Column("model", priority=1),
    Column("loss", priority=2),
    Column("step", priority=3),
    Column("note", priority=4, shrink=True),
]


def test_plain_text_is_aligned_and_whole():
    lines = table_text(ROWS, COLUMNS).splitlines()
    assert lines[0].split() == ["id", "model", "loss", "step", "note"]
    assert ROWS[1]["id"] in lines[2]
    assert "[bold]hi\\x1b[31m" in lines[1]
    end = lines[0].index("step") + 4
    assert lines[1][:end].endswith(" 500")
    assert lines[2][:end].endswith("12,345")
    assert all(line == line.rstrip() for line in lines)


@given(st.integers(1, 120))
def test_text_is_cut_to_the_width(width):
    lines = table_text(ROWS, COLUMNS, width=width).splitlines()
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)


def test_columns_are_dropped_by_priority():
    header = table_text(ROWS, COLUMNS, width=40).splitlines()[0].split()
    assert header[0] == "id"
    assert header == ["id", "model", "loss", "step"][: len(header)]
    assert len(header) < 5
    assert table_text(ROWS, COLUMNS, width=14).splitlines()[0].split() == ["id"]


def test_columns_come_from_the_rows():
    out = io.StringIO()
    print_table([{"a": 1, "b": None}, {"a": 2.5, "c": True}], stream=out)
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["a", "b", "c"],
        ["1", "-", "-"],
        ["2.5", "-", "yes"],
    ]
    empty = io.StringIO()
    print_table([], stream=empty)
    assert empty.getvalue() == ""


TABLE = f"""
import math
nan = math.nan
from gentool.show.tables import Column, print_table
rows = {ROWS!r}
columns = [Column("id", shrink=True, least=12), Column("model", priority=1), Column("loss", priority=2),
           Column("step", priority=3, style=lambda v: "green"), Column("note", priority=4, shrink=True)]
print_table(rows, columns, title="runs")
"""


@pytest.mark.parametrize("columns", [80, 40, 12, 0, 200])
def test_a_terminal_is_never_overrun(columns):
    seen = in_pty(TABLE, columns=columns, COLORTERM="truecolor")["pty"]
    plain_text = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    assert "\x1b" not in plain_text
    assert len(plain_text.splitlines()) == 4
    assert max(map(len, cells(seen))) <= (columns or 80) - 1


def test_colours_only_where_wanted():
    assert "\x1b[32m" in in_pty(TABLE, columns=120)["pty"]
    assert "\x1b" not in in_pty(TABLE, NO_COLOR="1")["pty"]
    assert "\x1b" not in in_pty(TABLE, TERM="dumb")["pty"]
    assert "\x1b" not in in_pty(TABLE, stdout=False)["out"]


def test_pairs_are_aligned():
    assert pairs_text([("a", 1), ("long", "x\ny")]) == "a     1\nlong  x\\ny\n"
    assert pairs_text([("a", "b" * 50)], width=10) == "a  bbbbbb…\n"


class Colour(enum.StrEnum):
    RED = "red"


def test_json_is_plain():
    value = {
        "b": math.nan,
        "a": [math.inf, -math.inf, 1.5],
        "array": np.array([1.0, np.nan]),
        "tensor": torch.tensor([[1, 2]]),
        "number": np.float32(0.5),
        "path": Path("x"),
        "set": {"b", "a"},
        "enum": Colour.RED,
        "text": "\x7f\x9b\u202e\ud800é",
        3: True,
    }
    text = to_json(value)
    assert text.isascii()
    assert text.isprintable() or set(text) - set(map(chr, range(32, 127))) == {"\n"}
    found = json.loads(text)
    assert list(found) == ["b", "a", "array", "tensor", "number", "path", "set", "enum", "text", "3"]
    assert found["b"] is None
    assert found["a"] == [None, None, 1.5]
    assert found["array"] == [1.0, None]
    assert found["tensor"] == [[1, 2]]
    assert found["set"] == ["a", "b"]
    assert found["enum"] == "red"
    assert found["text"] == value["text"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(anything)
def test_any_value_becomes_json(value):
    assert json.loads(to_json(value)) == plain(value)


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (units.number, 0.123456, "0.1235"),
        (units.number, 12345, "12,345"),
        (units.number, 12345678.0, "1.235e+07"),
        (units.number, None, "-"),
        (units.size, 0, "0 B"),
        (units.size, 999, "999 B"),
        (units.size, 1500, "1.5 KB"),
        (units.size, 999_700, "1.0 MB"),
        (units.size, 20_400_000, "20 MB"),
        (units.duration, 0.0, "0 s"),
        (units.duration, 8.04, "8.0 s"),
        (units.duration, 59.7, "1 min"),
        (units.duration, 200, "3 min 20 s"),
        (units.duration, 7500, "2 h 5 min"),
        (units.duration, 3600, "1 h"),
        (units.duration, math.nan, "-"),
        (units.age, -5, "now"),
        (units.age, 45, "45 s"),
        (units.age, 600, "10 min"),
        (units.age, 86400 * 12, "12 d"),
        (units.age, 86400 * 1000, "3 y"),
    ],
)
def test_units(function, value, text):
    assert function(value) == text
