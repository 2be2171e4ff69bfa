"""Ctrl-C and SIGTERM become a request: the step in flight ends, a checkpoint is written, then the run stops."""

from __future__ import annotations

import contextlib
import signal
import sys
from types import FrameType
from typing import Any


class StopRequest:
    """``with StopRequest() as stop: ... if stop.asked: ...``. A second Ctrl-C does not wait."""

    def __init__(self) -> None:
        self.asked: str = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not in the main thread: the host application handles signals.
            with contextlib.suppress(ValueError):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        print("\nStopping after this step; again to stop at once.", file=sys.stderr)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
