"""The worker process: ``python -m gentool.tui.worker``. Requests on stdin, answers on stdout, errors' traces on stderr.

A request has an "id"; every answer bears it. A request ends with one of "done", "refused" (the user's mistake, one
sentence), "failed" (the model's, one sentence) and "cancelled". Before it may come "partial"s and results.

A thread reads stdin, so that a request can be cancelled while one is obeyed, and so that the worker ends when its parent
does, however that ended: then stdin is closed. Of the requests of one "channel" that wait, only the newest is obeyed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from gentool.tui.worker.wire import LENGTHS, Message, WireError, lengths, pack, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Cancelled(Exception):
    """The request that is being obeyed is no longer wanted."""


class Inbox:
    """Requests that wait, filled by a thread of its own."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._ready = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._dropped: list[int] = []
        self._cancelled: set[int] = set()
        self._running: Message | None = None
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def _read(self) -> None:
        try:
            while prefix := self._exactly(LENGTHS.size):
                header, body = lengths(prefix)
                self._put(unpack(self._exactly(header), self._exactly(body)))
        except (WireError, OSError, ValueError):
            pass
        os._exit(0)  # the application is gone: nobody waits for what is being made

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size and size:
            os._exit(0)
        return data

    def _put(self, message: Message) -> None:
        with self._ready:
            if message.kind == "cancel":
                self._drop(lambda one: one["id"] == message["id"])
                if self._running is not None and self._running["id"] == message["id"]:
                    self._cancelled.add(message["id"])
            else:
                if channel := message.get("channel"):
                    self._drop(lambda one: one.get("channel") == channel)
                    if self._running is not None and self._running.get("channel") == channel:
                        self._cancelled.add(self._running["id"])
                self._waiting.append(message)
            self._ready.notify()

    def _drop(self, unwanted: Any) -> None:
        self._dropped += [one["id"] for one in self._waiting if unwanted(one)]
        self._waiting = deque(one for one in self._waiting if not unwanted(one))

    def next(self) -> tuple[list[int], Message | None]:
        """(requests that were dropped while they waited, the next one to obey, if there is one); waits for either."""
        with self._ready:
            self._running = None
            self._cancelled.clear()
            while not self._waiting and not self._dropped:
                self._ready.wait()
            dropped, self._dropped = self._dropped, []
            if self._waiting:
                self._running = self._waiting.popleft()
            return dropped, self._running

    def check(self) -> None:
        """Raise `Cancelled` if the request that is being obeyed is no longer wanted."""
        with self._ready:
            if self._running is not None and self._running["id"] in self._cancelled:
                raise Cancelled


class Outbox:
    """Answers, each written whole."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def send(
        self,
        to: int,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        try:
            self._stream.write(pack(kind, {**(fields or {}), "id": to}, arrays))
            self._stream.flush()
        except OSError:
            os._exit(0)


def main() -> None:
    """Obey requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the application's
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints must not get between the messages
    inbox, outbox = Inbox(os.fdopen(os.dup(0), "rb")), Outbox(answers)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    outbox.send(0, "hello", {"pid": os.getpid()})

    from gentool.tui.worker.session import Session

    session = Session(inbox.check)
    while True:
        dropped, request = inbox.next()
        for number in dropped:
            outbox.send(number, "cancelled")
        if request is not None:
            obey(session, request, outbox)


def obey(session: Any, request: Message, outbox: Outbox) -> None:
    """One request from its first answer to its last; nothing it raises ends the worker."""
    from gentool.errors import GentoolError

    number = request["id"]
    try:
        for kind, fields, arrays in session.answers(request):
            outbox.send(number, kind, fields, arrays)
        outbox.send(number, "done")
    except Cancelled:
        outbox.send(number, "cancelled")
    except GentoolError as error:
        outbox.send(number, "refused", {"why": str(error)})
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        if out_of_memory(error):
            why = "There is not enough memory for this; ask for fewer at once."
        else:
            why = f"The model failed ({' '.join(f'{type(error).__name__}: {error}'.split())[:200]})."
        outbox.send(number, "failed", {"why": why})


def out_of_memory(error: Exception) -> bool:
    """Whether memory was wanting: on a GPU torch has a class for it, on a CPU only words."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error) for words in ("not enough memory", "can't allocate memory", "out of memory"))


if __name__ == "__main__":
    main()
