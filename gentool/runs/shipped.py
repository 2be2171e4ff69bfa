"""Checkpoints that ship in plugins: where they lie, and the cards beside them. Light: no torch."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

from gentool.errors import UsageError, did_you_mean
from gentool.show.text import safe_text
from gentool.specs import ModelSpec


def package_file(spec: ModelSpec, shipped: str | None = None) -> tuple[str, Path]:
    """(name, file) of a checkpoint that ships in a plugin; the first is the default."""
    if not spec.checkpoints:
        raise UsageError(f"No checkpoint ships for '{spec.name}'; train one first: gentool train {spec.name}.")
    name = shipped or next(iter(spec.checkpoints))
    if name not in spec.checkpoints:
        raise UsageError(
            f"No checkpoint '{safe_text(name)[:60]}' ships for '{spec.name}'.{did_you_mean(name, spec.checkpoints)}"
        )
    package = spec.factory.partition(":")[0].partition(".")[0]
    file = Path(str(importlib.resources.files(package))) / spec.checkpoints[name]
    if not file.is_file():
        raise UsageError(
            f"The checkpoint '{name}' of '{spec.name}' is missing from this installation; install it again."
        )
    return name, file


def card(spec: ModelSpec, name: str) -> dict[str, Any]:
    """The card of a shipped checkpoint: data set, steps, seconds, device, exact command, scores. Empty where there is none."""
    try:
        _, file = package_file(spec, name)
        found = json.loads(Path(file).with_suffix(".json").read_text("utf-8"))
    except Exception:  # a plugin may be anything
        return {}
    return found if isinstance(found, dict) else {}
