"""Texts, pairs and labels from the command line: train, resume, draw, score, look, and every wrong call a sentence."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

FAMILY = str(Path(__file__).parents[1] / "tiny_sequences.py")
TEXT = "A text of one's own, with a control \x1b[31m in it.\r\n" * 60


@pytest.fixture(autouse=True)
def tiny() -> None:
    from gentool.registry import use_plugin_files

    use_plugin_files([FAMILY])


@pytest.fixture
def trained(cli: Callable[..., Any], tmp_path: Path) -> Path:
    """A run of the model of text on a file of one's own."""
    Path("my.txt").write_bytes(TEXT.encode())
    done = cli("train", "tiny-text", "--data", "text:my.txt", "--name", "own", "--json", "--quiet")
    assert done.code == 0, done.err
    return Path(json.loads(done.out)["run"])


def test_a_day_with_text(cli: Callable[..., Any], trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    previews = sorted(path.name for path in (trained / "samples").iterdir())
    assert previews == [
        "000003.txt", "000006.txt", "000009.txt", "000012-samples.txt", "000012.txt"
    ]  # fmt: skip
    Path("my.txt").unlink()  # sampling needs no data
    one = cli("sample", "own", "--prompt", "A ")
    assert one.code == 0, one.err
    assert one.out.startswith("A ")
    assert "own" in one.err
    drawn = cli("sample", "own", "-n", "3", "--set", "length=200", "--json")
    texts = json.loads(drawn.out)["text"]
    assert len(texts) == 3
    assert cli("sample", "own", "-n", "3", "--set", "length=200", "--json").out == drawn.out
    piped = cli("sample", "own", "-n", "3", "--set", "length=200").out
    assert "\x1b" not in piped
    assert "\x1b" in "".join(texts)  # it has learnt the control character: what is shown is made safe
    assert "\\x1b" in piped
    for ending in ("txt", "json"):
        result = cli("sample", "own", "-n", "2", "--out", f"two.{ending}")
        assert result.out == f"two.{ending}\n"
    assert json.loads(Path("two.json").read_text()) == json.loads(cli("sample", "own", "-n", "2", "--json").out)["text"]

    class Stdin:
        buffer = io.BytesIO(b"A text\n")

    monkeypatch.setattr("sys.stdin", Stdin)
    assert cli("sample", "own", "--prompt", "-").out.startswith("A text")

    Path("my.txt").write_bytes(TEXT.encode())
    scored = cli("eval", "own", "--json")
    report = json.loads(scored.out)["reports"][0]
    assert report["scalars"]["nats/char"]["value"] > 0
    assert "stateful over the whole text" in report["protocol"]
    Path("other.txt").write_text("A text of no one. " * 30)
    assert cli("eval", "own", "--data", "text:other.txt", "--perplexity").code == 0
    again = cli("resume", "own", "--steps", "14", "--json")
    assert json.loads(again.out)["step"] == 14, again.err
    shown = cli("runs", "show", "own")
    assert "000014" in shown.out
    assert "\x1b" not in shown.out


def test_labels(cli: Callable[..., Any]) -> None:
    done = cli("train", "tiny-label", "--steps", "60", "--name", "guesser")
    assert done.code == 0, done.err
    assert "predicted (true), validation: " in done.err
    run = Path(done.out.strip())
    assert (run / "samples/000060-samples.png").stat().st_size > 1000
    scored = cli("eval", "guesser")
    assert "accuracy  (digits test, N=180" in scored.out
    report = json.loads(cli("eval", "guesser", "--json").out)["reports"][0]
    assert report["scalars"]["accuracy"]["value"] > 60
    assert sum(map(sum, report["extra"]["confusion"])) == 180
    assert "gentool sample" not in done.err  # it has no sampler


def test_a_vocabulary_learnt_once_stays(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Byte pairs: a resumed run and a sample use those in the checkpoint."""
    call = (
        "train",
        "tiny-text",
        "--set",
        "data.tokens=bpe",
        "--set",
        "data.vocabulary=300",
        "--name",
        "pairs",
        "--json",
    )
    assert cli(*call, "--steps", "4", "-q").code == 0
    done = cli("resume", "pairs", "--steps", "8", "--json")
    whole = cli(*call[:-2], "whole", "--json", "--steps", "8", "-q")
    assert json.loads(done.out)["digest"] == json.loads(whole.out)["digest"]
    assert cli("sample", "pairs", "--prompt", "漢字").out.startswith("漢字")


def test_data_of_texts_and_pairs(cli: Callable[..., Any], tmp_path: Path) -> None:
    Path("my.txt").write_bytes(TEXT.encode())
    checked = cli("data", "check", "text:my.txt")
    assert checked.code == 0, checked.err
    assert "Control characters: \\x1b (60)" in checked.out
    assert json.loads(cli("data", "check", "text:my.txt", "--json").out)["controls"] == 60
    Path("my.tsv").write_text("a b\tc\n" * 3 + "d\te\nalone\n")
    checked = cli("data", "check", "pairs:my.tsv")
    assert checked.code == 1
    assert "cannot be used: line 5: it has 1 column, not 2" in checked.out
    assert json.loads(cli("data", "check", "numbers", "--json").out)["shared"] == [0, 0]
    seen = cli("data", "preview", "text:my.txt", "-n", "2", "--set", "data.window=20")
    assert seen.code == 0
    assert "\x1b" not in seen.out
    pairs = cli("data", "preview", "numbers", "-n", "3", "--split", "test", "--out", "n.txt")
    assert pairs.out == "n.txt\n"
    assert [line.count("\t") for line in Path("n.txt").read_text().splitlines()] == [1, 1, 1]
    rows = {row["name"]: row["kind"] for row in json.loads(cli("data", "ls", "--json").out)}
    assert (rows["pydocs"], rows["numbers"], rows["digits"]) == ("text", "pairs", "images")
    facts = json.loads(cli("info", "pydocs", "--json").out)[0]
    assert facts["holds"] == "text"
    assert "window" in [row["name"] for row in facts["settings"]]


def test_config_and_dry_run_have_the_settings_of_the_kind(cli: Callable[..., Any]) -> None:
    printed = cli("config", "tiny-text").out
    assert "window = 16" in printed
    assert "binarize" not in printed
    facts = json.loads(cli("train", "tiny-text", "--dry-run", "--json", "--set", "data.window=64").out)
    assert facts["config"]["data.window"] == {"value": 64, "source": "--set"}
    assert "windows of 16, 96 characters" in cli("train", "tiny-text", "--dry-run").out


WRONG = [
    ("train tiny-text --set data.windw=3", "Did you mean 'data.window'"),
    ("train tiny-text --set data.window=0", "at least 1"),
    ("train tiny-text --set data.tokens=runes", "one of characters, bpe"),
    ("train tiny-text --set data.binarize=none", "not a setting"),
    ("train tiny-text --data digits", "needs tokens, which the data set 'digits' does not have"),
    ("train tiny-text --data numbers", "needs tokens"),
    ("train tiny-text --data text:none.txt", "no file 'none.txt'"),
    ("train tiny-text --data text:empty.txt", "is empty"),
    ("train tiny-text --data text:short.txt", "too few for a window of 16"),
    ("train tiny-text --data text:latin.txt", "not UTF-8"),
    ("train tiny-text --data text:", "cannot be read"),
    ("train tiny-text --loss duel", "loss"),
    ("train vae --data pydocs", "needs image"),
    ("train tiny-label --data array:x.npy", "needs label"),
    ("train vae --loss carried", "does not fit"),
    ("sample own --out x.png", "gives no pictures"),
    ("sample own --out x.npy", "gives no pictures"),
    ("sample own --out x.gif", "the ending has to be"),
    ("sample own --class 3", "trained without classes"),
    ("sample own --prompt 漢", "lacks '漢'"),
    ("sample own --set lenght=3", "Did you mean 'length'"),
    ("sample own --set length=0", "at least 1"),
    ("eval own --fid", "does not fit"),
    ("eval own --accuracy", "does not fit"),
    ("eval own --data digits", "needs tokens"),
    ("eval own --data text:foreign.txt", "lacks 'Ж'"),
    ("eval own --set data.windw=9", "Did you mean 'window'"),
    ("viz own --nothing", "no option '--nothing'"),
    ("viz own --memorisation", "does not fit"),
    ("viz own one two", "takes one text"),
    ("viz own --tiny-letters text --set prompt=3", "has to be a text"),
    ("data preview pydocs --out x.png", "gives no pictures"),
    ("data preview digits --out x.txt", "gives no text"),
    ("data preview pydocs --set data.resize=3", "not a setting"),
    ("data check pairs:three.tsv:x", "no file"),
    ("data preview pairs:three.tsv", "3 columns"),
    ("data check text:latin.txt", "not UTF-8"),
    ("data fetch pydocs", "nothing to fetch"),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of the model of text, and files that are no texts and no pairs."""
    from gentool.cli import run

    root = tmp_path_factory.mktemp("sequences")
    with contextlib.chdir(root), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        Path("my.txt").write_bytes(TEXT.encode())
        call = ["train", "tiny-text", "--data", "text:my.txt", "--name", "own", "--plugin", FAMILY, "--quiet"]
        assert run(call) == 0
        Path("empty.txt").touch()
        Path("short.txt").write_text("short")
        Path("latin.txt").write_bytes(b"caf\xe9 " * 99)
        Path("foreign.txt").write_text("Ж" * 99)
        Path("three.tsv").write_text("a\tb\tc\n")
    return root


@pytest.mark.parametrize(("call", "why"), WRONG)
def test_wrong_calls_are_one_sentence(
    call: str, why: str, prepared: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENTOOL_OFFLINE", "1")
    monkeypatch.chdir(prepared)
    before = sorted(Path().rglob("*"))
    result = cli(*call.split())
    assert result.code == 2, result
    assert why in result.err, result.err
    talk = [line for line in result.err.strip().splitlines() if not line.startswith("Using ")]
    assert len(talk) == 1, result.err
    assert result.out == ""
    assert sorted(Path().rglob("*")) == before
