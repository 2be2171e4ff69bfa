"""Plots: ticks are round and inside, thinning keeps peaks, lines are where their values are."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.evaluating import Curve
from gentool.show.plots import COLOURS, plot_png, plot_text
from gentool.show.scale import label, linear_ticks, log_ticks, make_axis, thin

from .screen import cells, in_pty

finite = st.floats(-1e12, 1e12)


@settings(max_examples=60)
@given(finite, st.floats(1e-9, 1e12), st.integers(2, 12))
def test_linear_ticks_are_round_and_inside(low, span, most):
    high = low + span
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-300):
        return
    ticks = [value for value, _ in linear_ticks(low, high, most)]
    assert len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    steps = np.diff(ticks)
    if len(steps):
        mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert min(abs(mantissa - m) for m in (1, 2, 2.5, 5, 10)) < 1e-3


@settings(max_examples=60)
@given(st.floats(-6, 6), st.floats(0.5, 12))
def test_log_ticks_are_inside(low, decades):
    ticks = [value for value, _ in log_ticks(10**low, 10 ** (low + decades), 7)]
    assert len(ticks) >= (2 if decades > 1 else 1)
    assert len(ticks) <= 8
    assert all(0.999 * 10**low <= tick <= 1.001 * 10 ** (low + decades) for tick in ticks)


def test_labels_are_short_and_tell_ticks_apart():
    assert [text for _, text in linear_ticks(0, 1, 5)] == ["0", "0.25", "0.50", "0.75", "1.00"]
    assert [text for _, text in linear_ticks(0, 50_000, 6)][-1] == "50000"
    assert label(1_500_000) == "1.5M"
    assert label(20_000) == "20k"
    assert label(3e-5) == "3e-05"


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60), st.booleans())
def test_an_axis_holds_every_value(values, log):
    axis = make_axis(values, log=log, ticks=6)
    for value in values:
        if axis.holds(value):
            assert -1e-6 <= axis.place(value) <= 1 + 1e-6
    texts = [text for _, text in axis.ticks]
    assert len(set(texts)) == len(texts) or axis.high - axis.low < 1e-4 * max(abs(axis.high), abs(axis.low))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=1500), st.integers(10, 400))
def test_thinning_keeps_ends_and_extremes(y, most):
    x = list(range(len(y)))
    a, b = thin(x, y, most)
    assert len(a) <= max(most, 1)
    assert a == sorted(a)
    assert (a[0], b[0]) == (0, y[0])
    assert (a[-1], b[-1]) == (x[-1], y[-1])
    assert min(b) == min(y)
    assert max(b) == max(y)
    assert all(y[int(i)] == v for i, v in zip(a, b, strict=True))


def colour(text):
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def test_lines_are_where_their_values_are():
    """Two horizontal lines at 1 and 3 on an axis from about 0.92 to 3.08: found by colour, apart in proportion."""
    picture = np.asarray(plot_png([Curve(str(level), [0, 100], [level, level]) for level in (1, 2, 3)]))
    rows = []
    for i in range(3):
        near = np.abs(picture[50:].astype(int) - colour(COLOURS[i])).max(axis=2) < 30
        rows.append(50 + np.argmax(near.sum(axis=1)))
    low, mid, high = rows
    assert low > mid > high
    assert abs((low - mid) - (mid - high)) <= 2
    # The grid line of the tick "2" runs under the middle line.
    assert abs(low - high - 2 * (low - mid)) <= 2


def test_a_curve_is_broken_where_it_is_not_finite():
    whole = np.asarray(plot_png([Curve("a", [0, 1, 2, 3], [1, 1, 1, 1])]))
    broken = np.asarray(plot_png([Curve("a", [0, 1, 2, 3], [1, math.nan, math.nan, 1])]))
    count = [(np.abs(p[80:].astype(int) - colour(COLOURS[0])).max(axis=2) < 30).sum() for p in (whole, broken)]
    assert count[1] < count[0] / 4
    assert count[1] > 0


@pytest.mark.parametrize(
    "curves",
    [
        [],
        [Curve("a", [], [])],
        [Curve("a", [1, 2], [math.nan, math.inf])],
        [Curve("a", [1], [0])],
        [Curve("a", [1, 2], [1e300, -1e300])],
        [Curve("a", [1, 2], [5, 5])],
        [Curve("a", [math.nan, 2], [1, 2])],
        [Curve(f"curve \x1b[31m[bold] number {i}", [0, 1], [i, -i]) for i in range(30)],
        [Curve("a" * 500, [0, 1], [1, 2])],
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_any_curves_can_be_drawn(curves, log):
    assert plot_png(curves, ("x" * 300, "y" * 300), log_y=log, title="t" * 300).size == (900, 540)
    text = plot_text(curves, ("x" * 300, "y" * 300), log_y=log, title="t\x1b" * 300, width=60)
    assert "\x1b" not in text
    assert all(len(line) <= 60 for line in text.splitlines())


def test_text_plots_rise_where_values_rise():
    text = plot_text([Curve("a", list(range(100)), list(range(100)))], width=60, height=14, unicode=False)
    assert text.isascii()
    body = [line for line in text.splitlines() if "|" in line or "+" in line]
    columns = [line.index("*") for line in body if "*" in line]
    assert columns == sorted(columns, reverse=True)
    assert len(columns) >= 8


PLOT = """
import sys
from gentool.evaluating import Curve
from gentool.show.plots import plot_terminal
x = list(range(5000))
plot_terminal([Curve("model/loss", x, [1 / (1 + i) for i in x]), Curve("b", x, x)], ("step", "nats"), title="loss", **{options})
"""


def test_plots_in_terminals_and_pipes():
    seen = in_pty(PLOT.format(options={}), COLORTERM="truecolor")["pty"]
    assert "\x1b[38;5;39m" in seen
    assert max(map(len, cells(seen))) <= 79
    for columns, limit in ((0, 79), (30, 29)):
        assert max(map(len, cells(in_pty(PLOT.format(options={}), columns=columns)["pty"]))) <= limit
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in in_pty(PLOT.format(options={}), **env)["pty"]
    assert in_pty(PLOT.format(options={}), PYTHONIOENCODING="ascii", NO_COLOR="1")["pty"].isascii()
    piped = in_pty(PLOT.format(options="{'stream': sys.stdout}"), stdout=False)
    assert "\x1b" not in piped["out"]
    assert "model/loss" in piped["out"]
    assert in_pty(PLOT.format(options={}), stdout=False, stderr=False) == {"pty": "", "out": "", "err": ""}
