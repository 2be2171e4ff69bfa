"""A user's day in order, as processes: train, sample, score, look, resume, list, pass on; in a pipe and at a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "GENTOOL_OFFLINE": "1"}


def test_a_day(tmp_path: Path, cli: Callable[..., Any]) -> None:
    trained = cli("train", "vae", "--steps", "30", "--name", "first", "--json")
    assert trained.code == 0, trained.err
    result = json.loads(trained.out)  # results alone on stdout
    run = Path(result["run"])
    assert result["step"] == 30
    for file in ("config.toml", "run.json", "metrics.jsonl", "log.txt"):
        assert (run / file).stat().st_size > 0
    assert len(list((run / "samples").glob("*.png"))) >= 3

    sampled = cli("sample", "vae", "-n", "5", "--json")
    assert "first" in sampled.err  # the newest run was taken, and that is said
    with Image.open(json.loads(sampled.out)["file"]) as picture:
        assert picture.width > 100

    scored = cli("eval", run, "--elbo", "--reconstruction", "--limit", "50", "--json")
    reports = json.loads(scored.out)["reports"]
    assert [r["evaluator"] for r in reports] == ["elbo", "reconstruction"]
    assert all("50" in r["protocol"] for r in reports)

    assert cli("viz", run, "--interpolate").code == 0
    again = cli("resume", "first", "--steps", "40", "--json")
    assert json.loads(again.out)["step"] == 40, again.err
    assert json.loads(cli("runs", "--json").out)
    exported = cli("export", "first", "--out", "mine.safetensors", "--half")
    assert exported.code == 0, exported.err
    card = json.loads(Path("mine.json").read_text())
    assert card["steps"] == 40
    assert card["command"].startswith("gentool ")
    assert cli("sample", "mine.safetensors", "-n", "2", "--out", "two.png").code == 0
    repeated = cli("train", "vae", "--config", run / "config.toml", "--steps", "30", "--json", "--set", "preview.n=0")
    assert json.loads(repeated.out)["losses"]["model/loss"] == result["losses"]["model/loss"]


def test_eval_draws_by_the_sampler_that_is_asked_for(cli: Callable[..., Any]) -> None:
    """On the shipped digits: one step makes worse pictures than twenty, and what drew the pictures is said."""
    figures = []
    for steps in (1, 20):
        scored = cli("eval", "diffusion", "--fid", "--limit", "60", "--sampler", "ddim", "--set", f"sampler.steps={steps}",
                     "--json")  # fmt: skip
        assert scored.code == 0, scored.err
        assert f"Samples by ddim: steps {steps}." in scored.err
        said = json.loads(scored.out)
        assert (said["sampler"], said["sampler_changes"]) == ("ddim", {"steps": steps})
        figures.append(next(v["value"] for k, v in said["reports"][0]["scalars"].items() if k.startswith("FID (")))
    assert figures[1] < figures[0] / 2

    # Where nothing is drawn the settings are not silently without effect.
    drawn = cli("eval", "vae", "--reconstruction", "--limit", "20", "--set", "sampler.temperature=0.5")
    assert (drawn.code, "changed nothing" in drawn.err) == (0, True), drawn.err

    # The view that tries several solvers draws the same pictures for the same call.
    weighed = cli("eval", "diffusion", "--solver-steps", "--set", "solver-steps.n=60", "--set", "solver-steps.steps=[1, 20]",
                  "--set", 'solver-steps.solvers=["ddim", "heun"]', "--json")  # fmt: skip
    (report,) = json.loads(weighed.out)["reports"]
    calls = [(row["sampler"], row["network calls"]) for row in report["table"]]
    assert calls == [("ddim", 1), ("ddim", 20), ("heun", 1), ("heun", 39)]
    assert [row["fid"] for row in report["table"]][:2] == pytest.approx(figures)
    assert [curve["name"] for curve in report["curves"]] == ["ddim", "heun", "floor"]


def test_dry_run_writes_nothing(cli: Callable[..., Any], tmp_path: Path) -> None:
    result = cli("train", "vqvae", "--dry-run", "--set", "train.steps=7")
    assert result.code == 0, result.err
    assert "--set" in result.out
    assert "Parameters" in result.out
    assert list(tmp_path.iterdir()) == []
    facts = json.loads(cli("train", "vqvae", "--dry-run", "--json").out)
    assert facts["config"]["train.seed"] == {"value": 0, "source": "default"}


def test_a_config_can_be_printed_edited_and_used(cli: Callable[..., Any], tmp_path: Path) -> None:
    Path("my.toml").write_text(cli("config", "vqvae").out.replace("hidden = 64", "hidden = 32"))
    result = cli("train", "vqvae", "--config", "my.toml", "--dry-run", "--json")
    assert json.loads(result.out)["config"]["model.hidden"] == {"value": 32, "source": "file my.toml"}


def test_the_same_seed_gives_the_same_file(cli: Callable[..., Any], tmp_path: Path) -> None:
    assert cli("train", "vae", "--preset", "debug", "--quiet").code == 0
    files = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert cli("sample", "vae", "--seed", seed, "--out", f"{name}.npy", "-n", "20").code == 0
        files.append(np.load(f"{name}.npy"))
    assert files[0].shape == (20, 8, 8, 1)
    assert np.array_equal(files[0], files[1])
    assert not np.array_equal(files[0], files[2])


def test_memory_of_sampling_is_bounded_by_the_batch(cli: Callable[..., Any], tmp_path: Path) -> None:
    assert cli("train", "vae", "--preset", "debug", "--quiet").code == 0
    code = (
        "import resource, sys\nfrom gentool.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)\nsys.exit(code)"
    )

    def peak(n: int) -> int:
        call = [sys.executable, "-c", code, "sample", "vae", "-n", str(n), "--out", "x.npy", "--quiet"]
        done = subprocess.run(call, cwd=tmp_path, env=ENV, capture_output=True, text=True, check=True)
        return int(done.stderr.split()[-1])

    few, many = (
        peak(500),
        peak(200_000),
    )  # 200,000 float pictures of 8x8 would be 51 MB, and as much again in float copies
    assert (tmp_path / "x.npy").stat().st_size > 12_000_000
    assert many - few < 35, (few, many)


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m gentool config vqvae | head -1",
        shell=True, cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("#")
    assert done.stderr == ""


def at_a_terminal(*words: str, cwd: Path, columns: int = 80, env: dict[str, str] | None = None) -> tuple[int, str]:
    """A command at a pseudo-terminal of that width; gives its exit code and everything it wrote."""
    import fcntl
    import struct
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "gentool", *words],
        cwd=cwd, stdin=side, stdout=side, stderr=side, env={**ENV, "TERM": "xterm-256color", **(env or {})},
    )  # fmt: skip
    os.close(side)
    seen = b""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        ready, _, _ = select.select([main], [], [], 0.2)
        if ready:
            try:
                piece = os.read(main, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        elif process.poll() is not None:
            break
    os.close(main)
    return process.wait(timeout=10), seen.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("columns", "env"),
    [(80, {}), (40, {}), (80, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"}), (0, {}), (80, {"TMUX": "x,1,0"})],
)
def test_training_at_a_terminal(tmp_path: Path, columns: int, env: dict[str, str]) -> None:
    import re

    code, seen = at_a_terminal("train", "vae", "--steps", "4", cwd=tmp_path, columns=columns, env=env)
    assert code == 0, seen
    assert "Traceback" not in seen
    assert "Next:" in seen
    if "NO_COLOR" in env or env.get("TERM") == "dumb":
        assert "\x1b[38" not in seen
        assert "\x1b[48" not in seen
    if columns == 80:
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
        for line in plain.replace("\r\n", "\n").split("\n"):
            last = line.split("\r")[-1]
            if "─" in last or "▀" in last:
                assert len(last) <= 80, last


def test_ctrl_c_at_a_terminal_saves(tmp_path: Path) -> None:
    import signal

    process = subprocess.Popen(
        [sys.executable, "-m", "gentool", "train", "vae", "--steps", "100000", "--set", "preview.n=0"],
        cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 90
    while not list(tmp_path.glob("runs/*/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "gentool resume" in err
    assert "Traceback" not in err
