"""README.md is what examples/readme.py makes of the code and the cards, and what it shows exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_made_blocks_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "examples/readme.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_it_links_exists() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)h][^)]*)\)", text):
        assert (ROOT / target).exists(), target


def test_its_commands_are_commands() -> None:
    from gentool.cli import VERBS

    for verb in re.findall(r"^gentool (\w+)", (ROOT / "README.md").read_text(), re.M):
        assert verb in VERBS
