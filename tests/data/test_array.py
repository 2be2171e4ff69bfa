"""`array:FILE.npy`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gentool.data.array import array
from gentool.data.find import Where
from gentool.errors import UsageError

MakeWhere = Callable[..., Where]


def opened(path: Path, where: MakeWhere) -> dict[str, np.ndarray]:
    return {split: array(str(path), split, where()).images.numpy() for split in ("train", "validation", "test")}


@pytest.mark.parametrize("shape", [(40, 5, 6), (40, 5, 6, 1), (40, 5, 6, 3), (40, 1, 5, 6), (40, 3, 5, 6)])
def test_layouts(tmp_path: Path, where: MakeWhere, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", data)
    parts = opened(tmp_path / "a.npy", where)
    assert [len(part) for part in parts.values()] == [32, 4, 4]
    together = np.concatenate(list(parts.values()))
    nchw = data[:, None] if data.ndim == 3 else data.transpose(0, 3, 1, 2) if shape[1] == 5 else data
    assert together.shape == nchw.shape
    assert sorted(image.tobytes() for image in together) == sorted(np.ascontiguousarray(i).tobytes() for i in nchw)


@pytest.mark.parametrize(("low", "dtype"), [(0, np.float32), (-1, np.float32), (-1, np.float16), (0, np.float64)])
def test_floating_point(tmp_path: Path, where: MakeWhere, low: int, dtype: type) -> None:
    ramp = np.linspace(low, 1, 256).reshape(1, 16, 16).astype(dtype)
    np.save(tmp_path / "a.npy", ramp)
    got = array(str(tmp_path / "a.npy"), "train", where()).images.flatten().tolist()
    assert np.abs(np.array(got) - np.arange(256)).max() <= (0 if dtype != np.float16 else 1)


def test_what_sample_writes_comes_back(tmp_path: Path, where: MakeWhere) -> None:
    data = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4))
    np.save(tmp_path / "a.npy", (data / np.float32(127.5) - 1).astype(np.float32))
    got = array(str(tmp_path / "a.npy"), "train", where()).images.numpy()
    assert sorted(i.tobytes() for i in got) == sorted(i.astype(np.uint8).tobytes() for i in data)


def test_bool(tmp_path: Path, where: MakeWhere) -> None:
    np.save(tmp_path / "a.npy", np.eye(4, dtype=bool)[None])
    assert (array(str(tmp_path / "a.npy"), "train", where()).images[0, 0].numpy() == np.eye(4) * 255).all()


class Trap:
    def __reduce__(self) -> object:
        return (os.system, ("touch /tmp/gentool-was-unpickled",))


def test_hostile(tmp_path: Path, where: MakeWhere) -> None:
    file = tmp_path / "a.npy"
    nan = np.zeros((30, 4, 4), np.float32)
    nan[17, 2, 1] = np.nan
    infinite = np.zeros((3, 4, 4), np.float64)
    infinite[0] = np.inf
    lying = tmp_path / "lying.npy"
    np.save(lying, np.zeros((9, 4, 4), np.uint8))
    lying.write_bytes(lying.read_bytes().replace(b"(9, 4, 4)", b"(9, 4, 4" + b"0" * 9 + b")", 1))

    def saved(data: np.ndarray) -> bytes:
        np.save(file, data)
        return file.read_bytes()

    cases = {
        saved(nan): "NaN or infinite values, first in picture 17",
        saved(infinite): "first in picture 0",
        saved(np.zeros((3, 4, 4), np.int64)): "holds int64",
        saved(np.zeros((3, 4, 4), np.uint16)): "holds uint16",
        saved(np.zeros((3, 4), np.uint8)): "has the shape",
        saved(np.zeros((3, 4, 4, 2), np.uint8)): "has the shape",
        saved(np.zeros((0, 4, 4), np.uint8)): "has the shape",
        saved(np.full((3, 4, 4), 255.0)): "values from 255 to 255",
        saved(np.array([Trap()], dtype=object)): "not a usable",
        lying.read_bytes(): "not a usable",
        saved(np.zeros((9, 4, 4), np.uint8))[:100]: "not a usable",
        b"\x93NUMPY": "not a usable",
        b"": "is not a .npy file",
        pickle.dumps([1, 2]): "is not a .npy file",
        b"PK\x03\x04": "is not a .npy file",
    }
    for content, why in cases.items():
        file.write_bytes(content)
        with pytest.raises(UsageError) as refused:
            array(str(file), "train", where())
        assert why in str(refused.value), (why, str(refused.value))
        assert "\n" not in str(refused.value)
    assert not Path("/tmp/gentool-was-unpickled").exists()


def test_no_file(tmp_path: Path, where: MakeWhere) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    for name in ("pipe.npy", "none.npy", ""):
        with pytest.raises(UsageError):
            array(str(tmp_path / name), "train", where())
