"""A curve in a few cells: eight heights a cell."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int) -> str:
    """At most `width` bars for finite values, lowest to highest; a flat line for a constant. Empty where there is none.

    More values than cells are averaged in stretches. One wild value does not flatten the rest: heights end at the 95th
    hundredth where that is far under the highest.
    """
    known = [value for value in values if -1e300 < value < 1e300]
    if not known or width < 1:
        return ""
    n = min(width, len(known))
    means = []
    for i in range(n):
        part = known[i * len(known) // n : (i + 1) * len(known) // n]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    if n > 4:
        second = sorted(means)[-2]
        if second > low and (high - low) > 8 * (second - low):
            high = second
    span = high - low
    if span <= 1e-12 * max(abs(low), abs(high), 1e-300):
        return BARS[0] * n
    return "".join(BARS[min(7, int((min(value, high) - low) / span * 7.999))] for value in means)
