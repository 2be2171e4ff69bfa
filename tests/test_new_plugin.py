"""`gentool new plugin NAME` writes a package that is what it says; CI installs it in a venv of its own and runs its tests."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_generated_plugin_passes_its_own_tests(cli: Callable[..., Any], tmp_path: Path) -> None:
    assert cli("new", "plugin", "my-mix").code == 0
    root = tmp_path / "gentool-my-mix"
    for file in root.rglob("*.py"):
        ast.parse(file.read_text())
        assert "$" not in file.read_text()
    # Installed as pip would record it, without a network: a .dist-info beside the package.
    info = root / "gentool_my_mix-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gentool-my-mix\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[gentool.plugins]\nmy-mix = gentool_my_mix\n")
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(root)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "5 passed" in done.stdout


@pytest.mark.parametrize("name", ["", "Two", "a b", "../x", "x" * 31, "vae", "[bold]", "-x"])
def test_names_that_cannot_be_are_refused(cli: Callable[..., Any], tmp_path: Path, name: str) -> None:
    result = cli("new", "plugin", "--", name)
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "gentool-mine").mkdir()
    (tmp_path / "gentool-mine" / "thesis.tex").write_text("years of work")
    assert cli("new", "plugin", "mine").code == 2
    assert [p.name for p in (tmp_path / "gentool-mine").iterdir()] == ["thesis.tex"]
