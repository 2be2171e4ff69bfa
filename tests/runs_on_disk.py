"""Run folders for tests, written by hand as the design describes them: apart from the writer and the reader."""

from __future__ import annotations

import json
from pathlib import Path


def make(root: Path, folder: str, rows=(), config: str | None = None, checkpoints=(), **meta) -> Path:
    path = root / folder
    (path / "checkpoints").mkdir(parents=True)
    facts = {"version": 1, "id": folder, "model": "vae", "data": "digits", "status": "done", "step": 10, "total_steps": 10}
    facts |= {"created": 1_700_000_000.0, "seconds": 5.0, **meta}
    (path / "run.json").write_text(json.dumps(facts))
    (path / "config.toml").write_text(config or '[model]\nname = "vae"\n[optim.model]\nlr = 0.001  # --set\n')
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in checkpoints:
        saved = path / "checkpoints" / f"{step:06d}"
        saved.mkdir()
        (saved / "state.json").write_text("{}")
    return path
