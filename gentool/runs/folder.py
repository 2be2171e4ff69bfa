"""The writer's side of a run folder: its name, run.json, log.txt, and the metrics log."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gentool.errors import GentoolError, UsageError
from gentool.runs.files import disk_error, plain, process_start, replace_file, sync_folder

HEARTBEAT_SECONDS = 10.0


def check_name(name: str) -> str:
    """A run's name as part of a folder's name; what could leave the runs folder or upset a terminal is refused."""
    if not name or len(name) > 60 or any(not (c.isalnum() or c in "-_.+") for c in name) or name.startswith("."):
        raise UsageError(
            "A run's name has 1 to 60 letters, digits or -_.+ and does not start with a dot: --name vae-beta4."
        )
    return name


class RunFolder:
    """One run on disk, for its one writer."""

    def __init__(self, path: Path, meta: dict[str, Any] | None = None) -> None:
        self.path = path
        self.meta: dict[str, Any] = meta or {}
        self._beat = 0.0

    @classmethod
    def create(cls, root: Path, model: str, name: str | None = None) -> RunFolder:
        """A new folder ``<date>_<model or name>_<4 hex digits>`` under `root`."""
        label = check_name(name) if name else model
        try:
            root.mkdir(parents=True, exist_ok=True)
            for _ in range(100):
                path = root / f"{time.strftime('%Y-%m-%d')}_{label}_{secrets.token_hex(2)}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                (path / "checkpoints").mkdir()
                (path / "samples").mkdir()
                sync_folder(root)
                return cls(path)
        except OSError as error:
            raise UsageError(
                f"The runs folder '{root}' cannot be written: {error.strerror}; name another with --runs."
            ) from None
        raise GentoolError(f"No free name for a run was found in '{root}'.")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run, to go on writing in it."""
        try:
            meta = json.loads((path / "run.json").read_text("utf-8"))
        except (OSError, ValueError):
            meta = {}
        return cls(path, meta if isinstance(meta, dict) else {})

    @property
    def name(self) -> str:
        return self.path.name

    def begin(self, **facts: Any) -> None:
        """Write run.json as running, by this process."""
        now = time.time()
        self.meta.update(facts)
        self.meta.setdefault("created", now)
        self.meta.update(
            version=1,
            id=self.name,
            status="running",
            reason="",
            host=socket.gethostname(),
            pid=os.getpid(),
            pid_started=process_start(os.getpid()),
        )
        # The command that began the run is its recipe; what continued it is kept beside.
        if "argv" in self.meta:
            self.meta.setdefault("continued", []).append(sys.argv[1:])
        else:
            self.meta["argv"] = sys.argv[1:]
        self._write(now)

    def update(self, *, sync: bool = True, **facts: Any) -> None:
        self.meta.update(facts)
        self._write(time.time(), sync=sync)

    def heartbeat(self, **facts: Any) -> None:
        """Cheap to call at every step: writes at most once in ten seconds."""
        now = time.monotonic()
        if now - self._beat > HEARTBEAT_SECONDS:
            self._beat = now
            self.update(sync=False, **facts)

    def _write(self, now: float, *, sync: bool = True) -> None:
        self.meta.update(heartbeat=now, updated=now)
        text = json.dumps({key: plain(value) for key, value in self.meta.items()}, indent=1)
        replace_file(self.path / "run.json", text.encode(), sync=sync)

    def log(self, line: str) -> None:
        """One line in log.txt with the time."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        _append(self.path / "log.txt", f"{stamp} {' '.join(line.split())}\n".encode())


class MetricsLog:
    """metrics.jsonl: one JSON line a write, appended in one system call, so that a kill leaves at most a torn last line."""

    def __init__(self, path: Path, keep: int | None = None) -> None:
        """`keep`: the length in bytes at the checkpoint that is resumed; what came after it is done again."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            if keep is not None and os.fstat(self._fd).st_size > keep:
                os.ftruncate(self._fd, keep)
        except OSError as error:
            raise disk_error(error, path) from error

    def write(self, values: Mapping[str, Any]) -> None:
        line = json.dumps({key: plain(value) for key, value in values.items()}) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError as error:
            raise disk_error(error, self.path) from error

    def sync(self) -> int:
        """Flush, and give the length in bytes."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise disk_error(error, self.path) from error
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


def _append(path: Path, data: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise disk_error(error, path) from error
