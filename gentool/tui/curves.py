"""Curves on a screen: by step or by time, smoothed, on a log scale, read off at a place; the same keys wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from textual.binding import BindingType
from textual.widget import Widget

from gentool.evaluating import Curve
from gentool.runs.describe import wants_log
from gentool.tui.follow import smoother
from gentool.tui.page import binding
from gentool.tui.widgets.plot import Line, Plot, value_at

CURVE_KEYS: tuple[BindingType, ...] = (
    binding("plus,equals_sign", "smooth(1)", "Smooth", show=True, key_display="+"),
    binding("minus", "smooth(-1)", "Smooth less", key_display="-"),
    binding("L", "log", "Log scale", show=True),
    binding("x", "x", "Step or time", show=True),
    binding("left,comma", "look(-1)", "Read off values to the left"),
    binding("right,full_stop", "look(1)", "Read off values to the right"),
)


class Curves:
    """What a page or a pane with one `Plot` does upon `CURVE_KEYS`; it gives `draw`, which ends in `show_curves`."""

    x = "step"  # or "t"
    smooth = 0  # hundredths of a curve that a mean goes over
    log_y: bool | None = None  # None: where it shows more

    @property
    def plot(self) -> Plot:
        return cast("Widget", self).query_one(Plot)

    def draw(self) -> None:
        raise NotImplementedError

    def show_curves(self, curves: Sequence[Curve], lines: Sequence[Line], name: str, more: Sequence[str] = ()) -> None:
        """Plot `lines`, made of `curves`; the title is `name`, how they are drawn, and `more`."""
        log_y = wants_log(curves) if self.log_y is None else self.log_y
        how = ["log scale" if log_y else "", f"mean of {self.smooth} %" if self.smooth else ""]
        title = " · ".join(filter(None, [name, *how, *more]))
        x_name = "step" if self.x == "step" else "min"
        self.plot.show_lines(lines, title=title, x_name=x_name, log_y=log_y, smooth=self.smooth)

    def read_off(self, curve: Curve) -> float | None:
        """A curve's value at the place that is pointed at, else its newest."""
        if self.plot.at is not None:
            return value_at(curve, self.plot.at)
        return curve.y[-1] if curve.y else None

    def action_smooth(self, by: int) -> None:
        self.smooth = smoother(self.smooth, by)
        self.draw()

    def action_log(self) -> None:
        self.log_y = not self.plot.log_y
        self.draw()

    def action_x(self) -> None:
        self.x = "t" if self.x == "step" else "step"
        self.plot.point(None)
        self.draw()

    def action_look(self, by: int) -> None:
        self.plot.step(by)
