"""Shared fixtures: the command line in this process and as a process, and small plugins written for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tiny tensors: a second thread only waits


@dataclass
class Result:
    code: int
    out: str
    err: str


def _plugin_files_as_before() -> Iterator[None]:
    from gentool import registry

    before = registry.plugin_files()
    yield
    if registry.plugin_files() != before:
        registry.set_plugin_files(before)


@pytest.fixture(scope="module", autouse=True)
def plugin_files_end_with_their_module() -> Iterator[None]:
    """What a module's own fixtures add by --plugin is not in the registry of the next module."""
    yield from _plugin_files_as_before()


@pytest.fixture(autouse=True)
def plugin_files_end_with_their_test() -> Iterator[None]:
    """What a test adds by --plugin, or by hand, is not in the registry, nor in the commands, of another."""
    yield from _plugin_files_as_before()


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`cli("train", "vae", ...)` in this process, in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENTOOL_DEBUG", raising=False)

    def call(*arguments: str) -> Result:
        from gentool.cli import run

        capfd.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def gentool_process(tmp_path: Path) -> Callable[..., Result]:
    """The same as a process of its own, without a terminal."""

    def call(
        *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 120
    ) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "gentool", *map(str, arguments)],
            cwd=cwd or tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def data_dir() -> Path:
    """The folder of named data sets, or a skip."""
    return require_data()


def require_data(name: str = "mnist") -> Path:
    for where in os.environ.get("GENTOOL_DATA", "").split(os.pathsep):
        if where and (Path(where) / name).is_dir():
            return Path(where)
    pytest.skip(f"the data set {name} is not under GENTOOL_DATA")
