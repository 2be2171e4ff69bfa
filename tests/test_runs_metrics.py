"""The metrics log is read whatever state a writer left it in."""

import json
import math
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.runs.metrics import Metrics, iter_metrics, key_metric, parse_line, read_metrics

rows = st.lists(
    st.dictionaries(
        st.sampled_from(["model/loss", "lr/model", "validation/loss", "weird name\x1b"]),
        st.floats(-1e6, 1e6) | st.integers(-100, 100),
        max_size=4,
    ),
    min_size=1,
    max_size=30,
)


def written(values):
    return [json.dumps({"step": i + 1, "t": i / 10, **row}).encode() + b"\n" for i, row in enumerate(values)]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "metrics.jsonl"


@settings(max_examples=60, deadline=None)
@given(values=rows, data=st.data())
def test_a_log_cut_anywhere_gives_its_whole_lines(log, values, data):
    lines = written(values)
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    log.write_bytes(whole[:cut])
    # Independent: a record is whole when its closing brace is there.
    ends = [sum(map(len, lines[: i + 1])) - 1 for i in range(len(lines))]
    expected = [json.loads(line) for line, end in zip(lines, ends, strict=True) if cut >= end]
    found = read_metrics(log)
    assert found.rows == expected
    assert found.garbage == 0
    assert list(iter_metrics(log)) == expected
    for last in (1, 3, 100):
        assert read_metrics(log, last=last).rows == expected[-last:]
    thinned = read_metrics(log, thin=4)
    assert thinned.lines == len(expected)
    assert all(row in expected for row in thinned.rows)
    if expected:
        assert thinned.rows[0] == expected[0]
        assert thinned.rows[-1] == expected[-1]


@settings(max_examples=60, deadline=None)
@given(values=rows, junk=st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b), max_size=5), data=st.data())
def test_garbage_lines_are_counted_and_passed_over(log, values, junk, data):
    lines = written(values)
    good = [json.loads(line) for line in lines]
    junk = [b"!" + line for line in junk]  # never a record
    for line in junk:
        lines.insert(data.draw(st.integers(0, len(lines))), line + b"\n")
    log.write_bytes(b"".join(lines))
    found = read_metrics(log)
    assert found.rows == good
    assert found.garbage == len(junk)
    assert found.lines == len(lines)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_row_or_nothing(line):
    row = parse_line(line)
    assert row is None or "step" in row


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[" * 100_000,
        b'{"t": 1}',
        b'{"step": "3"}',
        b'{"step": true}',
        b'{"step": Infinity}',
        b'{"step": NaN}',
        b"[1]",
        b"\x00" * 100,
        b'{"step": 1, "a": ' + b"9" * 5000 + b"}",
        b'{"step": 1, "a": 1' + b"0" * 400 + b"}",
        b"\xff\xfe",
    ],
)
def test_hostile_lines_are_garbage(line):
    assert parse_line(line) is None


def test_values_that_are_no_numbers_are_left_out():
    row = parse_line(b'{"step": 3, "t": 1, "a": "x", "b": [1], "c": true, "d": null, "e": NaN, "f": 2}')
    assert set(row) == {"step", "t", "d", "e", "f"}
    assert math.isnan(row["d"])
    assert row["f"] == 2.0


def test_what_a_resumed_run_says_last_holds(tmp_path):
    lines = [{"step": s, "v": v} for s, v in [(1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (4, 1)]]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [(r["step"], r["v"]) for r in read_metrics(tmp_path).rows] == [(1, 0), (2, 1), (3, 1), (4, 1)]


def test_thinning_keeps_both_ends_and_every_rare_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        for step in range(1, 20_001):
            file.write(json.dumps({"step": step, "model/loss": 1 / step}) + "\n")
            if step % 1000 == 0:
                file.write(json.dumps({"step": step, "validation/loss": step}) + "\n")
    found = read_metrics(path, thin=400)
    train, validation = found.series("model/loss"), found.series("validation/loss")
    assert 400 <= len(train.x) <= 801
    assert train.x[0] == 1
    assert train.x[-1] >= 20_000 - 64
    assert list(validation.x) == list(range(1000, 20_001, 1000))
    assert found.lines == 20_020
    assert found.last()["validation/loss"] == 20_000


def test_the_end_of_a_long_log_is_read_from_the_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with path.open("wb") as file:
        file.truncate(5 << 30)  # sparse: 5 GB of zeros that nobody may read through
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"step": 7, "a": 1}\n{"step": 8, "a": 2}\n{"step": 9, "a"')
    begun = time.monotonic()
    assert [row["step"] for row in read_metrics(path, last=2).rows] == [7, 8]
    assert time.monotonic() - begun < 2


def test_one_endless_line_is_one_piece_of_garbage(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + b"x" * (3 << 20) + b'\n{"step": 2}\n')
    found = read_metrics(path)
    assert [row["step"] for row in found.rows] == [1, 2]
    assert found.garbage == 1


def test_a_pipe_or_a_folder_of_that_name_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert read_metrics(tmp_path) == Metrics()
    assert list(iter_metrics(tmp_path / "metrics.jsonl")) == []
    (tmp_path / "b" / "metrics.jsonl").mkdir(parents=True)
    assert read_metrics(tmp_path / "b") == Metrics()
    assert read_metrics(tmp_path / "nowhere") == Metrics()


def test_names_are_ordered_by_what_matters():
    metrics = Metrics(rows=[{"step": 1, "lr/a": 1, "acc": 1, "b/loss": 1, "validation/psnr": 1, "validation/loss": 1}])
    assert metrics.names() == ["validation/loss", "b/loss", "validation/psnr", "acc", "lr/a"]
    assert key_metric(["lr/a", "acc", "b/loss"]) == "b/loss"
    assert key_metric([]) is None
