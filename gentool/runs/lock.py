"""One writer a run: an advisory lock on a file of the run folder, released by the kernel however the writer ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from gentool.errors import UsageError


class RunLock:
    """``with RunLock(folder): ...``; a second holder is refused with exit code 2."""

    def __init__(self, folder: Path, patience: float = 10.0) -> None:
        self.path = folder / "lock"
        self.patience = patience
        self._fd: int | None = None

    def probe(self) -> None:
        """Refuse at once, before any work, if a live process holds the lock."""
        if self.path.exists():
            with self:
                pass

    def __enter__(self) -> RunLock:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # A child of a killed writer can hold the lock for some seconds after its parent.
        until = time.monotonic() + self.patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                alive = holder.isdigit() and Path(f"/proc/{holder}").exists()
                if alive or time.monotonic() > until:
                    os.close(fd)
                    raise UsageError(
                        f"The run {self.path.parent.name} is being trained by another process (pid {holder}); "
                        "stop that one first, or start a run of its own."
                    ) from None
                time.sleep(0.1)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd
        return self

    def __exit__(self, *exc: object) -> None:
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None
