"""`gentool runs` as a person calls it."""

import csv
import io
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from runs_on_disk import make
from show.screen import cells, in_pty

from gentool.runs.files import process_start
from gentool.runs.lock import RunLock

ROWS = [
    {"step": s, "t": s / 10, "model/loss": 3.0 / s, **({"validation/loss": 4.0 / s} if s % 5 == 0 else {})}
    for s in range(1, 21)
]


@pytest.fixture
def home(cli, tmp_path):
    """Three runs under ./runs of the folder that `cli` works in."""
    root = tmp_path / "runs"
    best = {"step": 20, "name": "validation/loss", "value": 0.2}
    make(root, "2026-11-20_vae_3f2a", ROWS, created=time.time() - 7200, checkpoints=[10, 20], best=best,
         argv=["train", "vae", "--set", "a=b c"], versions={"torch": "2.13"}, parameters=1234)  # fmt: skip
    make(root, "2026-11-21_vae_77aa", ROWS[:10], '[model]\nname = "vae"\n[optim.model]\nlr = 0.01\n', created=time.time() - 60,
         status="interrupted", step=10, total_steps=20, checkpoints=[10])  # fmt: skip
    make(root, "2026-11-21_gan_1234", created=50.0, model="gan", status="failed", reason="the loss is \x1b[31mNaN")
    (root / "2026-11-20_vae_3f2a" / "samples").mkdir()
    Image.new("L", (56, 56)).save(root / "2026-11-20_vae_3f2a" / "samples" / "000020.png")
    return root


def alive(**facts):
    return {"status": "running", "host": socket.gethostname(), "pid": os.getpid(),
            "pid_started": process_start(os.getpid()), "heartbeat": time.time(), **facts}  # fmt: skip


def fails(result, *words):
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.startswith("gentool: ")
    assert result.err.count("\n") == 1
    assert "\x1b" not in result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err


# -- ls ----------------------------------------------------------------------------------------------------------------


def test_runs_lists_the_newest_first(cli, home):
    for call in (("runs",), ("runs", "ls")):
        result = cli(*call)
        assert result.code == 0
        lines = result.out.splitlines()
        assert lines[0].split() == ["run", "model", "data", "status", "step", "metric", "age", "size"]
        assert [line.split()[0][-4:] for line in lines[1:]] == ["77aa", "3f2a", "1234"]
        assert "0.2 best validation/loss" in lines[2]
        assert "2 h" in lines[2]
        assert "10/20" in lines[1]
        assert "\x1b" not in result.out + result.err


def test_runs_as_json(cli, home):
    make(home, "2026-11-21_nan_0000", [{"step": 1, "t": 0, "model/loss": math.nan}], created=1.0)
    found = json.loads(cli("runs", "--json").out)
    assert [run["id"][-4:] for run in found] == ["77aa", "3f2a", "1234", "0000"]
    assert found[1]["last"]["validation/loss"] == 0.2
    assert found[1]["checkpoints"] == [10, 20]
    assert found[3]["last"]["model/loss"] is None
    assert json.loads(cli("runs", "ls", "--json", "--runs", "nowhere").out) == []


def test_filter_sort_and_limit(cli, home):
    def ids(*call):
        return [run["id"][-4:] for run in json.loads(cli("runs", *call, "--json").out)]

    assert ids("ls", "--filter", "status=done", "model=vae") == ["3f2a"]
    assert ids("--filter", "model=vae", "--filter", "step>15") == []
    assert ids("--filter", "model=vae", "--sort", "validation/loss") == ["3f2a", "77aa"]
    assert ids("--sort", "-started", "--limit", "1") == ["77aa"]
    result = cli("runs", "--limit", "2")
    assert len(result.out.splitlines()) == 3
    assert "2 of 3 runs" in result.err
    none = cli("runs", "--filter", "model=x")
    assert (none.code, none.out) == (0, "")
    assert "No run passes the filter" in none.err


def test_no_runs_yet(cli):
    result = cli("runs")
    assert (result.code, result.out) == (0, "")
    assert "gentool train" in result.err


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("runs", "--filter", "stauts=done"), ["Did you mean 'status'"]),
        (("runs", "--filter", "nonsense"), ["KEY=VALUE"]),
        (("runs", "--sort", "bset"), ["Did you mean 'best'"]),
        (("runs", "--limit", "0"), ["--limit"]),
        (("runs", "lst"), ["Did you mean 'ls'"]),
        (("runs", "show"), ["RUN"]),
        (("runs", "show", "3f2b"), ["There is no run '3f2b'"]),
        (("runs", "show", "2026"), ["fits 3 runs"]),
        (("runs", "show", "\x1b[2J"), ["\\x1b[2J"]),
        (("runs", "show", "../../etc"), ["../../etc"]),
        (("runs", "show", "a" * 300), ["no file can be called so"]),
        (("runs", "show", "3f2a", "--metric", "los"), ["No metric is called 'los'"]),
        (("runs", "show", "3f2a", "--out", "plot.gif"), [".png"]),
        (("runs", "show", "1234", "--out", "plot.png"), ["no metrics to plot"]),
        (("runs", "compare", "3f2a"), ["two runs or more"]),
        (("runs", "compare", "3f2a", "2026-11-20_vae_3f2a"), ["two runs or more"]),
        (("runs", "compare", "3f2a", "77aa", "--metric", "x"), ["No metric of these runs is called 'x'"]),
        (("runs", "export", "3f2a"), ["--csv FILE or --tensorboard DIR"]),
        (("runs", "export", "3f2a", "--csv", "no/such/folder.csv"), ["no folder"]),
        (("runs", "export", "3f2a", "--csv", "a.xls"), [".csv"]),
        (("runs", "rm", "3f2a"), ["--yes"]),
        (("runs", "rm", "latest", "--yes"), ["There is no run 'latest'"]),
        (("runs", "rm", "vae", "--yes"), ["There is no run 'vae'"]),
        (("runs", "rm", "..", "--yes"), ["is not a run"]),
        (("runs", "rm", ".", "--yes"), ["is not a run"]),
        (("runs", "rm", "../../etc", "--yes"), ["../../etc"]),
        (("runs", "rm", "/etc", "--yes"), ["is not a run"]),
        (("runs", "rm", "", "--yes"), ["empty"]),
        (("runs", "rm", "3f2a", "nothing", "--yes"), ["There is no run 'nothing'"]),
    ],
)
def test_wrong_calls(cli, home, tmp_path, call, words):
    def everything():
        return sorted(str(p) for p in tmp_path.rglob("*"))

    before = everything()
    fails(cli(*call), *words)
    assert everything() == before


# -- show and compare --------------------------------------------------------------------------------------------------


def test_show(cli, home, tmp_path):
    result = cli("runs", "show", "3f2a", "--out", "plot.png")
    assert result.code == 0
    for text in (
        "2026-11-20_vae_3f2a",
        "done",
        "best         validation/loss 0.2 at step 20",
        "10, 20",
        "gentool train vae --set 'a=b c'",
        "optim.model.lr",
        "--set",
        "model/loss",
        "gentool sample runs/2026-11-20_vae_3f2a -n 16",
        "000020.png",
    ):
        assert text in result.out
    assert result.out.splitlines()[-1] == "plot.png"
    assert Image.open(tmp_path / "plot.png").size == (900, 540)
    assert "\x1b" not in result.out + result.err
    row = next(line for line in result.out.splitlines() if line.startswith("validation/loss"))
    assert row.split() == ["validation/loss", "0.2", "0.2", "20", "0.8", "4"]


def test_show_gives_the_next_command(cli, home):
    assert "gentool resume runs/2026-11-21_vae_77aa\n" in cli("runs", "show", "77aa").out
    assert "--steps 20" in cli("runs", "show", "3f2a").out
    failed = cli("runs", "show", "gan").out
    assert "failed: the loss is \\x1b[31mNaN" in failed
    assert "gentool resume" not in failed  # there is nothing to resume from


def test_show_as_json(cli, home):
    found = json.loads(cli("runs", "show", "latest", "--json").out)
    assert found["config"]["optim.model.lr"] == 0.01
    assert found["status"] == "interrupted"


def test_show_survives_every_damage(cli, home):
    path = home / "2026-11-20_vae_3f2a"
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(b"\x00\x00garbage\x1b[2J\n[1]\n" + b'{"step": 21, "model/lo')
    (path / "samples" / "000030.png").write_bytes(b"no picture")
    os.utime(path / "samples" / "000030.png", (2e9, 2e9))
    (path / "config.toml").write_bytes(b"[[[")
    result = cli("runs", "show", "3f2a", "--images", "half")
    assert result.code == 0
    assert "2 lines of metrics.jsonl could not be read" in result.out
    assert "not TOML" in result.out
    assert "cannot be read as a picture" in result.err
    (path / "run.json").write_bytes(b'{"status": "do')
    result = cli("runs", "show", "3f2a")
    assert result.code == 0
    assert "damaged: run.json is cut short" in result.out
    assert "damaged" in cli("runs").out
    assert "\x1b" not in result.out + result.err


def test_compare(cli, home, tmp_path):
    result = cli("runs", "compare", "3f2a", "77aa", "--out", "plot.png")
    assert result.code == 0
    assert re.search(r"optim\.model\.lr +0\.001 +0\.01", result.out)
    assert "model.name" not in result.out
    assert re.search(r"validation/loss +0\.2 +0\.4", result.out)
    assert "A vae: validation/loss" in result.out
    assert Image.open(tmp_path / "plot.png").size == (900, 540)
    found = json.loads(cli("runs", "compare", "3f2a", "77aa", "1234", "--json").out)
    assert found["config"] == {"optim.model.lr": [0.001, 0.01, 0.001]}
    assert found["metrics"]["model/loss"] == [0.15, 0.3, None]


# -- export ------------------------------------------------------------------------------------------------------------


def test_csv(cli, home, tmp_path):
    path = home / "2026-11-20_vae_3f2a" / "metrics.jsonl"
    lines = [
        {"step": 1, "t": 0.5, "a": 1.0},
        {"step": 2, "t": 1.0, "a": 2.0},
        {"step": 3, "t": 1.5, "a": 9.0},
        {"step": 3, "t": 1.5, "validation/loss": 9.0},
        {"step": 2, "t": 1.1, "a": 2.5},  # killed and resumed from step 1
        {"step": 3, "t": 1.6, "a": None},
        {"step": 3, "t": 1.6, "validation/loss": 3.0},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "garbage\n")
    result = cli("runs", "export", "3f2a", "--csv", "m.csv")
    assert (result.code, result.out) == (0, "m.csv\n")
    rows = list(csv.reader(io.StringIO((tmp_path / "m.csv").read_text())))
    assert rows == [
        ["step", "t", "validation/loss", "a"],
        ["1", "0.5", "", "1.0"],
        ["2", "1.1", "", "2.5"],
        ["3", "1.6", "3.0", "nan"],
    ]
    assert list(csv.reader(io.StringIO(cli("runs", "export", "3f2a", "--csv", "-").out))) == rows


def test_tensorboard(cli, home, tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra 'tensorboard'"
    )
    result = cli("runs", "export", "3f2a", "--tensorboard", "tb")
    assert result.code == 0
    folder = Path(result.out.strip())
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    found = [(event.step, round(event.value, 6)) for event in events.Scalars("validation/loss")]
    assert found == [(5, 0.8), (10, 0.4), (15, 0.266667), (20, 0.2)]
    assert len(events.Scalars("model/loss")) == 20
    assert [(i.step, i.width) for i in events.Images("samples")] == [(20, 56)]
    fails(cli("runs", "export", "3f2a", "--tensorboard", "tb"), "already holds events")


def test_tensorboard_is_an_extra(cli, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    fails(cli("runs", "export", "3f2a", "--tensorboard", "tb"), "pip install 'gentool[tensorboard]'")


# -- rm ----------------------------------------------------------------------------------------------------------------


def test_rm(cli, home):
    result = cli("runs", "rm", "3f2a", "2026-11-21_gan", "--yes")
    assert result.code == 0
    assert result.out.splitlines() == ["runs/2026-11-20_vae_3f2a", "runs/2026-11-21_gan_1234"]
    assert [path.name for path in home.iterdir()] == ["2026-11-21_vae_77aa"]


def test_rm_by_path_and_leftovers(cli, home):
    (home / ".removed-old-1").mkdir()
    (home / ".removed-old-1" / "x").write_text("x")
    assert cli("runs", "rm", str(home / "2026-11-20_vae_3f2a") + "/", "--yes").code == 0
    assert sorted(path.name[-4:] for path in home.iterdir()) == ["1234", "77aa"]


def test_a_live_run_is_not_removed(cli, home):
    path = make(home, "2026-11-22_vae_live", **alive())
    fails(cli("runs", "rm", "2026-11-22_vae_live", "--yes"), "is being trained", str(os.getpid()))
    # One whose run.json does not say so, but whose lock is held.
    other = make(home, "2026-11-22_vae_lock", status="done")
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path; from gentool.runs.lock import RunLock\n"
         "with RunLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)", str(other)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout.readline() == b"held\n"
    fails(cli("runs", "rm", "2026-11-22_vae_lock", "--yes"), "trained by another process")
    holder.kill()
    holder.wait()
    assert path.is_dir()
    assert other.is_dir()
    assert cli("runs", "rm", "2026-11-22_vae_lock", "--yes").code == 0


def test_nothing_outside_is_removed(cli, home, tmp_path):
    outside = make(tmp_path / "elsewhere", "2026-11-20_vae_0000")
    (home / "2026-11-22_link").symlink_to(outside)
    (home / "folder").mkdir()
    (home / "folder" / "precious").write_text("x")
    for text in (
        "2026-11-22_link",
        "runs/2026-11-22_link",
        str(outside),
        "elsewhere/2026-11-20_vae_0000",
        "runs/../elsewhere/2026-11-20_vae_0000",
        "folder",
        "runs/folder",
        "runs",
        "runs/2026-11-20_vae_3f2a/checkpoints",
    ):
        fails(cli("runs", "rm", text, "--yes"))
    assert (outside / "run.json").is_file()
    assert (home / "folder" / "precious").is_file()
    # A link inside a run is removed, what it points to is not.
    (home / "2026-11-20_vae_3f2a" / "samples" / "out").symlink_to(outside)
    assert cli("runs", "rm", "3f2a", "--yes").code == 0
    assert (outside / "run.json").is_file()


def test_one_bad_name_removes_nothing(cli, home):
    make(home, "2026-11-22_vae_live", **alive())
    fails(cli("runs", "rm", "3f2a", "2026-11-22_vae_live", "--yes"))
    assert (home / "2026-11-20_vae_3f2a").is_dir()


def test_a_removed_run_is_locked_first(home):
    """A trainer that resumes at the same moment holds the lock; the removal gives way."""
    from gentool.errors import UsageError
    from gentool.runs.reader import read_run
    from gentool.runs.remove import remove_run

    view = read_run(home / "2026-11-20_vae_3f2a")
    with RunLock(view.path), pytest.raises(UsageError):
        remove_run(view, home)
    assert view.path.is_dir()


# -- terminals ---------------------------------------------------------------------------------------------------------

CALL = "import sys, os; os.chdir({where!r}); from gentool.cli import run; sys.exit(max(run(c) for c in {calls!r}))"


def at_terminal(tmp_path, *calls, **options):
    return in_pty(CALL.format(where=str(tmp_path), calls=[call.split() for call in calls]), **options)["pty"]


@pytest.mark.parametrize("columns", [80, 40, 0])
def test_a_terminal_is_not_overrun(home, tmp_path, columns):
    make(home, "2026-11-22_" + "very-long-name-" * 4 + "0001", ROWS, model="vqvae", data="fashion-mnist", created=time.time())
    seen = at_terminal(tmp_path, "runs", "runs show 3f2a", "runs compare 3f2a 77aa", columns=columns, COLORTERM="truecolor")
    assert "\x1b[32mdone" in seen
    for row in cells(seen):
        text = "".join(char for char, _, _ in row)
        assert len(row) < (columns or 80) or text.startswith("  gentool "), text  # a command is never cut


def test_a_terminal_has_colours_only_if_wanted(home, tmp_path):
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in at_terminal(tmp_path, "runs", "runs show 3f2a", **env)


def test_a_terminal_shows_the_newest_picture(home, tmp_path):
    assert "\n000020.png\n" in at_terminal(tmp_path, "runs show 3f2a", COLORTERM="truecolor")
    assert "\n000020.png\n" not in at_terminal(tmp_path, "runs show 3f2a --images off")


def test_rm_asks(home, tmp_path):
    for answer, left in (("n", True), ("y", False)):
        seen = at_terminal(tmp_path, "runs rm 3f2a", typed=answer + "\n")
        assert "Remove 1 run for good?" in seen
        assert ("Nothing was removed." in seen) == left
        assert (home / "2026-11-20_vae_3f2a").is_dir() == left


def test_a_closed_pipe_is_quiet(home, tmp_path):
    for i in range(300):
        make(home, f"2026-10-01_vae_{i:04x}")
    command = f"{sys.executable} -c 'import sys; from gentool.cli import main; sys.argv[1:] = [\"runs\"]; main()' | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("run ")
    assert done.stderr == ""


def test_the_front_stays_light():
    code = "import sys; import gentool.cli.runs; sys.exit(bool({{{}}} & set(sys.modules)))"
    heavy = "'torch', 'numpy', 'PIL', 'rich', 'textual', 'plotext'"
    assert subprocess.run([sys.executable, "-c", code.format(heavy)], check=False).returncode == 0
    code = code.replace("gentool.cli.runs", "gentool.cli; gentool.cli.run(['runs', '--runs', 'nowhere'])")
    assert subprocess.run([sys.executable, "-c", code.format(heavy)], check=False).returncode == 0
