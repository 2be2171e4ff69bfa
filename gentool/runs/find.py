"""Which run a person means, and which folder a name may stand for: nothing outside the runs folder by a trick of spelling."""

from __future__ import annotations

import os
from pathlib import Path

from gentool.errors import UsageError, did_you_mean
from gentool.runs.reader import RunView, is_run, list_runs, read_run
from gentool.show.text import safe_text

LONGEST = 255  # bytes of a file name on every system we know


def find_run(text: str, root: Path, *, exact: bool = False) -> RunView:
    """See `gentool.runs.reader.resolve_run`. `exact`: no "latest" and no model's name, for what cannot be undone."""
    shown = safe_text(text)[:80]
    _check(text, shown)
    if text == "latest" and not exact:
        runs = list_runs(root)
        if not runs:
            raise UsageError(f"There is no run in '{safe_text(root)}' yet. Start one: gentool train vae.")
        return runs[0]
    if _plain(text):
        folder = root / text
        if not folder.is_symlink() and is_run(folder):  # by id, without a look at the others
            return read_run(folder)
    elif (path := Path(text)).is_dir():
        if not is_run(path):
            raise UsageError(f"'{shown}' is not a run: it has no run.json.")
        # Its real name, so that "." and "runs/x/" are shown and compared as what they are.
        return read_run(path if path.name not in ("", ".", "..") else Path(os.path.realpath(path)))
    runs = list_runs(root)
    for fits in (_starts, _ends, _named) if exact else (_starts, _ends, _named, _models):
        found = [run for run in runs if fits(run, text)]
        if len(found) == 1 or (found and fits is _models):
            return found[0]
        if found:
            names = ", ".join(safe_text(run.name) for run in found[:6]) + (", ..." if len(found) > 6 else "")
            raise UsageError(f"'{shown}' fits {len(found)} runs: {names}. Write more of the name.")
    if not runs:
        raise UsageError(f"There is no run '{shown}': '{safe_text(root)}' holds no runs. Another folder: --runs DIR.")
    known = {safe_text(run.name) for run in runs[:2000]} | {run.model for run in runs if run.model} | {"latest"}
    hint = did_you_mean(text, known) if len(runs) <= 8 else _near(text, known)
    raise UsageError(f"There is no run '{shown}' in '{safe_text(root)}'.{hint or ' `gentool runs` lists them.'}")


def _near(text: str, known: set[str]) -> str:
    hint = did_you_mean(text, known)
    return hint if hint.startswith(" Did") else ""


def _starts(run: RunView, text: str) -> bool:
    return len(text) >= 2 and run.name.startswith(text)


def _ends(run: RunView, text: str) -> bool:
    """The four digits at the end of an id, or what stands behind its date."""
    return len(text) >= 3 and run.name.endswith("_" + text)


def _named(run: RunView, text: str) -> bool:
    return bool(text) and run.meta.get("name") == text


def _models(run: RunView, text: str) -> bool:
    return run.model == text


def _check(text: str, shown: str) -> None:
    if not text.strip():
        raise UsageError("A run's name is empty; `gentool runs` lists them.")
    if "\0" in text or any(len(os.fsencode(part)) > LONGEST for part in _encodable(text).split("/")):
        raise UsageError(f"'{shown[:40]}...' is no name of a run: no file can be called so. `gentool runs` lists them.")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(text: str) -> bool:
    """A bare name: no separator, no way up."""
    return "/" not in text and os.sep not in text and text not in (".", "..")


def own_folder(run: RunView, root: Path) -> Path:
    """The run's folder if it really lies in `root`, for what must not reach outside (removal). `UsageError` otherwise."""
    path = run.path
    real, home = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    if path.is_symlink() or real.parent != home:
        raise UsageError(
            f"'{safe_text(path)}' is not in the runs folder '{safe_text(root)}', so it is not removed from here."
        )
    if not is_run(real):
        raise UsageError(f"'{safe_text(path)}' is not a run: it has no run.json.")
    return real
