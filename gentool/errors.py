"""Errors a person can cause. Each is one sentence and a remedy; the command line prints it without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GentoolError(Exception):
    """The run failed (exit code 1): the disk is full, the loss is NaN, a download broke off."""

    exit_code = 1


class UsageError(GentoolError):
    """The call was wrong (exit code 2): an unknown name, a value out of range, a file that is not what it should be."""

    exit_code = 2


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'vqvae'?`` when a known word is near, else the known words if they are few, else nothing."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if not near:
        near = [name for name in names if word and (name.startswith(word.lower()) or word.lower().startswith(name))][:1]
    if near:
        return f" Did you mean '{near[0]}'?"
    if 0 < len(names) <= 24:
        return f" There is: {', '.join(names)}."
    return ""
