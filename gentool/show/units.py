"""Numbers as people read them. Light."""

from __future__ import annotations

import math


def number(value: object, digits: int = 4) -> str:
    """A figure in `digits` significant digits; whole numbers whole with thousands apart; None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        return f"{value:.{digits}g}" if abs(value) < 1e6 else f"{value:.{digits - 1}e}"
    return str(value)


def size(count: int | None) -> str:
    """Bytes: 512 B, 1.5 KB, 20 MB (powers of 1000, as disks are sold and `df -H` counts)."""
    if count is None:
        return "-"
    amount, unit = float(count), "B"
    for following in ("KB", "MB", "GB", "TB", "PB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, following
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 9.95 else f"{amount:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """A length of time in its two largest units: 8 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if 0 < seconds < 9.95:
        return f"{seconds:.1f} s"
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 ")) or "0 s"


def age(seconds: float | None) -> str:
    """How long ago, in one unit: now, 5 min, 3 h, 12 d, 2 y. A time in the future (a clock that is off) is now."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    for limit, length, unit in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h"), (63072000, 86400, "d")):
        if seconds < limit:
            return f"{round(seconds / length)} {unit}" if seconds >= 2 else "now"
    return f"{round(seconds / 31557600)} y"
