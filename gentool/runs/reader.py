"""Reading run folders: nothing here needs a writer to have ended well, or to have ended. Light: no torch.

A run whose run.json is missing or unreadable is shown as "damaged" with the reason; one that says it is running while its
process is gone is "crashed".
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import socket
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gentool.errors import GentoolError, UsageError
from gentool.runs.files import process_start
from gentool.runs.marks import Marks, read_marks
from gentool.runs.metrics import Row, key_metric, open_regular, read_metrics
from gentool.show.text import safe_text

STATUSES = ("running", "done", "interrupted", "stopped", "failed", "crashed", "damaged")
SILENCE = 60.0  # seconds without a heartbeat after which a run on another machine counts as crashed
MAX_BYTES = 4_000_000  # of a run.json or config.toml; a larger one is no such file
_TAIL = 64  # lines of the log that "last" looks at

__all__ = ["STATUSES", "RunView", "Saved", "is_run", "list_runs", "read_metrics", "read_run", "resolve_run"]


@dataclass(frozen=True)
class Saved:
    """A checkpoint folder. `whole` says that its state.json is there; the digests are verified when it is loaded."""

    step: int
    path: Path
    whole: bool


@dataclass
class RunView:
    """One run as it lies on disk. What costs more than a small file to find out is found when it is asked for."""

    path: Path
    name: str  # the folder's name, which is the run's id
    status: str  # one of STATUSES
    reason: str = ""  # why it failed, or what is damaged
    model: str = ""
    data: str = ""
    preset: str = ""
    loss: str = ""
    step: int | None = None
    total: int | None = None
    started: float | None = None  # unix seconds
    updated: float | None = None
    seconds: float | None = None  # of training, pauses not counted
    cpu_seconds: float | None = None  # the same in CPU time, all threads together
    best: dict[str, Any] | None = None  # {"step": int, "name": str, "value": float}
    meta: dict[str, Any] = field(default_factory=dict)  # run.json as it is

    @property
    def live(self) -> bool:
        return self.status == "running"

    @functools.cached_property
    def last(self) -> Row:
        """The newest value of every metric that the end of the log names."""
        return read_metrics(self.path, last=_TAIL).last()

    @functools.cached_property
    def checkpoints(self) -> list[Saved]:
        """The checkpoints, oldest first."""
        folder = self.path / "checkpoints"
        found = []
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.isascii() and entry.name.isdigit() and len(entry.name) < 16 and entry.is_dir():
                    path = Path(entry.path)
                    found.append(Saved(int(entry.name), path, (path / "state.json").is_file()))
        return sorted(found, key=lambda saved: saved.step)

    @functools.cached_property
    def samples(self) -> list[Path]:
        """What the model made, pictures and texts under samples/, oldest first."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.path / "samples") as entries:
            for entry in entries:
                if entry.name.endswith((".png", ".txt")) and entry.name[0] != "." and entry.is_file():
                    found.append((entry.stat().st_mtime, Path(entry.path)))
        return [path for _, path in sorted(found)]

    @functools.cached_property
    def size(self) -> int:
        """Bytes of all files."""
        return folder_size(self.path)

    @functools.cached_property
    def marks(self) -> Marks:
        """The tags and the pin a person gave it."""
        return read_marks(self.path)

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """config.toml with dotted keys; empty where it is missing or damaged (`config_problem` says why)."""
        return _flat(self._config[0])

    @property
    def config_problem(self) -> str:
        """Why config.toml could not be read, or ""."""
        return self._config[1]

    @functools.cached_property
    def changed(self) -> dict[str, str]:
        """The config keys that are not defaults, each with where its value came from (the comment behind it)."""
        found, group = {}, ""
        for line in read_small(self.path / "config.toml")[0].splitlines():
            if line.startswith("[") and "]" in line:
                group = line[1 : line.index("]")]
            elif " = " in line and "  # " in line:
                key = f"{group}.{line.partition(' = ')[0].strip()}".lstrip(".")
                if key in self.config:
                    found[key] = line.rpartition("  # ")[2].strip()
        return found

    @functools.cached_property
    def _config(self) -> tuple[dict[str, Any], str]:
        text, problem = read_small(self.path / "config.toml")
        if problem:
            return {}, problem
        try:
            return tomllib.loads(text), ""
        except (ValueError, RecursionError) as error:
            return {}, f"config.toml is not TOML ({safe_text(str(error))[:80]})"

    @property
    def key(self) -> tuple[str, float] | None:
        """(name, value) of the metric that says most: the best one where there is one, else the last."""
        if self.best:
            return f"best {self.best['name']}".strip(), self.best["value"]
        name = key_metric(name for name in self.last if name not in ("step", "t"))
        return (name, self.last[name]) if name else None

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "id": self.name,
            "path": str(self.path),
            "name": self.meta.get("name") or None,
            "model": self.model,
            "data": self.data,
            "preset": self.preset,
            "loss": self.loss,
            "status": self.status,
            "reason": self.reason,
            "step": self.step,
            "total_steps": self.total,
            "started": self.started,
            "updated": self.updated,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "last": self.last,
            "best": self.best,
            "checkpoints": [saved.step for saved in self.checkpoints if saved.whole],
            "size": self.size,
            "tags": list(self.marks.tags),
            "pinned": self.marks.pinned,
        }


# -- one run -----------------------------------------------------------------------------------------------------------


def is_run(path: Path) -> bool:
    """Whether a folder is a run: it has a run.json, or the config and the log of one whose run.json is lost."""
    try:
        if (path / "run.json").is_file():
            return True
        log, saved = path / "metrics.jsonl", path / "checkpoints"
        return (path / "config.toml").is_file() and (log.is_file() or saved.is_dir())
    except PermissionError:
        return True  # it may not be looked into: shown as damaged rather than left out
    except (OSError, ValueError):
        return False


def read_run(path: Path) -> RunView:
    """The view of one folder, damaged or not; never raises for what the folder holds."""
    view = RunView(path=path, name=path.name, status="damaged")
    text, problem = read_small(path / "run.json")
    if problem and _locked(path):
        problem = "its folder may not be read (permission denied)"
    meta: Any = None
    if not problem:
        try:
            meta = json.loads(text)
        except (ValueError, RecursionError):
            problem = "run.json is cut short or altered"
        if not problem and not isinstance(meta, dict):
            problem = "run.json holds no table"
    if problem:
        view.reason = problem
        view.model = _text(view.config.get("model.name"))
        view.data = _text(view.config.get("data.name"))
        return view

    view.meta = meta
    for name in ("model", "data", "preset", "loss", "reason"):
        setattr(view, name, _text(meta.get(name)))
    view.step, view.total = _whole(meta.get("step")), _whole(meta.get("total_steps"))
    view.started, view.updated = _float(meta.get("created")), _float(meta.get("updated"))
    view.seconds, view.cpu_seconds = _float(meta.get("seconds")), _float(meta.get("cpu_seconds"))
    best = meta.get("best")
    if isinstance(best, dict) and _float(best.get("value")) is not None:
        view.best = {"step": _whole(best.get("step")), "name": _text(best.get("name")), "value": float(best["value"])}
    status = meta.get("status")
    if status not in STATUSES:
        view.reason = f"run.json has no known status ({safe_text(status)[:40]})"
        return view
    view.status = status
    if status == "running" and (gone := _gone(meta)):
        view.status, view.reason = "crashed", gone
    return view


def _locked(path: Path) -> bool:
    try:
        os.stat(path / "run.json")
    except PermissionError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _gone(meta: dict[str, Any]) -> str:
    """Why a run that says it is running is not, or ""."""
    heartbeat = _float(meta.get("heartbeat")) or 0.0
    silent = time.time() - heartbeat
    pid = _whole(meta.get("pid"))
    if meta.get("host") == socket.gethostname() and pid and os.name == "posix":
        if not _alive(pid):
            return f"its process {pid} is gone"
        started, now = _whole(meta.get("pid_started")), process_start(pid)
        if started is not None and now is not None and started != now:
            return f"its process {pid} is gone (the number is in use again)"
        return ""
    if silent > SILENCE:
        return f"no sign of life from {safe_text(meta.get('host') or 'its machine')[:60]} for {silent:.0f} s"
    return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


# -- many runs ---------------------------------------------------------------------------------------------------------


def list_runs(root: Path) -> list[RunView]:
    """The runs under a folder, newest first; none where the folder does not exist. Hidden and linked folders are not runs."""
    try:
        with os.scandir(root) as entries:
            folders = [e.path for e in entries if e.name[0] != "." and e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise UsageError(f"--runs {safe_text(root)} is not a folder.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise GentoolError(f"The runs folder '{safe_text(root)}' cannot be read: {why}.") from None
    views = [read_run(path) for path in map(Path, folders) if is_run(path)]
    return sorted(views, key=lambda view: (_when(view), view.name), reverse=True)


def _when(view: RunView) -> float:
    """When a run was begun; by the date in its name where run.json is lost."""
    if view.started is not None:
        return view.started
    try:
        return time.mktime(time.strptime(view.name[:10], "%Y-%m-%d"))
    except (ValueError, OverflowError):
        return 0.0


def resolve_run(text: str, root: Path) -> RunView:
    """The run that a person means by its id, the start of it, its last four digits, a path, a model's name (the newest
    run of it), the `--name` it was given, or "latest". `UsageError` where nothing or more than one fits.
    """
    from gentool.runs.find import find_run

    return find_run(text, root)


# -- small files -------------------------------------------------------------------------------------------------------


def read_small(path: Path) -> tuple[str, str]:
    """(text, problem) of a small text file; one of the two is "" (a missing, huge, binary or special file is a problem)."""
    file = open_regular(path)
    if file is None:
        return "", f"{path.name} is missing or unreadable"
    try:
        with file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return "", f"{path.name} cannot be read ({error.strerror})"
    if len(data) > MAX_BYTES:
        return "", f"{path.name} is over {MAX_BYTES // 1_000_000} MB"
    if not data.strip():
        return "", f"{path.name} is empty"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return "", f"{path.name} is not text"


def folder_size(path: Path) -> int:
    """Bytes of all files in a folder and below; links are not followed."""
    total = 0
    folders = [str(path)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _text(value: object) -> str:
    return re.sub(r"\s+", " ", safe_text(value))[:200] if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else None


def _float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or value != value:
        return None
    return float(value)
