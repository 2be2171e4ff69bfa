"""What the application remembers from one start to the next: a small JSON file in the user's state folder."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any


def state_file() -> Path:
    """``$XDG_STATE_HOME/gentool/tui.json``."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(home) / "gentool" / "tui.json"


def load_state() -> dict[str, Any]:
    """What was remembered; nothing where the file is missing or damaged."""
    from gentool.runs.reader import read_small

    text, problem = read_small(state_file())
    if problem:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def save_state(**facts: Any) -> None:
    """Remember some facts beside the others. Nothing is said where that fails: it is a convenience."""
    from gentool.errors import GentoolError
    from gentool.runs.files import replace_file

    file = state_file()
    with contextlib.suppress(OSError, GentoolError):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(load_state() | facts, indent=1).encode(), sync=False)
