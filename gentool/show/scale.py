"""Axes: ranges, round ticks, and long curves thinned without losing their peaks. Light: no numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gentool.evaluating import Curve

POINTS = 400  # a curve of more points shows no more
HUGE = 1e250  # beyond this (and its inverse) ticks would leave the range of floats: not drawn


@dataclass(frozen=True)
class Axis:
    """A range, linear or logarithmic, with its ticks. `place` maps a value to [0, 1]."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        if self.log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        return _drawn(value, self.log)


def _drawn(value: float, log: bool) -> bool:
    return -HUGE < value < HUGE and (value > 1 / HUGE or not log)


def make_axis(values: Sequence[float], *, log: bool, ticks: int, margin: float = 0.04, whole: bool = False) -> Axis:
    """The axis that holds all finite (on a log axis, all positive) values, with about `ticks` ticks.

    A log axis without a positive value becomes linear. `whole`: ticks at whole numbers only (steps).
    """
    log = log and any(_drawn(value, log) for value in values)
    kept = [value for value in values if _drawn(value, log)] or [0.0, 1.0]
    low, high = min(kept), max(kept)
    if log:
        low, high = math.log10(low), math.log10(high)
    room = (high - low) * margin
    if high - low <= max(1e-12 * max(abs(low), abs(high)), 1 / HUGE):  # one value only
        room = 0.5 if log else abs(low) * 0.1 if abs(low) > 1e-200 else 1.0
    low, high = low - room, high + room
    if log:
        return Axis(10**low, 10**high, True, log_ticks(10**low, 10**high, ticks))
    return Axis(low, high, False, linear_ticks(low, high, ticks, whole=whole))


def linear_ticks(low: float, high: float, most: int, *, whole: bool = False) -> tuple[tuple[float, str], ...]:
    """At most `most` (at least 2) ticks at multiples of 1, 2, 2.5 or 5 times a power of ten inside [low, high]."""
    span = high - low
    power = 10 ** math.floor(math.log10(span / max(most, 2)))
    for factor in (1, 2, 2.5, 5, 10, 20, 25, 50, 100):
        unit = power * factor
        if whole and (unit < 1 or unit % 1):
            continue
        first, last = math.ceil(low / unit - 1e-9), math.floor(high / unit + 1e-9)
        if last - first + 1 <= max(most, 2):
            values = [i * unit for i in range(first, last + 1)]
            return tuple(zip(values, labels(values), strict=True))
    return ()


def log_ticks(low: float, high: float, most: int) -> tuple[tuple[float, str], ...]:
    """Powers of ten inside [low, high], with 2 and 5 between them where there is room; linear ones on a short range."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [f * 10.0**p for p in range(first, last + 1) for f in factors if low <= f * 10.0**p <= high]
        if len(values) <= most or factors == (1,):
            break
    if len(values) < 2:
        return tuple(tick for tick in linear_ticks(low, high, most) if tick[0] > 0)
    values = values[:: -(-len(values) // max(most, 2))]
    return tuple((value, label(value)) for value in values)


def labels(values: Sequence[float]) -> list[str]:
    """Ticks with as many decimals as all of them need."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 1e5 or (0 < largest < 1e-3):
        return [label(value) for value in values]
    for decimals in range(8):
        texts = [f"{value:.{decimals}f}" for value in values]
        if all(abs(float(text) - value) <= 1e-9 * largest for text, value in zip(texts, values, strict=True)):
            break
    return ["0" if float(text) == 0 else text for text in texts]


def label(value: float) -> str:
    """One number, short: 20k, 1.5M, 0.002, 3e-05."""
    if value == 0:
        return "0"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if limit <= abs(value) < 1000 * limit and (limit > 1e3 or abs(value) >= 1e4):
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def thin(x: Sequence[float], y: Sequence[float], most: int = POINTS) -> tuple[list[float], list[float]]:
    """At most `most` points of a curve: the lowest and the highest of each stretch, the first and the last.

    Points whose x or y is not finite are left out.
    """
    points = [(float(a), float(b)) for a, b in zip(x, y, strict=False) if -HUGE < a < HUGE and -HUGE < b < HUGE]
    if len(points) > most:
        inner = points[1:-1]
        stretches = max(1, (most - 2) // 2)
        kept = [points[0]]
        for i in range(stretches):
            part = inner[i * len(inner) // stretches : (i + 1) * len(inner) // stretches]
            low = min(range(len(part)), key=lambda j: part[j][1])
            high = max(range(len(part)), key=lambda j: part[j][1])
            kept.extend(part[j] for j in sorted({low, high}))
        points = [*kept, points[-1]]
    return [a for a, _ in points], [b for _, b in points]


def pieces(curve: Curve, axis: Axis) -> list[list[tuple[float, float]]]:
    """A curve as unbroken stretches: it is interrupted where y is not finite or cannot be on the axis."""
    broken: list[list[tuple[float, float]]] = [[]]
    for a, b in zip(curve.x, curve.y, strict=False):
        if -HUGE < a < HUGE and axis.holds(b):
            broken[-1].append((float(a), float(b)))
        elif broken[-1]:
            broken.append([])
    return [piece for piece in broken if piece]


def running_mean(curve: Curve, window: int | None = None) -> Curve:
    """A long curve as the mean over the `window` points around each (None: a hundredth of them), said in its name.

    A short curve, and one that is not finite somewhere, stays as it is.
    """
    window = len(curve.y) // 100 if window is None else window
    values = [float(value) for value in curve.y]
    if window < 2 or not all(-HUGE < value < HUGE for value in values):
        return curve
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    half, n = window // 2, len(values)
    mean = []
    for i in range(n):
        reach = min(half, i, n - 1 - i)  # narrower at the ends, so that these stay where they are
        mean.append((sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1))
    return Curve(f"{curve.name} (mean of {2 * half + 1})", curve.x, mean)
