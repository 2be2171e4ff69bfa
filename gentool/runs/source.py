"""What `sample`, `eval` and `viz` take: a model's name, a run or a checkpoint file. Which one was taken is always said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gentool.config import build_dataclass
from gentool.data.batch import DataInfo
from gentool.errors import UsageError, did_you_mean
from gentool.registry import plugin_files, registry
from gentool.runs import checkpoint
from gentool.runs.reader import list_runs, resolve_run
from gentool.runs.shipped import package_file
from gentool.show.text import safe_text
from gentool.show.units import duration
from gentool.specs import ModelSpec


@dataclass
class Source:
    """A trained model, ready to use: in eval mode, on the device, without gradients."""

    spec: ModelSpec
    model: nn.Module
    info: DataInfo
    meta: dict[str, Any]
    origin: str  # said to the user
    path: Path
    run: Path | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        return int(self.meta.get("step", 0))


def open_source(
    text: str,
    root: Path,
    device: torch.device,
    *,
    pretrained: bool = False,
    shipped: str | None = None,
    at: str = "last",
) -> Source:
    """The trained model behind a name, a run or a file.

    A model's name means the user's newest run of it under `root`, or else the checkpoint that ships in the plugin
    (`pretrained` or `shipped` insist on that; `shipped` names which). `at`: "last", "best" or a step of a run.
    """
    if (text.endswith(".safetensors") or Path(text).is_file()) and not pretrained:
        return _from_file(Path(text), device, f"checkpoint file {safe_text(text)}")
    names = registry().names("model")
    is_model = text in names or any(text in s.aliases for s in registry().all("model"))
    if not is_model:
        if pretrained or shipped:
            registry().find("model", text)  # says what there is
        try:
            run = resolve_run(text, root)
        except UsageError as error:
            near = did_you_mean(text, names)
            if near.startswith(" Did"):
                raise UsageError(f"There is no model or run '{safe_text(text)[:80]}'.{near}") from None
            raise error from None
        return _from_run(Path(run.path), device, at)
    spec = registry().find("model", text)
    if not pretrained and shipped is None:
        for view in list_runs(root):
            if view.model == spec.name and checkpoint.steps(Path(view.path) / "checkpoints"):
                return _from_run(Path(view.path), device, at)
    return _from_package(spec, shipped, device)


def _from_package(spec: ModelSpec, shipped: str | None, device: torch.device) -> Source:
    name, file = package_file(spec, shipped)
    return _from_file(file, device, f"the checkpoint '{name}' that ships with {spec.name}")


def _from_run(path: Path, device: torch.device, at: str) -> Source:
    folder = path / "checkpoints"
    found = checkpoint.newest(folder) if at == "last" else checkpoint.at(folder, _step_of(folder, at))
    if found is None:
        raise UsageError(f"The run {safe_text(path.name)} has no checkpoint yet.")
    averaged = "ema.safetensors" in found.state["files"]
    file = found.path / ("ema.safetensors" if averaged else "model.safetensors")
    origin = f"run {safe_text(path.name)}, step {found.step}" + (", averaged weights" if averaged else "")
    spent = found.state.get("cpu_seconds")
    if isinstance(spent, (int, float)) and spent > 0:
        origin += f", {duration(spent)} of CPU time"
    source = _from_file(file, device, origin)
    source.run = path
    source.notices = [f"Skipped: {why}." for why in found.skipped]
    return source


def _step_of(folder: Path, at: str) -> int:
    if at.isdigit():
        return int(at)
    if at != "best":
        raise UsageError(f"--at is last, best or a step, not '{safe_text(at)[:40]}'.")
    found = checkpoint.newest(folder)
    best = found.state.get("best") if found else None
    if not best:
        raise UsageError("This run has no best checkpoint: its loss is not validated. Use --at last.")
    return int(best["step"])


def _from_file(path: Path, device: torch.device, origin: str) -> Source:
    tensors, meta = checkpoint.read_tensors(path)
    if not meta.get("model"):
        raise UsageError(f"'{safe_text(str(path))}' is not a checkpoint of gentool: its header names no model.")
    spec, model, info = build_from(meta, str(path))
    checkpoint.load_state(model, tensors, f"'{safe_text(str(path))}'")
    model.to(device).eval().requires_grad_(False)
    return Source(spec, model, info, meta, origin, path)


def build_from(meta: Mapping[str, Any], where: str) -> tuple[ModelSpec, nn.Module, DataInfo]:
    """The untrained model that a checkpoint's metadata describes."""
    name = str(meta.get("model"))
    try:
        spec = registry().find("model", name)
    except UsageError as error:
        hint = "" if plugin_files() else " If it came from a plugin file, give it again: --plugin FILE."
        raise UsageError(
            f"'{safe_text(where)}' is of the model '{safe_text(name)[:60]}', which is not installed.{hint}"
        ) from error
    try:
        info = DataInfo.from_json(meta["info"])
        config = build_dataclass(spec.config, meta["config"], f"the header of {safe_text(where)}")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"The header of '{safe_text(where)}' does not describe a '{spec.name}'.") from None
    return spec, registry().load(spec.factory)(config, info), info
