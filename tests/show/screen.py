"""A terminal for tests: reads what a program wrote to a pty, apart from the code under test."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import numpy as np

SGR = re.compile(r"\x1b\[([0-9;]*)m")
COLOURS = {  # the xterm cube and grey ramp
    i: ((0, 95, 135, 175, 215, 255)[(i - 16) // 36], (0, 95, 135, 175, 215, 255)[(i - 16) // 6 % 6],
        (0, 95, 135, 175, 215, 255)[(i - 16) % 6]) if i < 232 else (8 + 10 * (i - 232),) * 3
    for i in range(16, 256)
}  # fmt: skip


def cells(text: str) -> list[list[tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]]]:
    """Rows of (character, foreground, background); any escape but colours is an error."""
    rows, row = [], []
    front = back = None
    at = 0
    while at < len(text):
        match = SGR.match(text, at)
        if match:
            numbers = [int(part) for part in match.group(1).split(";") if part] or [0]
            while numbers:
                code = numbers.pop(0)
                if code == 0:
                    front = back = None
                elif code in (38, 48):
                    kind = numbers.pop(0)
                    colour = tuple(numbers.pop(0) for _ in range(3)) if kind == 2 else COLOURS.get(numbers[0])
                    if kind == 5:
                        numbers.pop(0)
                    front, back = (colour, back) if code == 38 else (front, colour)
            at = match.end()
            continue
        char = text[at]
        at += 1
        assert char != "\x1b", f"an escape that is no colour: {text[at - 1 : at + 10]!r}"
        if char == "\n":
            rows.append(row)
            row = []
        elif char != "\r":
            row.append((char, front, back))
    if row:
        rows.append(row)
    return rows


def pixels(text: str) -> np.ndarray:
    """The picture (H, W, 3) that half cells show."""
    rows = cells(text)
    out = np.zeros((2 * len(rows), max(map(len, rows)), 3), np.uint8)
    for y, row in enumerate(rows):
        for x, (char, front, back) in enumerate(row):
            upper = {"▄": back, "▀": front, " ": back, "█": front}[char]
            lower = {"▄": front, "▀": back, " ": back, "█": front}[char]
            out[2 * y, x] = upper or (0, 0, 0)
            out[2 * y + 1, x] = lower or (0, 0, 0)
    return out


def in_pty(
    code: str,
    *,
    columns: int = 80,
    lines: int = 24,
    stdout: bool = True,
    stderr: bool = True,
    typed: str = "",
    cell: tuple[int, int] = (0, 0),
    **env: str,
) -> dict[str, str]:
    """Run Python code with stdin, and stdout and stderr if wanted, on a pty: {"pty": ..., "out": ..., "err": ...}.

    cell: pixels of a cell across and down that the terminal tells its driver.
    """
    master, slave = pty.openpty()
    os.write(master, typed.encode())
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, columns * cell[0], lines * cell[1]))
    clean = {k: v for k, v in os.environ.items() if k not in
             ("NO_COLOR", "COLORTERM", "TERM", "TMUX", "COLUMNS", "LINES", "FORCE_COLOR", "WT_SESSION")}  # fmt: skip
    clean |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | env
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=slave, stdout=slave if stdout else subprocess.PIPE,
        stderr=slave if stderr else subprocess.PIPE, env=clean, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    data = b""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 0.1)
        if ready:
            try:
                got = os.read(master, 65536)
            except OSError:
                break
            if not got:
                break
            data += got
        elif child.poll() is not None:
            break
    out = child.stdout.read().decode() if child.stdout else ""
    err = child.stderr.read().decode() if child.stderr else ""
    assert child.wait(30) == 0, (data[-2000:], err)
    os.close(master)
    return {"pty": data.decode().replace("\r\n", "\n"), "out": out, "err": err}
