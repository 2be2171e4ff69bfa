"""Runs as they lie on disk: whole, damaged, crashed, hostile; and which of them a person means."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_on_disk import make

from gentool.errors import GentoolError, UsageError
from gentool.runs.files import process_start
from gentool.runs.find import find_run
from gentool.runs.reader import is_run, list_runs, read_run, resolve_run
from gentool.runs.select import order, select
from gentool.show.text import safe_text


def test_a_whole_run(tmp_path):
    rows = [{"step": 1, "t": 0.1, "model/loss": 2.0}, {"step": 2, "t": 0.2, "model/loss": 1.0, "validation/loss": 1.5}]
    best = {"step": 2, "name": "validation/loss", "value": 1.5}
    path = make(tmp_path, "2026-11-20_vae_3f2a", rows, checkpoints=[1, 2], best=best)
    (path / "checkpoints" / "000003").mkdir()
    (path / "checkpoints" / ".tmp-000004-1").mkdir()
    view = read_run(path)
    assert (view.status, view.model, view.data, view.step, view.total, view.seconds) == ("done", "vae", "digits", 10, 10, 5.0)
    assert view.last == {"step": 2, "t": 0.2, "model/loss": 1.0, "validation/loss": 1.5}
    assert view.key == ("best validation/loss", 1.5)
    assert [(saved.step, saved.whole) for saved in view.checkpoints] == [(1, True), (2, True), (3, False)]
    assert view.config["optim.model.lr"] == 0.001
    assert view.changed == {"optim.model.lr": "--set"}
    assert view.size == sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    assert json.loads(json.dumps(view.to_json()))["checkpoints"] == [1, 2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b'{"status": "done"', "cut short"),
        (b"\x00" * 50, "cut short"),
        (b"\xff\xfe\x00", "not text"),
        (b"[1, 2]", "no table"),
        (b"[" * 200_000, "cut short"),
        (b"{}", "no known status"),
        (b'{"status": "dancing\\u001b[2J"}', r"no known status (dancing\x1b[2J)"),
        (b'{"status": ["done"]}', "no known status"),
        (b" " * 5_000_000, "over 4 MB"),
    ],
)
def test_damaged_runs_say_why(tmp_path, content, reason):
    path = make(tmp_path, "a_run")
    (path / "run.json").write_bytes(content)
    view = read_run(path)
    assert view.status == "damaged"
    assert reason in view.reason
    assert "\x1b" not in view.reason
    assert [run.status for run in list_runs(tmp_path)] == ["damaged"]


def test_a_lost_run_json_leaves_the_config(tmp_path):
    path = make(tmp_path, "2026-11-20_vae_0001")
    (path / "run.json").unlink()
    assert is_run(path)
    view = read_run(path)
    assert (view.status, view.model) == ("damaged", "vae")
    assert "missing" in view.reason


def test_a_pipe_called_run_json_does_not_hang(tmp_path):
    path = make(tmp_path, "a_run")
    (path / "run.json").unlink()
    os.mkfifo(path / "run.json")
    assert read_run(path).status == "damaged"


def test_a_damaged_config_is_named(tmp_path):
    path = make(tmp_path, "a_run", config="[model\nname = ")
    view = read_run(path)
    assert view.config == {}
    assert "not TOML" in view.config_problem
    assert view.status == "done"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["status", "pid", "host", "heartbeat", "pid_started", "created", "updated", "step", "total_steps", "best", "model",
        "reason", "seconds", "name", "argv", "versions"]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), json_values | st.sampled_from(["running", "done"]), max_size=10))
def test_any_json_in_run_json_is_shown(tmp_path_factory, meta):
    path = tmp_path_factory.getbasetemp() / "any_run"
    path.mkdir(exist_ok=True)
    (path / "run.json").write_text(json.dumps(meta))
    view = read_run(path)
    from gentool.show.tables import to_json

    json.loads(to_json(view.to_json()))
    assert "\x1b" not in view.model + view.reason


# -- alive or not ------------------------------------------------------------------------------------------------------


def status(tmp_path, **meta):
    facts = {"status": "running", "host": socket.gethostname(), "heartbeat": time.time(), "pid": os.getpid(),
             "pid_started": process_start(os.getpid())}  # fmt: skip
    return read_run(make(tmp_path, f"run{time.monotonic_ns()}", **(facts | meta)))


def test_running_and_crashed(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert status(tmp_path).live
    # A stopped process (Ctrl-Z, a suspended laptop) has an old heartbeat and lives.
    assert status(tmp_path, heartbeat=time.time() - 3600).live
    gone = status(tmp_path, pid=child.pid)
    assert gone.status == "crashed"
    assert str(child.pid) in gone.reason
    again = status(tmp_path, pid_started=1)
    assert again.status == "crashed"
    assert "in use again" in again.reason
    assert status(tmp_path, pid=1 << 40).status in ("crashed", "running")  # no number of a process: never a traceback


def test_another_machine_is_judged_by_its_heartbeat(tmp_path):
    assert status(tmp_path, host="elsewhere", pid=1).live
    assert status(tmp_path, host="elsewhere", heartbeat=time.time() + 500).live
    gone = status(tmp_path, host="else\x1bwhere", heartbeat=time.time() - 61)
    assert gone.status == "crashed"
    assert "no sign of life from else\\x1bwhere for 61 s" in gone.reason
    assert status(tmp_path, host="elsewhere", heartbeat=None).status == "crashed"


# -- many --------------------------------------------------------------------------------------------------------------


def test_listing(tmp_path):
    make(tmp_path, "2026-11-20_vae_0001", created=100.0)
    make(tmp_path, "2026-11-20_gan_0002", created=300.0, model="gan")
    make(tmp_path, "2026-11-21_gan_0003", created=200.0, model="gan")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".removed-x").mkdir()
    (tmp_path / ".removed-x" / "run.json").write_text("{}")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "2026-11-20_vae_0001")
    assert [run.name[-4:] for run in list_runs(tmp_path)] == ["0002", "0003", "0001"]
    assert list_runs(tmp_path / "nowhere") == []
    with pytest.raises(UsageError, match="not a folder"):
        list_runs(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_one_sentence(tmp_path):
    tmp_path.chmod(0)
    with pytest.raises(GentoolError, match="cannot be read"):
        list_runs(tmp_path)


def test_thousands_of_runs(tmp_path):
    for i in range(3_000):
        path = tmp_path / f"2026-11-20_vae_{i:05x}"
        path.mkdir()
        (path / "run.json").write_text(f'{{"status": "done", "model": "vae", "step": {i}, "created": {i}}}')
    begun = time.process_time()
    views = list_runs(tmp_path)
    assert len(views) == 3_000
    assert views[0].step == 2_999
    assert resolve_run("2026-11-20_vae_00100", tmp_path).step == 256
    assert time.process_time() - begun < 3


# -- which one ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "runs"
    make(root, "2026-11-20_vae_3f2a", created=100.0)
    make(root, "2026-11-21_vae_77aa", created=200.0, preset="debug")
    make(root, "2026-11-21_my-name_1234", created=150.0, model="gan", name="my-name")
    return root


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-20_vae_3f2a", "3f2a"),
        ("2026-11-20", "3f2a"),
        ("2026-11-21_v", "77aa"),
        ("3f2a", "3f2a"),
        ("vae_77aa", "77aa"),
        ("latest", "77aa"),
        ("vae", "77aa"),
        ("gan", "1234"),
        ("my-name", "1234"),
        ("{root}/2026-11-20_vae_3f2a", "3f2a"),
        ("{root}/2026-11-20_vae_3f2a/", "3f2a"),
    ],
)
def test_a_run_is_found(root, text, found):
    assert resolve_run(text.format(root=root), root).name.endswith(found)


def test_a_run_is_found_from_inside(root, monkeypatch):
    monkeypatch.chdir(root / "2026-11-20_vae_3f2a")
    assert resolve_run(".", root).name == "2026-11-20_vae_3f2a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-11-21", "fits 2 runs: 2026-11-21_vae_77aa, 2026-11-21_my-name_1234"),
        ("lates", "Did you mean 'latest'"),
        ("2026-11-20_vae_3f2b", "Did you mean '2026-11-20_vae_3f2a'"),
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "no file can be called so"),
        ("x" * 300, "no file can be called so"),
        ("../../etc", "There is no run|is not a run"),
        ("/etc", "'/etc' is not a run"),
        ("..", "is not a run"),
        ("\x1b[2J[bold]", r"There is no run '\\x1b\[2J\[bold\]'"),
        ("\udcff", "There is no run"),
    ],
)
def test_a_run_is_not_found(root, text, message):
    with pytest.raises(UsageError, match=message) as error:
        resolve_run(text, root)
    assert "\x1b" not in str(error.value)
    assert "\n" not in str(error.value)


def test_what_cannot_be_undone_takes_no_loose_names(root):
    for text in ("latest", "vae"):
        with pytest.raises(UsageError):
            find_run(text, root, exact=True)
    assert find_run("3f2a", root, exact=True).name.endswith("3f2a")


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=20))
def test_any_text_is_a_run_or_one_sentence(tmp_path_factory, text):
    root = tmp_path_factory.getbasetemp() / "some_runs"
    if not root.exists():
        make(root, "2026-11-20_vae_3f2a")
    said = None
    try:
        found = resolve_run(text, root).path.resolve().parent
    except UsageError as error:
        said, found = str(error), root.resolve()
    assert found == root.resolve()
    assert said is None or safe_text(said) == said


# -- filters -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path):
    for i, (model, state, lr) in enumerate([("vae", "done", 0.001), ("vae", "failed", 0.01), ("vqvae", "done", 0.1)]):
        config = f'[model]\nname = "{model}"\n[optim.model]\nlr = {lr}\n[train]\ncompile = false\n'
        rows = [{"step": 1, "model/loss": 3.0 - i}]
        make(tmp_path, f"run_{i}", rows, config, model=model, status=state, created=float(i), step=i)
    return list_runs(tmp_path)[::-1]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], "012"),
        (["status=done"], "02"),
        (["status!=done"], "1"),
        (["status=done", "model=vae"], "0"),
        (["model=v*"], "012"),
        (["model=VAE"], "01"),
        (["step>0"], "12"),
        (["step>=1", "step<2"], "1"),
        (["model/loss<=2"], "12"),
        (["optim.model.lr=1e-2"], "1"),
        (["train.compile=false"], "012"),
        (["id=run_2"], "2"),
        (["best<1"], ""),
    ],
)
def test_filters(several, filters, expected):
    assert "".join(run.name[-1] for run in select(several, filters)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("status", "takes KEY=VALUE"),
        ("status=", "takes KEY=VALUE"),
        ("status=finished", "no run has that status"),
        ("stauts=done", "Did you mean 'status'"),
        ("step>x", "needs a number"),
        ("optim.model.lt=1", "Did you mean 'optim.model.lr'"),
    ],
)
def test_wrong_filters(several, text, message):
    with pytest.raises(UsageError, match=message):
        select(several, [text])


def test_orders(several):
    def names(key):
        return "".join(run.name[-1] for run in order(several, key))

    assert names("step") == "012"
    assert names("-step") == "210"
    assert names("model/loss") == "210"
    assert names("-model") == "201"
    assert names("optim.model.lr") == "012"
    assert names("best") == "012"  # nobody has one: as they were
    with pytest.raises(UsageError, match="Did you mean"):
        order(several, "model/los")
