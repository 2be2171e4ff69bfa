"""Learning-rate schedules as functions of the step and of the share of the budget that is spent."""

from __future__ import annotations

import math

from gentool.settings import Schedule


def factor(schedule: Schedule, step: int, progress: float) -> float:
    """What the peak rate is multiplied by at `step` (from 0), with `progress` in [0, 1] of the budget spent.

    The warm-up is linear in steps. cosine: Loshchilov & Hutter 2017, eq. 5, one period without restarts.
    """
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    if schedule.name == "constant":
        return warm
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warm * (schedule.final + (1 - schedule.final) * fall)
