"""A log that is followed: what was read is held thinned, only what is new is read. That of a long log is kept in the user's
cache, so that a log of a million lines opens at once; it can be thrown away at any time and is then made again. Light.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from gentool.errors import GentoolError
from gentool.runs.files import replace_file
from gentool.runs.metrics import BLOCK, LONGEST, Metrics, Thinner, open_regular

ROWS = 1600  # of a log that are held, and at most twice as many
LONG = 2_000_000  # bytes of a log from which on its index is kept: shorter ones are read in hundredths of a second
CHECK = 64  # bytes before the place read up to, by which the file is known again
KEPT = 256  # indices in the cache; the oldest go
VERSION = 1


class LogIndex:
    """The metrics log of one run. `update` reads on; `metrics` is what is held."""

    def __init__(self, run: Path, *, cache: Path | None = None) -> None:
        """`cache`: the folder of indices (None: the user's)."""
        self.path = run / "metrics.jsonl"
        self.cache = cache or cache_folder()
        self.metrics = Metrics()
        self._begin()
        self._tried = False
        self._saved = 0  # bytes that the kept index knows

    def _begin(self) -> None:
        self._thinner = Thinner(ROWS)
        self._inode = 0
        self._offset = 0
        self._check = b""

    def update(self) -> bool:
        """Read what is new; whether anything was. A log that was cut (a run that is resumed) is read from its start."""
        file = open_regular(self.path)
        if file is None:
            changed = bool(self._thinner.number)
            self._begin()
            self.metrics = Metrics()
            return changed
        with file:
            try:
                return self._read(file)
            except OSError:
                return False

    def _read(self, file: Any) -> bool:
        found = os.fstat(file.fileno())
        if not self._tried:
            self._tried = True
            if found.st_size >= LONG:
                self._load()
        fresh = self._offset == 0
        if not fresh and (found.st_ino != self._inode or found.st_size < self._offset or not self._same(file)):
            self._begin()
            fresh = True
        self._inode = found.st_ino
        if found.st_size == self._offset:
            return self._gathered() if fresh or not self.metrics.rows else False
        file.seek(self._offset)
        rest, new = b"", False
        while block := file.read(BLOCK):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if lines:
                new = True
                self._thinner.feed([line[: LONGEST + 1] for line in lines])
                self._offset += sum(map(len, lines)) + len(lines)
            if len(rest) > LONGEST:  # never a line of ours
                self._offset += len(rest)
                rest = b""
        if not new and self.metrics.rows:
            return False
        file.seek(max(0, self._offset - CHECK))
        self._check = file.read(min(CHECK, self._offset))
        return self._gathered()

    def _gathered(self) -> bool:
        self.metrics = self._thinner.metrics()
        return True

    def _same(self, file: Any) -> bool:
        """Whether the bytes before the place read up to are those that were read."""
        file.seek(max(0, self._offset - CHECK))
        return bool(file.read(len(self._check)) == self._check)

    # -- the cache --------------------------------------------------------------------------------------------------

    @property
    def file(self) -> Path:
        """Where the index of this log is kept."""
        name = hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:32]
        return self.cache / f"{name}.json"

    def save(self) -> bool:
        """Keep the index of a long log, where a good part of it is not in the kept one yet; whether it was written."""
        if self._offset < LONG or self._offset < 1.1 * self._saved:
            return False
        thin = self._thinner
        state = {
            "version": VERSION, "inode": self._inode, "offset": self._offset, "check": base64.b64encode(self._check).decode(),
            "stride": thin.stride, "rare_stride": thin.rare_stride, "number": thin.number, "rare_seen": thin.rare_seen,
            "kept": _texts(thin.kept), "rare": _texts(thin.rare), "newest": thin.newest.decode("utf-8", "replace"),
        }  # fmt: skip
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            replace_file(self.file, json.dumps(state).encode(), sync=False)
        except (OSError, GentoolError):
            return False  # a full disk, a home that may not be written: it is only slower
        self._saved = self._offset
        self._prune()
        return True

    def _prune(self) -> None:
        with contextlib.suppress(OSError):
            files = sorted(self.cache.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in files[:-KEPT]:
                path.unlink(missing_ok=True)

    def _load(self) -> None:
        """Take what the cache has of this log. `_read` checks that the file is still the one it was."""
        try:
            state = json.loads(self.file.read_text("utf-8"))
            if state["version"] != VERSION:
                return
            thin = Thinner(ROWS)
            for name in ("stride", "rare_stride", "number", "rare_seen"):
                value = state[name]
                if not isinstance(value, int) or value < 0 or (value < 1 and "stride" in name):
                    return
                setattr(thin, name, value)
            thin.kept, thin.rare = _lines(state["kept"]), _lines(state["rare"])
            thin.newest = str(state["newest"]).encode()
            self._offset, self._inode = int(state["offset"]), int(state["inode"])
            self._check = base64.b64decode(state["check"])
            self._thinner, self._saved = thin, self._offset
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._begin()


def _texts(lines: dict[int, bytes]) -> dict[str, str]:
    return {str(at): line.decode("utf-8", "replace") for at, line in lines.items()}


def _lines(texts: dict[str, str]) -> dict[int, bytes]:
    return {int(at): line.encode() for at, line in texts.items()}


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/gentool/logs``."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("gentool", appauthor=False)) / "logs"
