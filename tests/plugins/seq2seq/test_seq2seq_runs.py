"""seq2seq as a user meets it: train, sample, eval, viz, resume; and calls that are wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from gentool.config import Layer, resolve
from gentool.runs.source import open_source
from gentool.training import session
from gentool.training.trainer import Hooks


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained a little: with attention (newest) and without."""
    root = tmp_path_factory.mktemp("runs")
    for attention in ("none", "additive"):
        train(root, {"model.attention": attention, "train.steps": 4})
    return root


def train(root: Path, changes: dict[str, object]) -> Path:
    config = resolve("seq2seq", [Layer("test", {"preview.n": 0, "data.limit": 200, **changes})], "debug")
    made = session.plan(config)
    run = session.begin(made, root, str(changes.get("model.attention", "")) or None, "debug")
    with session.opened(run):
        trainer = session.trainer(made, run, Hooks())
        trainer.begin()
        trainer.fit()
    return run.path


@pytest.mark.parametrize("order", ["luong", "input-feeding"])
def test_resumes_bit_for_bit(tmp_path, order):
    changes = {
        "train.steps": 5, "checkpoint.every": 1, "checkpoint.keep": 10, "model.dropout": 0.3, "model.order": order,
        "train.accumulate": 2, "loss.label_smoothing": 0.1, "model.layers": 2, "model.cell": "lstm",
    }  # fmt: skip
    run = train(tmp_path, changes)
    whole = session.weights_digest(open_source(str(run), tmp_path, torch.device("cpu")).model)
    cut = tmp_path / "cut"
    shutil.copytree(run, cut)
    for newer in (3, 4, 5):
        shutil.rmtree(cut / "checkpoints" / f"{newer:06d}")
    made, again, found = session.reopen(cut, None, {})
    assert found is not None
    assert found.step == 2
    with session.opened(again):
        trainer = session.trainer(made, again, Hooks())
        trainer.load(found)
        trainer.fit()
    assert session.weights_digest(made.model) == whole


def test_previews_keep_what_was_looked_at(tmp_path):
    from gentool.cli.progress import preview
    from gentool.runs.gallery import look, shots

    config = {"data.limit": 200, "preview.n": 3, "train.steps": 2, "preview.every": 1}
    for attention, kinds in (("additive", ["samples", "attention"]), ("none", ["samples"])):
        made = session.plan(resolve("seq2seq", [Layer("test", {**config, "model.attention": attention})], "debug"))
        run = session.begin(made, tmp_path, attention, "debug")
        with session.opened(run):
            hooks = Hooks()
            trainer = session.trainer(made, run, hooks)
            hooks.preview = lambda step, m=made, t=trainer: preview(m, t, step)
            trainer.begin()
            trainer.fit()
        found = shots(run.path)
        assert list(found) == kinds
        assert [shot.step for shot in found[kinds[-1]]] == [1, 2]
        if attention == "none":
            continue
        texts, maps = (look(found[kind][-1].path) for kind in kinds)
        assert len(maps.maps) == 3
        assert [heat.title for heat in maps.maps] == [line.replace("\t", " → ") for line in texts.text.splitlines()]
        for heat in maps.maps:
            assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in heat.values)


def test_a_checkpoint_needs_no_data(runs, cli, tmp_path, monkeypatch):
    """The file alone, away from its run, without any data directory."""
    monkeypatch.setenv("GENTOOL_DATA", str(tmp_path))
    file = tmp_path / "alone.safetensors"
    newest = next(path for path in runs.iterdir() if "additive" in path.name)
    shutil.copy(newest / "checkpoints" / "000004" / "model.safetensors", file)
    done = cli("sample", str(file), "--prompt", "twenty three")
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    done = cli("sample", str(file), "-n", "3")
    assert done.code == 0
    assert all("\t" in line for line in done.out.splitlines())
    assert len(done.out.splitlines()) == 3
    done = cli("viz", str(file), "--attention", "twenty three")
    assert done.code == 0


def test_sampling(runs, cli):
    where = ("--runs", str(runs))
    five = cli("sample", "seq2seq", *where, "--prompt", "twenty three", "-n", "5")
    assert five.code == 0
    assert len(five.out.split("\n")) == 6
    one = cli("sample", "seq2seq", *where, "--prompt", "twenty three")
    assert one.out.rstrip("\n") == five.out.split("\n")[0]
    lines = cli("sample", "seq2seq", *where, "--prompt", "twenty three\nfour")
    assert lines.out.split("\n")[0] == one.out.rstrip("\n")
    assert len(lines.out.split("\n")) == 3
    drawn = cli("sample", "seq2seq", *where, "--sampler", "multinomial", "--prompt", "four", "-n", "4", "--json")
    assert len(json.loads(drawn.out)["text"]) == 4
    evil = cli("sample", "seq2seq", *where, "--prompt", "four \x1b[31m\x07 [bold]zebra", "--sampler", "greedy")
    assert evil.code == 0
    assert "\x1b" not in evil.out
    assert "\x07" not in evil.out


def test_attention_is_seen(runs, cli):
    done = cli("viz", "seq2seq", "--runs", str(runs), "--attention", "four hundred twenty three")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("attention  (additive attention, luong order")
    assert Path(lines[-1]).stat().st_size > 1000
    assert "\x1b" not in done.out
    done = cli("viz", "seq2seq", "--runs", str(runs), "--attention", "four\nfive", "--out", "seen.png")
    assert done.out.splitlines()[-2:] == ["seen.png", "seen-2.png"]
    assert Path("seen-2.png").is_file()


def test_scoring(runs, cli):
    done = cli("eval", "seq2seq", "--runs", str(runs), "--limit", "30", "--set", "translation.width=2", "--json")
    assert done.code == 0
    (report,) = json.loads(done.out)["reports"]
    assert "sacrebleu" in report["protocol"] or "version:" in report["protocol"]
    assert sum(row["sentences"] for row in report["table"]) == 30
    assert len(report["extra"]["hypotheses"]) == 30


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (("sample", "seq2seq", "--sampler", "greedy", "--prompt", "four", "-n", "2"), "--sampler beam"),
        (("sample", "seq2seq", "--prompt", "four", "--set", "width=0"), "at least 1"),
        (("sample", "seq2seq", "--prompt", "four " * 2500), "2,501 tokens"),
        (("sample", "seq2seq", "--set", "temperature=1"), "temperature"),
        (("viz", "seq2seq", "--attention", "four", "five"), "quotes"),
        (("viz", "none", "--attention", "four"), "without attention"),
        (("viz", "seq2seq", "--attention", "four", "--out", "seen.txt"), ".png"),
        (("eval", "seq2seq", "--set", "translation.groups=0"), "at least 1"),
        (("eval", "seq2seq", "--data", "digits"), "digits"),
        (("train", "seq2seq", "--data", "digits", "--steps", "1"), "needs source and target"),
        (("train", "seq2seq", "--set", "model.attention=additiv", "--steps", "1"), "additive"),
    ],
)
def test_wrong_calls(runs, cli, call, says):
    call = [next(str(p) for p in runs.iterdir() if "none" in p.name) if word == "none" else word for word in call]
    more = () if call[0] == "train" else ("--runs", str(runs))
    done = cli(*call, *more)
    assert done.code == 2
    assert says in done.err
    assert "Traceback" not in done.err
