"""Logs that are followed, glances at them, marks, and the language of filters."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_on_disk import make

from gentool.errors import UsageError
from gentool.runs import index as index_module
from gentool.runs.glance import POINTS, read_glance, spread_rows
from gentool.runs.index import LogIndex
from gentool.runs.marks import Marks, parse_tags, read_marks, write_marks
from gentool.runs.metrics import Thinner, read_metrics
from gentool.runs.reader import list_runs, read_run
from gentool.runs.select import figure, parse_query, select


def line(step, **more):
    return json.dumps({"step": step, "t": step / 10, "model/loss": 1 / step, **more}) + "\n"


@given(st.lists(st.integers(0, 200), max_size=12), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_fed_in_parts_as_at_once(parts, rare):
    every = [
        line(i + 1, **({"validation/loss": 1.0} if rare and i % 7 < rare else {})).encode()[:-1]
        for i in range(sum(parts))
    ]
    whole, piecewise = Thinner(16), Thinner(16)
    whole.feed(every)
    at = 0
    for part in parts:
        piecewise.feed(every[at : at + part])
        piecewise.metrics()
        at += part
    # The strides grow when they must: where that happens depends on the parts, what is kept of a stride does not.
    for thinner in (whole, piecewise):
        rows = thinner.metrics().rows
        assert len(rows) <= 2 * 16 * 2 + 1
        assert not every or rows[-1]["step"] == len(every)
    assert whole.stride == piecewise.stride
    assert whole.kept == piecewise.kept


def test_an_index_follows_a_log(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    log = run / "metrics.jsonl"
    index = LogIndex(run, cache=tmp_path / "cache")
    assert not index.update()
    log.write_text(line(1) + line(2) + '{"step": 3')
    assert index.update()
    assert [row["step"] for row in index.metrics.rows] == [1, 2]
    assert not index.update()
    with log.open("a") as file:
        file.write(', "model/loss": 5}\n')
    assert index.update()
    assert index.metrics.last()["model/loss"] == 5
    log.write_text(line(1))  # cut by a resume
    assert index.update()
    assert len(index.metrics.rows) == 1
    log.write_text(line(9) + line(10))  # another file, as long or longer
    assert index.update()
    assert [row["step"] for row in index.metrics.rows] == [9, 10]
    log.unlink()
    assert index.update()
    assert not index.metrics.rows
    assert not index.save()
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def long_run(tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "LONG", 50_000)
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(line(i) for i in range(1, 5001)))
    return run


def opened(run, cache):
    index = LogIndex(run, cache=cache)
    index.update()
    return index


def test_a_long_log_is_kept_in_the_cache(tmp_path, long_run):
    cache = tmp_path / "cache"
    first = opened(long_run, cache)
    assert first.save()
    assert not first.save()  # nothing new
    again = LogIndex(long_run, cache=cache)
    again._load()
    assert again._offset == (long_run / "metrics.jsonl").stat().st_size
    again = opened(long_run, cache)
    assert again.metrics.rows == first.metrics.rows == read_metrics(long_run, thin=index_module.ROWS).rows
    with (long_run / "metrics.jsonl").open("a") as file:
        file.write(line(5001))
    assert opened(long_run, cache).metrics.last()["step"] == 5001


@pytest.mark.parametrize("damage", ["{torn", "[]", '{"version": 1}', '{"version": 99}', "\x00", "number", "lines"])
def test_a_damaged_index_is_made_again(tmp_path, long_run, damage):
    cache = tmp_path / "cache"
    first = opened(long_run, cache)
    first.save()
    if damage in ("number", "lines"):
        state = json.loads(first.file.read_text())
        state |= {"number": -1} if damage == "number" else {"kept": {"x": 3}}
        damage = json.dumps(state)
    first.file.write_text(damage)
    assert opened(long_run, cache).metrics.rows == first.metrics.rows


def test_an_index_of_another_log_is_not_believed(tmp_path, long_run):
    cache = tmp_path / "cache"
    opened(long_run, cache).save()
    (long_run / "metrics.jsonl").write_text("".join(line(i, other=2.0) for i in range(1, 6001)))
    found = opened(long_run, cache)
    assert all(row["other"] == 2.0 for row in found.metrics.rows)


def test_the_cache_is_bounded_and_may_be_missing(tmp_path, long_run, monkeypatch):
    monkeypatch.setattr(index_module, "KEPT", 2)
    cache = tmp_path / "cache"
    cache.mkdir()
    for i in range(5):
        (cache / f"{i}.json").write_text("{}")
    opened(long_run, cache).save()
    assert len(list(cache.iterdir())) == 2
    (tmp_path / "file").write_text("")
    assert not opened(long_run, tmp_path / "file" / "cache").save()


def test_a_glance_costs_the_same_for_any_length(tmp_path):
    for count in (0, 1, 2, 30, 20_000):
        path = make(tmp_path, f"run_{count}")
        with (path / "metrics.jsonl").open("w") as log:
            for i in range(1, count + 1):
                log.write(line(i, **({"validation/loss": 2.0} if i % 100 == 0 else {})))
            log.write('{"step": 99999999, "mo')
        glance = read_glance(path)
        rows = spread_rows(path / "metrics.jsonl", POINTS)
        steps = [row["step"] for row in rows]
        assert len(rows) <= POINTS + 1
        assert steps == sorted(set(steps))
        if count:
            assert glance.name == "model/loss"
            assert glance.last["step"] == count
            assert steps[0] == 1
            assert steps[-1] >= 0.99 * count
            assert glance.values[0] == 1.0
        else:
            assert (glance.name, glance.values) == ("", ())


def test_marks(tmp_path):
    path = make(tmp_path, "run")
    assert read_marks(path) == Marks()
    write_marks(path, Marks(("a", "b-1"), True))
    assert read_run(path).marks == Marks(("a", "b-1"), True)
    assert read_run(path).to_json()["tags"] == ["a", "b-1"]
    write_marks(path, Marks())
    assert not (path / "marks.json").exists()
    for damage in ("", "{", "[]", '{"tags": 3, "pinned": 1}', '{"tags": ["\\u001b[2J", "x" , 3, "' + "y" * 30 + '"]}'):
        (path / "marks.json").write_text(damage)
        assert read_marks(path) in (Marks(), Marks(("x",)))
    assert parse_tags(" #a, b  a ") == ("a", "b")
    assert parse_tags("") == ()
    for text in ("a/b", "x" * 25, "\x1b[2J", " ".join(f"t{i}" for i in range(17))):
        with pytest.raises(UsageError):
            parse_tags(text)


@pytest.fixture
def several(tmp_path):
    for i, (model, status) in enumerate([("gan", "running"), ("gan", "done"), ("vae", "done")]):
        rows = [{"step": 1, "generator/loss": 0.2 + i, "validation/fid": 10.0 * i, "lr/model": 0.001}]
        beat = {"host": "elsewhere", "heartbeat": 4e9}
        path = make(tmp_path, f"run_{i}", rows, model=model, status=status, created=1e9, data="mnist", **beat)
        write_marks(path, Marks(("base",) if i == 1 else (), i == 2))
    return sorted(list_runs(tmp_path), key=lambda run: run.name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "012"),
        ("model:gan status:running loss<0.3", "0"),
        ("loss<1.5", "01"),
        ("loss>=1.2", "12"),
        ("fid<15", "01"),
        ("generator/loss<0.3", "0"),
        ("model:GA", "01"),
        ("model=ga", ""),
        ("gan", "01"),
        ("BASE", "1"),
        ("tag:ba", "1"),
        ("tag=base", "1"),
        ("tag=ba", ""),
        ("pinned:yes", "2"),
        ("pinned=true", "2"),
        ("pinned!=true", "01"),
        ("age>2y", "012"),
        ("age<2h", ""),
        ("size<10MB", "012"),
        ("size>1k", ""),
        ("step<1k", "012"),
        ('data:"mnist"', "012"),
        ('model:gan "run_1', "1"),
        ("loss:non", ""),
        ("optim.model.lr=0.001", "012"),
        ("optim.model.lr<0.01", "012"),
    ],
)
def test_queries(several, text, expected):
    query = parse_query(text)
    assert not query.problem
    assert "".join(run.name[-1] for run in several if query.holds(run)) == expected
    words = [word for word in text.split() if '"' not in word]
    if len(words) == len(text.split()) and expected:
        assert "".join(run.name[-1] for run in select(several, [], words)) == expected


@pytest.mark.parametrize("text", ["model:", "loss<", "status=nonsense", "step>x", "age<2parsecs"])
def test_what_is_no_term_yet_is_left_out(several, text):
    query = parse_query(f"gan {text}")
    assert query.problem
    assert len(query.terms) == 1


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_query(text):
    parse_query(text)


def test_which_terms_need_the_log():
    for text, cheap in (
        ("gan status:done", True),
        ("loss:elbo", True),
        ("loss<3", False),
        ("fid<3", False),
        ("size>1", False),
    ):
        assert parse_query(text).cheap == cheap


def test_figures_for_an_order(several):
    assert [figure(run, "loss") for run in several] == [0.2, 1.2, 2.2]
    assert [figure(run, "model") for run in several] == ["gan", "gan", "vae"]


def test_gentool_runs_has_the_same_language(cli, several, tmp_path):
    done = cli("runs", "ls", "--runs", str(tmp_path), "model:gan", "loss<0.3", "--json")
    assert [run["id"] for run in json.loads(done.out)] == ["run_0"]
    assert cli("runs", "ls", "--runs", str(tmp_path), "base", "--json").out.count('"id"') == 1
