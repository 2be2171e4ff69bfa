"""A run's weights as one small file with a card: what a plugin ships and what people pass on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from gentool.registry import registry
from gentool.runs.checkpoint import tensor_bytes
from gentool.runs.files import replace_file
from gentool.runs.folder import RunFolder
from gentool.runs.source import Source, open_source


def export_run(
    run: Path, out: Path, device: torch.device, *, half: bool, at: str = "last"
) -> tuple[int, dict[str, Any]]:
    """Write `out`; its size in bytes and its card. half: floating tensors as fp16, where its range holds them."""
    source = open_source(str(run), run.parent, device, at=at)
    tensors = {}
    for name, tensor in source.model.state_dict().items():
        fits = tensor.is_floating_point() and bool((tensor.abs() < 65504).all())
        tensors[name] = tensor.half() if half and fits else tensor
    data = tensor_bytes(tensors, source.meta)
    replace_file(out, data)
    return len(data), card(run, source)


def card(run: Path, source: Source) -> dict[str, Any]:
    """Data set, steps, seconds and those of CPU time, device, exact command, scores."""
    meta = RunFolder.open(run).meta
    data, _ = registry().find_dataset(str(source.meta["data"]["name"]))
    return {
        "model": source.spec.name,
        "data": source.meta["data"]["name"],
        "licence": data.licence,
        "preset": meta.get("preset", ""),
        "command": command(meta.get("argv", [])),
        "continued": [command(argv) for argv in meta.get("continued", [])],
        "steps": source.step,
        "seconds": round(float(meta.get("seconds", 0))),
        **({"cpu_seconds": round(float(meta["cpu_seconds"]))} if meta.get("cpu_seconds") else {}),
        "device": meta.get("device", ""),
        "parameters": sum(p.numel() for p in source.model.parameters()),
        "versions": meta.get("versions", {}),
        "scores": {},
        "protocols": {},
    }


def command(argv: list[str]) -> str:
    """A command line without what only names places."""
    words: list[str] = []
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word in ("--runs", "--name", "--images", "--data-dir"):
            skip = True
        elif not word.startswith(("--runs=", "--name=", "--images=", "--data-dir=")) and word not in (
            "-q",
            "--quiet",
            "--json",
        ):
            words.append(word)
    return "gentool " + " ".join(words)


def write_card(weights: Path, content: dict[str, Any]) -> None:
    replace_file(weights.with_suffix(".json"), (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
