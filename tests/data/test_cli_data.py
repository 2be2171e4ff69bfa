"""gentool data: results on stdout, talk on stderr, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentool.cli import run
from gentool.data import find
from gentool.data.known import MNIST

Picture = Callable[..., Path]


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    from gentool.registry import registry

    monkeypatch.setenv("GENTOOL_OFFLINE", "1")
    monkeypatch.setenv("GENTOOL_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture
def pictures(tmp_path: Path, picture: Picture) -> Path:
    for i in range(60):
        picture(tmp_path / "mine" / ["a", "b"][i % 2] / f"{i}.png", seed=i // 2 if i < 20 else i)
    return tmp_path / "mine"


def test_ls(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for file in MNIST.layouts[0]:
        (tmp_path / "d" / "mnist").mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / "mnist" / file.name).touch()
    assert run(["data", "ls", "--data-dir", "d", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mnist"]["found"] == "yes"
    assert rows["mnist"]["where"].endswith("d/mnist")
    assert rows["cifar10"]["found"] == "no"
    assert rows["digits"]["found"] == "embedded"
    assert rows["folder:"]["found"] == "your own"
    assert run(["data", "ls"]) == 0
    out, err = capsys.readouterr()
    assert "fashion-mnist" in out
    assert "`gentool data fetch NAME`" in err
    assert max(map(len, out.splitlines())) <= 120


def test_check_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", "digits", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [part["count"] for part in facts["splits"]] == [1437, 180, 180]
    assert sum(sum(part["classes"].values()) for part in facts["splits"]) == 1797
    from sklearn.datasets import load_digits

    everything = load_digits().data / 16
    mean = sum(part["mean"] * part["count"] for part in facts["splits"]) / 1797
    assert mean == pytest.approx(everything.mean(), abs=2e-4)
    assert facts["shared"] == 0
    assert run(["data", "check", "digits"]) == 0
    assert "duplicates" in capsys.readouterr().out


def test_check_finds_duplicates_and_bad_files(capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
    """Twenty of the pictures are ten pairs; two files are no pictures."""
    assert run(["data", "check", "folder:mine", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(part["count"] for part in facts["splits"]) == 60
    assert facts["shared"] + sum(part["duplicates"] for part in facts["splits"]) in range(8, 11)
    (pictures / "a" / "x\x1b[2J.png").write_text("no")
    (pictures / "b" / "y.png").write_bytes(b"")
    import os

    os.utime(pictures)
    assert run(["data", "check", "folder:mine"]) == 1
    out = capsys.readouterr().out
    assert "cannot be used: a/x\\x1b[2J.png: it is not a PNG" in out
    assert "cannot be used: b/y.png: it is empty" in out
    assert "\x1b" not in out


def test_preview(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["data", "preview", "digits", "-n", "6", "--images", "half"]) == 0
    assert capsys.readouterr().out == "digits-train.png\n"
    assert Image.open(tmp_path / "digits-train.png").width >= 100
    flags = ["--split", "test", "--set", "data.binarize=threshold", "--out", "t.png", "-q"]
    assert run(["data", "preview", "digits", *flags]) == 0
    assert set(np.unique(np.asarray(Image.open(tmp_path / "t.png").convert("L"))[:20, :20])) <= {0, 255}


def test_preview_of_a_folder_without_classes(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "one" / "1.png")
    assert run(["data", "preview", "folder:one", "-q"]) == 0
    assert (tmp_path / "one-train.png").is_file()


def test_fetch_says_where_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (find.cache_folder() / "omniglot").mkdir(parents=True)
    for n in (1, 2):
        (find.cache_folder() / "omniglot" / f"images_background_small{n}.zip").touch()
    assert run(["data", "fetch", "omniglot"]) == 0
    assert capsys.readouterr().out.strip() == str(find.cache_folder() / "omniglot")


WRONG = {
    "check nothing": (["check", "minst"], "no data set 'minst'. Did you mean 'mnist'"),
    "check absent": (["check", "mnist"], "'mnist' is not here"),
    "check prefix": (["check", "folder"], "folder:PATH"),
    "check argument": (["check", "digits:x"], "takes no ':x'"),
    "check missing folder": (["check", "folder:./none"], "'./none' of pictures is not there"),
    "check control": (["check", "folder:\x1b[2J"], "\\x1b[2J"),
    "check no file": (["check", "array:none.npy"], "none.npy' cannot be read"),
    "data dir": (["check", "mnist", "--data-dir", "none"], "data folder 'none'"),
    "ls data dir": (["ls", "--data-dir", "none"], "data folder 'none'"),
    "fetch embedded": (["fetch", "digits"], "nothing to fetch"),
    "fetch offline": (["fetch", "cifar10"], "GENTOOL_OFFLINE forbids"),
    "fetch folder": (["fetch", "folder:x"], "nothing to fetch"),
    "preview split": (["preview", "digits", "--split", "tests"], "Did you mean 'test'"),
    "preview zero": (["preview", "digits", "-n", "0"], "greater than or equal to 1"),
    "preview huge": (["preview", "digits", "-n", "999999999"], "less than or equal to 1024"),
    "preview key": (["preview", "digits", "--set", "data.binarise=threshold"], "Did you mean 'binarize'"),
    "preview section": (["preview", "digits", "--set", "train.steps=3"], "not a data setting"),
    "preview value": (["preview", "digits", "--set", "data.binarize=thershold"], "one of none, threshold, stochastic"),
    "preview resize": (["preview", "digits", "--set", "data.resize=-1"], "at least 0"),
    "preview levels": (["preview", "digits", "--set", "data.levels=1"], "at least 2"),
    "preview both": (
        ["preview", "digits", "--set", "data.levels=7", "--set", "data.binarize=threshold"], "makes 2 levels",
    ),
    "preview suffix": (["preview", "digits", "--out", "x.gif"], ".png"),
    "preview place": (["preview", "digits", "--out", "none/x.png"], "no folder 'none'"),
    "no verb": (["lss"], "no command 'lss'. Did you mean 'ls'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls(case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 2, one line on stderr, nothing on stdout, nothing left behind."""
    arguments, why = WRONG[case]
    before = sorted(tmp_path.rglob("*"))
    assert run(["data", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_ls_and_help_are_light() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from gentool.cli import run; code = run(['data', 'ls']);"
        "print([m for m in ('torch', 'numpy', 'PIL', 'sklearn', 'pooch') if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().endswith("[]")
