"""Writing files so that a reader sees the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gentool.errors import GentoolError


def umask() -> int:
    """The process's umask (it can only be read by setting it)."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_UMASK = umask()


def sync_folder(path: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and flush it to the device; permissions follow the umask."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 & ~_UMASK)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write beside, flush, rename. `sync=False` leaves out the flush, for files that may lag (a heartbeat)."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if sync:
            write_synced(beside, data)
        else:
            beside.write_bytes(data)
        os.replace(beside, path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> GentoolError:
    """A failed write as one sentence."""
    from gentool.show.text import safe_text

    remedy = {28: "free some space, then `gentool resume`", 122: "your quota is used up", 30: "the disk is read-only"}
    hint = remedy.get(error.errno or 0, "check the permissions and the disk")
    return GentoolError(f"Writing {safe_text(str(path))} failed ({error.strerror or error}): {hint}.")


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (Linux): tells a process from a later one of the same number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def plain(value: Any) -> Any:
    """A JSON value of numbers and strings only: NaN and infinities become None."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value
