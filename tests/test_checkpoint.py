"""Checkpoints: whole or absent, verified, with the one before to fall back on."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from torch import nn

from gentool.errors import GentoolError, UsageError
from gentool.runs import checkpoint


def save(folder: Path, step: int, value: float = 1.0) -> Path:
    parts = {
        "model": {"w": torch.full((3, 2), value)},
        "optimizer": {"model/w/step": torch.tensor(float(step))},
        "ema": {},
    }
    return checkpoint.save(folder, step, parts, {"seconds": 1.5}, {"model": "tiny"})


def test_a_saved_checkpoint_loads_as_it_was(tmp_path: Path) -> None:
    save(tmp_path, 5, 2.0)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.step == 5
    assert found.state["seconds"] == 1.5
    assert torch.equal(found.tensors("model")["w"], torch.full((3, 2), 2.0))
    assert found.tensors("ema") == {}
    assert os.stat(found.path / "model.safetensors").st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "remove", "folder", "fifo"])
def test_a_harmed_newest_falls_back_and_says_so(tmp_path: Path, file: str, harm: str) -> None:
    save(tmp_path, 5)
    path = save(tmp_path, 10) / file
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if harm == "folder":
            path.mkdir()
        elif harm == "fifo":
            os.mkfifo(path)
            if file == "state.json":
                pytest.skip("covered by is-regular checks of the other files")
    found = checkpoint.newest(tmp_path)
    assert found is not None
    if file == "state.json" and harm == "flip" and found.step == 10:
        # A flipped bit inside a word that does not matter for loading; the digests still hold for the tensors.
        return
    assert found.step == 5
    assert "000010" in found.skipped[0]


def test_no_checkpoint_is_none_and_only_bad_ones_is_an_error(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    (save(tmp_path, 5) / "state.json").write_text("{")
    with pytest.raises(GentoolError, match="No checkpoint"):
        checkpoint.newest(tmp_path)


def test_retention_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step)
    checkpoint.retain(tmp_path, keep=2, best=2)
    assert checkpoint.steps(tmp_path) == [2, 4, 5]


def test_sweep_removes_leftovers_and_puts_back_an_interrupted_replacement(tmp_path: Path) -> None:
    save(tmp_path, 5)
    (tmp_path / ".tmp-000007-1").mkdir()
    (tmp_path / ".gone-000003-1").mkdir()
    os.rename(tmp_path / "000005", tmp_path / ".old-000005-1")
    checkpoint.sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["000005"]
    assert checkpoint.newest(tmp_path) is not None


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 5, 1.0)
    save(tmp_path, 5, 7.0)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.tensors("model")["w"][0, 0] == 7
    assert len(list(tmp_path.iterdir())) == 1


def _file(path: Path, header: bytes, body: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)
    return path


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", b""),
        ("short", b"abc"),
        ("text", b"this is not a checkpoint at all, it is a sentence"),
        ("pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94."),
        ("zip", b"PK\x03\x04" + b"\x00" * 60),
        ("length", struct.pack("<Q", 2**60) + b"{}"),
        ("list", struct.pack("<Q", 2) + b"[]"),
        ("nesting", struct.pack("<Q", 200_000) + b"[" * 200_000),
    ],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / f"{name}.safetensors"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="not a safetensors file|is damaged"):
        checkpoint.read_tensors(file)


def test_hostile_headers_are_refused(tmp_path: Path) -> None:
    twice = json.dumps({"a": ENTRY})[:-1] + ', "a": ' + json.dumps(ENTRY) + "}"
    with pytest.raises(UsageError, match="duplicate keys"):
        checkpoint.read_tensors(_file(tmp_path / "twice.safetensors", twice.encode(), bytes(4)))
    many = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(checkpoint.MAX_TENSORS + 1)}
    with pytest.raises(UsageError, match="over 10000 tensors"):
        checkpoint.read_tensors(_file(tmp_path / "many.safetensors", json.dumps(many).encode()))
    fifo = tmp_path / "fifo.safetensors"
    os.mkfifo(fifo)
    with pytest.raises(UsageError, match="not a file"):
        checkpoint.read_tensors(fifo)


def test_another_model_is_refused_by_name_and_by_size() -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(UsageError, match="lacks tensor 'bias'"):
        checkpoint.load_state(net, {"weight": torch.zeros(2, 3)}, "x")
    with pytest.raises(UsageError, match="unknown tensor"):
        checkpoint.load_state(net, {**net.state_dict(), "more": torch.zeros(1)}, "x")
    with pytest.raises(UsageError, match=r"\(4, 3\), not \(2, 3\)"):
        checkpoint.load_state(net, {"weight": torch.zeros(4, 3), "bias": torch.zeros(2)}, "x")


def test_half_precision_weights_load(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    checkpoint.load_state(net, {k: v.half() for k, v in net.state_dict().items()}, "x")
    assert net.weight.dtype == torch.float32
