"""The runs of a folder, followed by a thread of their own: what changed is read again, nothing else is.

Writers are never waited for and never know: run.json is replaced by a rename, logs only grow. The newest runs are read
first, so that a screen of them is there before thousands of others.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from gentool.runs.glance import Glance, read_glance
from gentool.runs.reader import RunView, is_run, read_run

FIRST = 100  # runs that are read before the first word of them
BATCH = 200
PAUSE, QUIET = 1.0, 3.0  # seconds between two looks at the folder: while a run goes on, and while none does

Stamp = tuple[int, int, int] | None  # what tells one state of a file from another: time, size, inode
Listener = Callable[[Collection[str], bool], None]


@dataclass
class Entry:
    """One run: the state it was read in, and the glance at its log with the state of that."""

    view: RunView
    stamp: Stamp
    glance: Glance | None = None
    glanced: Stamp = None
    stale: bool = True  # the log went on since the glance


class RunStore:
    """Follows a runs folder. `entries` is read by the application's thread and replaced entry by entry by ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, Entry] = {}
        self.problem = ""  # why the folder cannot be read
        self.ready = threading.Event()  # the first runs are there
        self.whole = False  # every run was read once
        self.live_count = 0
        self._listener: Listener | None = None
        self._wake = threading.Event()
        self._stop = False
        self.started = False
        self._wanted: dict[str, None] = {}  # names whose glance is asked for, the newest wish last
        self._lock = threading.Lock()
        self._strangers: dict[str, float] = {}  # folders that are no runs, and when that was seen
        self._threads = [threading.Thread(target=self._follow, daemon=True, name="runs"),
                         threading.Thread(target=self._look, daemon=True, name="glances")]  # fmt: skip
        self._asked = threading.Event()

    # -- for the application ----------------------------------------------------------------------------------------

    def start(self) -> None:
        self.started = True
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop = True
        self._wake.set()
        self._asked.set()

    def listen(self, listener: Listener) -> None:
        """Call `listener(names, more)` in our thread whenever runs changed; at once with what was read before."""
        with self._lock:
            self._listener = listener
            names = set(self.entries)
        if names or self.whole:
            listener(names, True)

    def refresh(self) -> None:
        """Look now."""
        self._wake.set()

    @property
    def count(self) -> int:
        return len(self.entries)

    def views(self) -> list[RunView]:
        """Every run, in no order."""
        return [entry.view for entry in list(self.entries.values())]

    def view(self, name: str) -> RunView | None:
        entry = self.entries.get(name)
        return entry.view if entry else None

    def glance(self, name: str) -> Glance | None:
        """The glance at a run's log as far as it is known; where it is not, or is old, it is read soon."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.stale:
            with self._lock:
                self._wanted.pop(name, None)
                self._wanted[name] = None
            self._asked.set()
        return entry.glance

    # -- the thread that follows the folder -------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._stop:
            with contextlib.suppress(Exception):  # whatever a folder holds, the next look is tried
                self.scan()
            self.ready.set()
            self._wake.wait(PAUSE if self.live_count or not self.whole else QUIET)
            self._wake.clear()

    def scan(self) -> None:
        """One look at the folder, said to the listener: in batches at first, then what changed."""
        names = self._names()
        gone = set(self.entries) - set(names)
        for name in gone:
            self.entries.pop(name, None)
        changed: set[str] = set(gone)
        more = bool(gone)
        due = FIRST
        for name in names:
            if self._stop:
                return
            known = name in self.entries
            if not self._read(name):
                continue
            changed.add(name)
            more = more or not known
            if not self.whole and len(changed) >= due:
                self._tell(changed, more)
                changed, more, due = set(), False, BATCH
                self.ready.set()
                time.sleep(0.002)  # the application's thread is waiting to draw them
        first, self.whole = not self.whole, True
        if changed or first:
            self._tell(changed, more or first)

    def _names(self) -> list[str]:
        """The folders, newest names first (they begin with their date)."""
        try:
            with os.scandir(self.root) as found:
                names = [e.name for e in found if e.name[0] != "." and e.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            self.problem = ""
            return []
        except (OSError, ValueError) as error:
            self.problem = getattr(error, "strerror", None) or str(error)
            return []
        self.problem = ""
        return sorted(names, reverse=True)

    def _read(self, name: str) -> bool:
        """Read one run again if its run.json (or its log) is another than before; whether it was."""
        entry = self.entries.get(name)
        stamp = stamp_of(f"{self.root}/{name}/run.json")  # thousands of them a look: no Path is made for each
        if entry is not None and stamp == entry.stamp and not entry.view.live:
            return False
        path = self.root / name
        if entry is None:
            if stamp is None:
                # Not every folder is a run, and a lost run.json is rare: such folders are looked at once in ten seconds.
                if time.monotonic() - self._strangers.get(name, -60.0) < 10:
                    return False
                self._strangers[name] = time.monotonic()
                if not is_run(path):
                    return False
            self.entries[name] = Entry(read_run(path), stamp)
            self._strangers.pop(name, None)
            return True
        moved = entry.view.live and entry.glance is not None and stamp_of(path / "metrics.jsonl") != entry.glanced
        if moved:
            entry.stale = True
        if stamp == entry.stamp:  # a live run may have died without a word
            view = read_run(path)
            if view.status == entry.view.status:
                return moved
        else:
            view = read_run(path)
            entry.stale = True
        if entry.glance is not None:
            view.__dict__["last"] = entry.glance.last
        entry.view, entry.stamp = view, stamp
        return True

    def _tell(self, names: set[str], more: bool) -> None:
        self.live_count = sum(entry.view.live for entry in list(self.entries.values()))
        with self._lock:
            listener = self._listener
        if listener is not None:
            listener(names, more)

    # -- the thread that looks at logs ------------------------------------------------------------------------------

    def _look(self) -> None:
        while not self._stop:
            self._asked.wait()
            self._asked.clear()
            seen: set[str] = set()
            while not self._stop:
                with self._lock:
                    if not self._wanted:
                        break
                    name, _ = self._wanted.popitem()
                if self._glance(name):
                    seen.add(name)
                if len(seen) >= 64:
                    self._tell(seen, False)
                    seen = set()
            if seen:
                self._tell(seen, False)

    def _glance(self, name: str) -> bool:
        entry = self.entries.get(name)
        if entry is None or not entry.stale:
            return False
        stamp = stamp_of(entry.view.path / "metrics.jsonl")
        if entry.glance is not None and stamp == entry.glanced:
            entry.stale = False
            return False
        with contextlib.suppress(Exception):
            glance = read_glance(entry.view.path)
            entry.view.__dict__["last"] = glance.last
            entry.glance, entry.glanced, entry.stale = glance, stamp, False
            return True
        entry.stale = False
        return False

    def glance_all(self, names: Collection[str]) -> None:
        """Read the glance of every run named, in the caller's thread: what a filter or an order over metrics needs."""
        for name in names:
            if self._stop:
                return
            self._glance(name)


def stamp_of(path: Path | str) -> Stamp:
    """What tells one state of a file from another; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
