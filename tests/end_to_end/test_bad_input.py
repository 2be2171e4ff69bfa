"""Wrong calls: each has its exit code, one sentence on stderr, no traceback, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from gentool.cli import run


def quietly(*words: str) -> int:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return run([str(w) for w in words])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good run of vae and pixelcnn, and files that are harmed in every way."""
    root = tmp_path_factory.mktemp("prepared")
    before = Path.cwd()
    os.chdir(root)
    try:
        for model in ("vae", "pixelcnn"):
            assert (
                quietly(
                    "train", model, "--preset", "debug", "--set", "preview.n=0", "--name", f"good-{model}", "--quiet"
                )
                == 0
            )
        good = next(Path("runs").glob("*good-vae*"))
        weights = good / "checkpoints/000002/model.safetensors"
        shutil.copy(weights, "good.safetensors")
        data = weights.read_bytes()
        Path("cut.safetensors").write_bytes(data[: len(data) // 2])
        Path("empty.safetensors").write_bytes(b"")
        Path("text.safetensors").write_text("hello, this is not a checkpoint of anything")
        Path("pickle.safetensors").write_bytes(b"\x80\x04\x95\x15\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.")
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
        for name, change in {
            "other": {"model": "pixelcnn"},
            "unknown": {"model": "no-such-model"},
            "markup": {"model": "[bold]x\x1b[31m"},
            "config": {"config": {"latent": -3}},
            "noinfo": {"info": None},
        }.items():
            meta = json.loads(header["__metadata__"]["gentool"]) | change
            new = json.dumps({**header, "__metadata__": {"gentool": json.dumps(meta)}}).encode()
            new += b" " * (-len(new) % 8)
            body = data[8 + struct.unpack("<Q", data[:8])[0] :]
            Path(f"{name}.safetensors").write_bytes(struct.pack("<Q", len(new)) + new + body)
        other = next(Path("runs").glob("*good-pixelcnn*"))
        for name in ("damaged-toml", "no-toml", "no-checkpoint", "bad-json"):
            shutil.copytree(other, f"runs/2026-01-01_{name}_0000")
        Path("runs/2026-01-01_damaged-toml_0000/config.toml").write_text("[model\nname =")
        Path("runs/2026-01-01_no-toml_0000/config.toml").unlink()
        shutil.rmtree("runs/2026-01-01_no-checkpoint_0000/checkpoints")
        Path("runs/2026-01-01_no-checkpoint_0000/checkpoints").mkdir()
        Path("runs/2026-01-01_bad-json_0000/run.json").write_text("{")
        Path("bad.toml").write_text("[train\n")
        Path("unknown.toml").write_text("[train]\nstesp = 3\n")
        Path("other.toml").write_text('[model]\nname = "pixelcnn"\n')
        Path("folder").mkdir()
        Path("readonly").mkdir()
        Path("empty-folder").mkdir()
        pictures = Path("pictures")
        pictures.mkdir()
        (pictures / "fake.png").write_text("I am a text file")
        Path("afile").write_text("x")
        Path("mine.txt").write_text("x")
        Path("broken_plugin.py").write_text("raise RuntimeError('boom [bold]')\n")
    finally:
        os.chdir(before)
    return root


# (call, what the sentence says); every one has exit code 2.
CALLS: list[tuple[str, str]] = [
    # commands and options
    ("trian vae", "Did you mean 'train'"),
    ("", "Usage"),
    ("train", "Missing argument"),
    ("train vae --stpes 5", "--stpes"),
    ("train vae --steps", "requires an argument"),
    ("train vae extra", "unexpected extra argument"),
    ("sample vae -n", "requires an argument"),
    ("runs frobnicate", "no command"),
    ("data frobnicate", "no command"),
    ("list modles", "modles"),
    # names
    ("train vea", "Did you mean 'vae'"),
    ("train VAE9000", "There is no model"),
    ("train [bold]x", "There is no model '[bold]x'"),
    ("train vae --loss hing", "hing"),
    ("train vae --loss nll", "does not fit"),
    ("train vae --preset cnoditional", "Did you mean 'conditional'"),
    ("train vae --data digtis", "Did you mean 'digits'"),
    ("train vae --data digits:3", "takes no"),
    ("train vae --data folder", "wants to know where"),
    ("train vae --data folder:", "folder"),
    ("train vae --data folder:nowhere", "nowhere"),
    ("train vae --data folder:empty-folder", "empty-folder"),
    ("train vae --data folder:afile", "afile"),
    ("train vae --data folder:pictures", "fake.png"),
    ("train vae --data mnist --data-dir empty-folder", "mnist"),
    ("info vqave", "Did you mean 'vqvae'"),
    ("config vqave", "Did you mean 'vqvae'"),
    ("sample nobody", "nobody"),
    ("sample vae --sampler priro", "Did you mean 'prior'"),
    ("sample vae --sampler ancestral", "ancestral"),
    ("eval vae --elob", "Did you mean 'elbo'"),
    ("eval vae --codebook", "does not fit"),
    ("eval vae elbo", "does not understand"),
    ("eval vae --elbo=3", "takes no value"),
    ("viz vae", "What of 'vae'"),
    ("viz vae --interplate", "Did you mean 'interpolate'"),
    ("viz pixelcnn --interpolate", "does not fit"),
    ("new plugin vae", "taken"),
    ("new plugin Bad/Name", "not a plugin's name"),
    # numbers
    ("train vae --steps -1", "train.steps"),
    ("train vae --steps 1.5", "--steps"),
    ("train vae --steps many", "--steps"),
    ("train vae --steps 0", "budget"),
    ("train vae --minutes -1", "train.minutes"),
    ("train vae --minutes nan", "train.minutes"),
    ("train vae --minutes inf", "train.minutes"),
    ("train vae --batch-size 0", "train.batch_size"),
    ("train vae --seed -1", "train.seed"),
    ("train vae --seed 99999999999999999999999", "seed"),
    ("sample vae -n 0", "-n"),
    ("sample vae -n -4", "-n"),
    ("sample vae -n 99999999999999", "-n"),
    ("sample vae -n x", "-n"),
    ("sample vae --seed -1", "--seed"),
    ("sample vae --batch-size 0", "--batch-size"),
    ("eval vae --limit 0", "--limit"),
    ("eval diffusion --fid --sampler dimm", "Did you mean 'ddim'"),
    ("eval diffusion --fid --sampler ddim --set sampler.steps=0", "sampler ddim"),
    ("eval diffusion --fid --sampler ddim --set sampler.step=9", "Did you mean 'steps'"),
    ("eval detect --map --predictions found.json --sampler detector", "--sampler chooses a model"),
    # settings
    ("train vae --set", "requires an argument"),
    ("train vae --set train.steps", "KEY=VALUE"),
    ("train vae --set =5", "KEY=VALUE"),
    ("train vae --set train.stesp=5", "Did you mean 'train.steps'"),
    ("train vae --set nonsense.key=5", "not a setting"),
    ("train vae --set optim.generator.lr=1", "Did you mean 'optim.model.lr'"),
    ("train vae --set optim.model.lr=inf", "a number"),
    ("train vae --set optim.model.lr=fast", "a number"),
    ("train vae --set optim.model.name=adma", "Did you mean 'adam'"),
    ("train vae --set optim.model.betas=[0.9]", "a list of 2"),
    ("train vae --set optim.model.betas=[0.9,1.5]", "below 1"),
    ("train vae --set model.latent=0", "at least 1"),
    ("train vae --set model.latent=true", "a whole number"),
    ("train vae --set train.accumulate=1000", "more parts"),
    ("train vae --set data.binarize=yes", "one of"),
    ("train vae --set data.resize=-1", "at least 0"),
    ("train vae --set model.name=gan", "for the model"),
    ("train vae --precision fp8", "one of"),
    ("train vae --config nowhere.toml", "There is no config file"),
    ("train vae --config bad.toml", "not valid TOML"),
    ("train vae --config unknown.toml", "Did you mean 'train.steps'"),
    ("train vae --config other.toml", "for the model"),
    ("train vae --config folder", "There is no config file"),
    ("sample vae --set nosie=1", "not a setting"),
    ("eval vae --elbo --set nosie=1", "EVALUATOR.KEY"),
    # devices
    ("train vae --device gpu", "not a device"),
    ("train vae --device cuda:99", "cuda"),
    ("sample vae --device tpu", "not a device"),
    # where things go
    ("train vae --runs afile", "afile"),
    ("train vae --runs /proc/nowhere", "cannot be written"),
    ("train vae --name ../../etc", "A run's name"),
    ("train vae --name .hidden", "A run's name"),
    ("train vae --name " + "x" * 300, "A run's name"),
    ("sample vae --out picture", "the ending has to be"),
    ("sample vae --out picture.gif", "the ending has to be"),
    ("sample vae --out nowhere/picture.png", "no folder"),
    ("sample vae --out folder", "the ending has to be"),
    ("sample vae --out text.txt", "no text"),
    # checkpoints and runs
    ("sample cut.safetensors", "damaged"),
    ("sample empty.safetensors", "not a safetensors file"),
    ("sample text.safetensors", "not a safetensors file"),
    ("sample pickle.safetensors", "not a safetensors file"),
    ("sample nowhere.safetensors", "There is no file"),
    ("sample other.safetensors", "other.safetensors"),
    ("sample unknown.safetensors", "not installed"),
    ("sample markup.safetensors", "not installed"),
    ("sample config.safetensors", "latent"),
    ("sample noinfo.safetensors", "noinfo.safetensors"),
    ("sample vae --at 77", "no checkpoint of step 77"),
    ("sample vae --at worst", "last, best or a step"),
    ("sample vae --checkpoint nope", "o checkpoint"),
    ("sample vae --class 3", "trained without classes"),
    ("resume nobody", "There is no run"),
    ("resume 2026-01-01_damaged-toml_0000", "not valid TOML"),
    ("resume 2026-01-01_no-toml_0000", "config"),
    ("resume good-vae", "is complete"),
    ("resume ../../etc", "run"),
    ("sample 2026-01-01_no-checkpoint_0000", "no checkpoint"),
    ("runs show nobody", "There is no run"),
    ("runs rm ../..", "run"),
    ("runs compare nobody no-one", "There is no run"),
    # plugins
    ("list --plugin nowhere.py", "no plugin file"),
    ("list --plugin mine.txt", "Python module"),
    ("train boom --plugin broken_plugin.py", "broken_plugin"),
]


def snapshot(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file() and p.name != "lock"}


@pytest.mark.parametrize(("call", "words"), CALLS, ids=[call[:60] or "nothing" for call, _ in CALLS])
def test_one_sentence_and_exit_code_two(
    prepared: Path, call: str, words: str, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any]
) -> None:
    monkeypatch.chdir(prepared)
    monkeypatch.setenv("GENTOOL_OFFLINE", "1")
    monkeypatch.delenv("GENTOOL_DATA", raising=False)
    before = snapshot(prepared)
    result = cli(*call.split())
    assert result.code == 2, result
    assert "Traceback" not in result.err + result.out
    assert words in result.err, result.err
    assert "\x1b" not in result.err
    talk = [line for line in result.err.strip().splitlines() if not line.startswith(("Using ", "Plugin "))]
    if call:
        assert len(talk) == 1, result.err
        assert len(talk[0]) < 600
    after = snapshot(prepared)
    assert {k: v for k, v in after.items() if k not in before} == {}


def test_there_are_enough_of_them() -> None:
    assert len({call for call, _ in CALLS}) >= 80


def test_names_and_captions_with_controls_do_not_reach_the_terminal(cli: Callable[..., Any]) -> None:
    for word in ("\x1b]52;c;aGk=\x07", "[bold red]x", "a\u202eb", "\x9b31m", "\x00"):
        result = cli("train", word)
        assert result.code == 2
        for control in ("\x1b", "\x07", "\x9b", "\u202e", "\x00"):
            assert control not in result.err


def test_a_missing_permission_is_a_sentence(
    prepared: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    monkeypatch.chdir(prepared)
    Path("readonly").chmod(0o500)
    result = cli("train", "vae", "--preset", "debug", "--runs", "readonly/runs")
    assert result.code == 2
    assert "cannot be written" in result.err
