"""Start, stop and resume runs from another program: detached, so that they outlive whoever started them. Light.

A run is a `gentool` command in a session of its own. What it prints goes to a file beside the runs until its folder is
there, then into the folder as ``output.txt``. It is stopped by SIGINT, upon which it saves and ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gentool.errors import GentoolError, UsageError
from gentool.runs.files import process_start
from gentool.runs.metrics import open_regular
from gentool.runs.reader import RunView
from gentool.show.text import safe_text

OUTPUT = "output.txt"
TAIL = 4096


@dataclass
class Launched:
    """A command that was started. Whoever started it calls `poll` now and then, which also reaps it."""

    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    output: Path  # where what it prints goes
    run: Path | None = None  # its folder, once that is there
    code: int | None = None
    started: int | None = None
    words_kept: str = ""  # its last words, once their file is gone

    @property
    def words(self) -> str:
        """The command as one would type it."""
        return command_line(self.arguments)

    def poll(self, runs: Iterable[RunView]) -> bool:
        """Look how it is going, with the runs of its folder; whether anything is new."""
        news = False
        if self.code is None and (code := self.process.poll()) is not None:
            self.code, news = code, True
        if self.run is None:
            for view in runs:
                if view.meta.get("pid") == self.process.pid and view.meta.get("pid_started") in (self.started, None):
                    self.run, news = view.path, True
                    self._adopt()
                    break
        return news

    def _adopt(self) -> None:
        """Move what was printed into the run's folder (the file that it writes to stays the same)."""
        assert self.run is not None
        with contextlib.suppress(OSError):
            os.replace(self.output, self.run / OUTPUT)
            self.output = self.run / OUTPUT

    def last_words(self, lines: int = 3) -> str:
        """The last lines it printed, made safe."""
        return tail(self.output, lines) or self.words_kept

    def tidy(self) -> None:
        """Remove what a command printed that ended without a run."""
        if self.run is None and self.code is not None:
            self.output.unlink(missing_ok=True)


def command_line(arguments: Sequence[str]) -> str:
    """``gentool …`` as one would type it in a shell."""
    return shlex.join(["gentool", *arguments])


def start(arguments: Sequence[str], root: Path, output: Path | None = None) -> Launched:
    """Start ``gentool ARGUMENTS`` detached; `output` is appended to (None: a new file under `root`)."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        output = output or root / f".launch-{secrets.token_hex(4)}.txt"
        with output.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "gentool", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        where = safe_text(str(root))
        raise GentoolError(f"The run cannot be started under '{where}': {error.strerror or error}.") from None
    return Launched(list(arguments), process, output, started=process_start(process.pid))


def resume(run: RunView, *, plugins: Sequence[str] = ()) -> Launched:
    """Go on with a run, detached."""
    if run.live:
        raise UsageError(f"The run {safe_text(run.name)} is still running.")
    arguments = ["resume", str(run.path.resolve())]
    for file in plugins:
        arguments += ["--plugin", file]
    made = start(arguments, run.path.parent, run.path / OUTPUT)
    made.run = run.path
    return made


def stop(run: RunView) -> None:
    """Ask a run to save and end, as Ctrl-C does. `UsageError` where it does not run, or not on this machine."""
    import socket

    pid = run.meta.get("pid")
    if not run.live or not isinstance(pid, int) or pid <= 1:
        raise UsageError(f"The run {safe_text(run.name)} is not running.")
    if run.meta.get("host") != socket.gethostname():
        raise UsageError(
            f"The run {safe_text(run.name)} runs on {safe_text(run.meta.get('host'))[:60]}; stop it there."
        )
    started = run.meta.get("pid_started")
    if started is not None and process_start(pid) != started:
        raise UsageError(f"The run {safe_text(run.name)} is no longer running.")
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        raise UsageError(f"The run {safe_text(run.name)} is no longer running.") from None
    except PermissionError:
        raise UsageError(f"The run {safe_text(run.name)} belongs to another user.") from None


def tail(path: Path, lines: int) -> str:
    """The last lines of a text file, made safe; "" where there is none. What a bar wrote over itself is left out."""
    file = open_regular(path)
    if file is None:
        return ""
    with file, contextlib.suppress(OSError):
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        text = file.read().decode("utf-8", "replace")
        found = [line.rpartition("\r")[2] for line in text.split("\n")]
        return "\n".join(safe_text(line) for line in [line for line in found if line.strip()][-lines:])
    return ""
