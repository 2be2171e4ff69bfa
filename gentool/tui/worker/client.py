"""The application's side of the worker: started when it is first needed, started anew after it has died.

    worker = Worker(runs=Path("runs"))
    about = await worker.ask("open", source="vae")
    async for message in worker.request("sample", n=16, seed=3): ...

Light: neither torch nor textual; numpy comes with the first array.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from gentool.errors import GentoolError
from gentool.show.text import safe_text
from gentool.tui.worker.wire import LENGTHS, Message, WireError, lengths, pack, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDS = ("done", "refused", "failed", "cancelled", "gone")
COMMAND = (sys.executable, "-m", "gentool.tui.worker")


class WorkerError(GentoolError):
    """A request came to nothing; the message is one sentence for the user. `kind`: "refused", "failed" or "gone"."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class Reply:
    """The answers to one request, as they come: `async for message in reply`. Ends quietly when it was cancelled."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker, self.number = worker, number
        self.queue: asyncio.Queue[Message] = asyncio.Queue()
        self.ended = ""  # one of ENDS once it is over

    def cancel(self) -> None:
        """No more of it is wanted; what is on its way is thrown away."""
        if not self.ended:
            self._worker.send("cancel", {"id": self.number})

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        if self.ended:
            raise StopAsyncIteration
        message = await self.queue.get()
        if message.kind not in ENDS:
            return message
        self.ended = message.kind
        if message.kind in ("refused", "failed", "gone"):
            raise WorkerError(message.kind, safe_text(message.get("why", "")))
        raise StopAsyncIteration


class Worker:
    """A worker process and the requests that wait for it. One event loop alone may use it."""

    def __init__(self, command: Sequence[str] = COMMAND, env: Mapping[str, str] | None = None) -> None:
        self._command, self._env = tuple(command), dict(env or {})
        self._process: asyncio.subprocess.Process | None = None
        self._errors: IO[bytes] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting: asyncio.Lock = asyncio.Lock()
        self._replies: dict[int, Reply] = {}
        self._number = 0
        self.opened: dict[str, Any] | None = None  # what the last "open" asked for, asked again after a death

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.alive else None

    async def start(self) -> None:
        """Start the process where there is none; `WorkerError` where it cannot be."""
        async with self._starting:
            if self.alive:
                return
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=self._errors,
                    env={**os.environ, **self._env},
                    start_new_session=True,  # the terminal's signals are the application's
                    limit=1 << 20,
                )
            except OSError as error:
                raise WorkerError("gone", f"The model's process cannot be started ({error.strerror}).") from None
            self._reader = asyncio.create_task(self._read(self._process), name="worker reader")

    def request(
        self, kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, *, channel: str = "", **fields: Any
    ) -> Reply:
        """Ask for something, of a worker that is alive. Of requests of one `channel` only the newest is obeyed."""
        self._number += 1
        reply = Reply(self, self._number)
        self._replies[reply.number] = reply
        if kind == "open":
            self.opened = dict(fields)
        if not self.send(kind, {**fields, "id": reply.number, "channel": channel}, arrays):
            self._end(reply, self._obituary())
        return reply

    async def ask(
        self, kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, *, channel: str = "", **fields: Any
    ) -> Message | None:
        """The last result of a request (None where it was cancelled); starts the worker, and opens its model, if need be."""
        if not self.alive:
            await self.start()
            if kind != "open" and self.opened is not None:
                await self.ask("open", **self.opened)
        last = None
        async for message in self.request(kind, arrays, channel=channel, **fields):
            last = message
        return last

    def send(self, kind: str, fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> bool:
        """Write one message; False where nobody is there to read it."""
        if self._process is None or self._process.stdin is None or not self.alive:
            return False
        with contextlib.suppress(OSError, RuntimeError):
            self._process.stdin.write(pack(kind, fields, arrays))
            return True
        return False

    async def stop(self) -> None:
        """End the process now; requests that wait end as cancelled."""
        process = self._process
        for reply in list(self._replies.values()):
            self._end(reply, Message("cancelled"))
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # which ends it, unless it is deep in a kernel
        await _end(process, 0.3)
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        self._forget()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while True:
                header, body = lengths(await process.stdout.readexactly(LENGTHS.size))
                message = unpack(await process.stdout.readexactly(header), await process.stdout.readexactly(body))
                reply = self._replies.get(message.get("id", 0))
                if reply is not None:
                    if message.kind in ENDS:
                        self._end(reply, message)
                    else:
                        reply.queue.put_nowait(message)
        except (asyncio.IncompleteReadError, WireError, OSError):
            await _end(process, 2.0)
        words = self._obituary()
        for reply in list(self._replies.values()):
            self._end(reply, words)
        self._forget()

    def _end(self, reply: Reply, message: Message) -> None:
        self._replies.pop(reply.number, None)
        reply.queue.put_nowait(message)

    def _forget(self) -> None:
        self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _obituary(self) -> Message:
        """Why the worker is no more, in one sentence."""
        code = self._process.returncode if self._process is not None else None
        if code is None:
            return Message("gone", {"why": "The model's process is not running; ask again to start it."})
        if code == -signal.SIGKILL:
            why = "was killed, most likely for want of memory"
        elif code < 0:
            why = f"died of {_signal_name(-code)}"
        else:
            why = f"ended with code {code}"
            if last := self._last_words():
                why += f" ({last})"
        return Message("gone", {"why": f"The model's process {why}; ask again to start a new one."})

    def _last_words(self) -> str:
        """The last line that the process wrote on stderr."""
        if self._errors is None:
            return ""
        with contextlib.suppress(OSError, ValueError):
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - 4096))
            lines = self._errors.read().decode("utf-8", "replace").split("\n")
            return next((safe_text(line.strip())[:160] for line in reversed(lines) if line.strip()), "")
        return ""


async def _end(process: asyncio.subprocess.Process, patience: float) -> None:
    """Wait for the end of a process; after `patience` seconds, make it end."""
    try:
        await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        # Not process.kill(): that polls, which takes the exit code away from asyncio.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
