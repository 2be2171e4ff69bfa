"""What tests of the application ask of it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


async def until(pilot: Any, holds: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something holds, however busy the machine is."""
    for _ in range(int(seconds / 0.02)):
        if holds():
            return
        await pilot.pause(0.02)
    raise AssertionError("it never came to hold")


def text_of(app: Any) -> str:
    """What stands on the screen, line by line."""
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text.rstrip() for strip in strips)
