"""Logs that are followed, and the curves made from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from gentool.evaluating import Curve
from gentool.runs.index import LogIndex
from gentool.runs.metrics import Metrics
from gentool.show.text import cell_width, clip, safe_text

SMOOTHNESS = (0, 1, 2, 5, 10, 20)  # hundredths of the curve that a mean goes over


@dataclass
class Followed:
    """A log and the curves made from it, by (name, x)."""

    index: LogIndex
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)

    def update(self) -> bool:
        changed = self.index.update()
        if changed:
            self.curves = {}
            self.index.save()
        return changed

    @property
    def metrics(self) -> Metrics:
        return self.index.metrics

    def curve(self, name: str, x: str) -> Curve:
        found = self.curves.get((name, x))
        if found is None:
            rows = [row for row in self.metrics.rows if name in row and x in row]
            scale = 1.0 if x == "step" else 1 / 60
            found = Curve(name, [row[x] * scale for row in rows], [row[name] for row in rows])
            self.curves[name, x] = found
        return found


def smoother(now: int, by: int) -> int:
    """The next of `SMOOTHNESS`."""
    return SMOOTHNESS[max(0, min(SMOOTHNESS.index(now) + by, len(SMOOTHNESS) - 1))]


def clip_metric(name: str, width: int) -> str:
    """A metric's name, ``discr…/loss`` where the whole has no room: both of its parts tell it from others."""
    name = safe_text(name)
    head, _, last = name.rpartition("/")
    room = width - cell_width(last) - 1
    return f"{clip(head, room)}/{last}" if cell_width(name) > width and head and room >= 4 else clip(name, width)
