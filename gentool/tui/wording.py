"""How a run is spoken of on every screen: the look of its status, its name and its counts in few cells."""

from __future__ import annotations

from gentool.runs.reader import RunView
from gentool.show.text import safe_text

# How a status looks: told apart without colours too.
STATUS_LOOK = {
    "running": ("●", "live"),
    "done": ("✓", "good"),
    "interrupted": ("‖", "warn"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
    "crashed": ("†", "bad"),
    "damaged": ("?", "bad"),
}


def short_name(run: RunView) -> str:
    """A run's name without its date."""
    date, name = run.name[:11], run.name[11:]
    return safe_text(name if name and date[:4].isdigit() and date[-1] == "_" else run.name)


def short(count: int) -> str:
    """A count in at most five cells: 950, 12.5k, 1.2M."""
    if count < 10_000:
        return str(count)
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if count >= limit:
            amount = count / limit
            return f"{amount:.0f}{unit}" if amount >= 99.95 or amount == round(amount) else f"{amount:.1f}{unit}"
    return str(count)
