"""Checkpoints: safetensors and JSON, whole or absent, verified before use. Nothing is ever unpickled.

    checkpoints/000500/{model,optimizer,ema}.safetensors, state.json

A checkpoint is written in a folder beside, every file is flushed, state.json with the others' digests comes last, and
one rename makes it exist. Loading verifies the digests and falls back to the checkpoint before where they do not agree.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gentool.errors import GentoolError, UsageError
from gentool.runs.files import disk_error, sync_folder, write_synced
from gentool.show.text import safe_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MAX_TENSORS = 10_000
MAX_HEADER = 8_000_000


@dataclass
class Checkpoint:
    """A verified checkpoint. `skipped` says which newer ones could not be used, and why."""

    path: Path
    state: dict[str, Any]
    skipped: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        return int(self.state["step"])

    def tensors(self, part: str, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The tensors of "model", "optimizer" or "ema"; empty where there is no such part."""
        file = self.path / f"{part}.safetensors"
        return read_tensors(file, device)[0] if file.name in self.state["files"] else {}


# -- one safetensors file ----------------------------------------------------------------------------------------------


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> bytes:
    """A safetensors file in memory; `metadata` goes into its header as one JSON text under the key "gentool"."""
    import safetensors.torch

    ready = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    header = {"gentool": json.dumps(metadata)} if metadata is not None else None
    return safetensors.torch.save(ready, header)


def read_tensors(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, metadata) of a safetensors file; `UsageError` where it is not one, or not ours to trust."""
    from safetensors import SafetensorError, safe_open

    header = _header(path)
    shown = safe_text(str(path))
    if sum(1 for key in header if key != "__metadata__") > MAX_TENSORS:
        raise UsageError(f"'{shown}' holds over {MAX_TENSORS} tensors: that is no checkpoint of gentool.")
    try:
        with safe_open(str(path), framework="pt", device=str(device)) as opened:
            meta = opened.metadata() or {}
            # Cloned: the file may be replaced under a mapping.
            tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"'{shown}' is damaged: {safe_text(' '.join(str(error).split()))[:120]}.") from None
    try:
        metadata = json.loads(meta.get("gentool", "{}"))
    except (ValueError, RecursionError):
        metadata = {}
    return tensors, metadata if isinstance(metadata, dict) else {}


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("duplicate keys")
    return table


def _header(path: Path) -> dict[str, Any]:
    """The JSON header alone, read with care: the file may be a FIFO, a directory, or 10 GB of zeros."""
    shown = safe_text(str(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"'{shown}' is not a file.")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_HEADER:
                raise ValueError("its header's length is impossible")
            header = json.loads(file.read(length), object_pairs_hook=_no_duplicates)
    except FileNotFoundError:
        raise UsageError(f"There is no file '{shown}'.") from None
    except OSError as error:
        raise UsageError(f"'{shown}' cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        why = "" if isinstance(error, UnicodeDecodeError | json.JSONDecodeError) else f" ({error})"
        raise UsageError(f"'{shown}' is not a safetensors file{why}.") from None
    if not isinstance(header, dict):
        raise UsageError(f"'{shown}' is not a safetensors file.")
    return header


def read_metadata(path: Path) -> dict[str, Any]:
    """gentool's metadata in a safetensors file's header, without reading the tensors."""
    meta = _header(path).get("__metadata__", {})
    try:
        found = json.loads(meta.get("gentool", "{}"))
    except (ValueError, RecursionError, AttributeError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load by name after comparing names and shapes; floating tensors take the module's precision."""
    own = module.state_dict()
    missing = sorted(set(own) - set(tensors))
    extra = sorted(set(tensors) - set(own))
    if missing or extra:
        first = (missing or extra)[0]
        word = "lacks" if missing else "has an unknown"
        raise UsageError(f"{where} is of another model: it {word} tensor '{safe_text(first)[:80]}'.")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise UsageError(
                f"{where} is of another size: '{name}' is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}."
            )
        if not tensors[name].is_floating_point() == tensor.is_floating_point():
            raise UsageError(f"{where} is of another model: '{name}' is of type {tensors[name].dtype}.")
    module.load_state_dict(dict(tensors))


# -- a checkpoint folder -----------------------------------------------------------------------------------------------


def save(
    folder: Path,
    step: int,
    parts: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> Path:
    """Write ``folder/<step>`` whole: beside, flushed, named by one rename. Empty parts are left out."""
    final = folder / f"{step:06d}"
    beside = folder / f".tmp-{step:06d}-{os.getpid()}"
    try:
        beside.mkdir()
        digests: dict[str, str] = {}
        for part, tensors in parts.items():
            if tensors:
                data = tensor_bytes(tensors, metadata)
                write_synced(beside / f"{part}.safetensors", data)
                digests[f"{part}.safetensors"] = hashlib.sha256(data).hexdigest()
                del data
        whole = {"version": 1, "step": step, **state, "files": digests}
        write_synced(beside / "state.json", json.dumps(whole, indent=1).encode())
        sync_folder(beside)
        if final.exists():  # a damaged one of the same step, or one that a resumed run writes again
            aside = folder / f".old-{step:06d}-{os.getpid()}"
            os.rename(final, aside)
            os.rename(beside, final)
            sync_folder(folder)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(beside, final)
            sync_folder(folder)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise disk_error(error, final) from error
    return final


def verify(path: Path) -> dict[str, Any]:
    """state.json of a checkpoint whose every file agrees with its digest; `UsageError` where one does not."""
    try:
        state = json.loads((path / "state.json").read_text("utf-8"))
        files = state["files"]
        if not isinstance(state["step"], int) or not isinstance(files, dict):
            raise ValueError
    except FileNotFoundError:
        raise UsageError(f"checkpoint {path.name} has no state.json") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"checkpoint {path.name} has a damaged state.json") from None
    for name, digest in files.items():
        file = path / Path(name).name
        try:
            if not stat.S_ISREG(file.stat().st_mode):
                raise OSError
            with file.open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError:
            raise UsageError(f"checkpoint {path.name} lacks {name}") from None
        if found != digest:
            raise UsageError(f"checkpoint {path.name} has an altered {name}")
    return state  # type: ignore[no-any-return]


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, rising; unfinished ones have other names."""
    try:
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit() and p.is_dir())
    except OSError:
        return []


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, and what had to be skipped; None where there is none at all."""
    skipped: list[str] = []
    for step in reversed(steps(folder)):
        path = folder / f"{step:06d}"
        try:
            return Checkpoint(path, verify(path), skipped)
        except UsageError as error:
            skipped.append(str(error))
    if skipped:
        raise GentoolError(f"No checkpoint in {safe_text(str(folder))} is whole: {'; '.join(skipped)}.")
    return None


def at(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of one step, verified."""
    path = folder / f"{step:06d}"
    if not path.is_dir():
        there = ", ".join(str(s) for s in steps(folder)) or "none"
        raise UsageError(f"There is no checkpoint of step {step}; there is: {there}.")
    return Checkpoint(path, verify(path))


def retain(folder: Path, keep: int, best: int | None) -> None:
    """Remove all but the newest `keep` and the best; called only after a new checkpoint stands."""
    there = steps(folder)
    for step in there[:-keep]:
        if step != best:
            old = folder / f"{step:06d}"
            gone = folder / f".gone-{step:06d}-{os.getpid()}"
            try:
                os.rename(old, gone)  # renamed first: a half-removed folder is never taken for a checkpoint
            except OSError:
                continue
            shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left; the caller holds the run's lock. An interrupted replacement is put back."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith(".old-"):
            step = path.name.split("-")[1]
            if not (folder / step).exists() and (path / "state.json").exists():
                os.rename(path, folder / step)
                continue
        if path.name.startswith((".tmp-", ".old-", ".gone-")):
            shutil.rmtree(path, ignore_errors=True)
