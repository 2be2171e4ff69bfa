"""Removing a run: only a run, only from its own runs folder, never a live one, and never half."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from gentool.errors import GentoolError, UsageError
from gentool.runs.find import own_folder
from gentool.runs.lock import RunLock
from gentool.runs.reader import RunView, read_run
from gentool.show.text import safe_text

_ASIDE = ".removed-"


def check_removable(run: RunView, root: Path) -> Path:
    """The folder to remove, or `UsageError`: outside the runs folder, no run, or being trained."""
    folder = own_folder(run, root)
    if run.live:
        pid = run.meta.get("pid")
        raise UsageError(
            f"The run {safe_text(run.name)} is being trained (process {safe_text(pid)} on "
            f"{safe_text(run.meta.get('host') or 'this machine')[:60]}); stop it first: kill {safe_text(pid)}."
        )
    return folder


def remove_run(run: RunView, root: Path) -> None:
    """Remove a run's folder: taken aside by one rename, so that no half-removed run is ever seen, then emptied."""
    folder = check_removable(run, root)
    sweep(folder.parent)
    aside = folder.with_name(f"{_ASIDE}{folder.name}-{os.getpid()}")
    try:
        # The lock is held meanwhile: no trainer may resume what is being removed.
        with RunLock(folder, patience=0.0):
            check_removable(read_run(folder), root)
            os.rename(folder, aside)
        shutil.rmtree(aside)
    except OSError as error:
        left = f"; what is left of it lies in {safe_text(aside)}" if aside.exists() else ""
        raise GentoolError(
            f"Removing {safe_text(folder)} failed ({error.strerror or error}){left}: check the permissions."
        ) from error


def sweep(root: Path) -> None:
    """Remove what an interrupted removal left."""
    with contextlib.suppress(OSError):
        for path in root.glob(f"{_ASIDE}*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
