"""idx files: read as a parser written by hand reads them, and distrusted."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.data import idx
from gentool.data.find import Where
from gentool.errors import UsageError


def written(shape: tuple[int, ...], data: bytes, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape) + data


def by_hand(data: bytes) -> list[object]:
    """Nested lists from an idx file, one byte after the other."""
    sizes = [int.from_bytes(data[4 + 4 * d : 8 + 4 * d], "big") for d in range(data[3])]
    values: list[object] = list(data[4 + 4 * data[3] :])
    for size in reversed(sizes[1:]):
        values = [values[i : i + size] for i in range(0, len(values), size)]
    return values


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.booleans(), st.randoms())
@settings(max_examples=50, deadline=None)
def test_agrees_with_a_parser_by_hand(tmp_path_factory, shape: list[int], packed: bool, random) -> None:  # type: ignore[no-untyped-def]
    content = written(tuple(shape), random.randbytes(int(np.prod(shape))))
    file = tmp_path_factory.mktemp("idx") / "a"
    file.write_bytes(gzip.compress(content) if packed else content)
    assert idx.read_idx(file, len(shape)).tolist() == by_hand(content)


GOOD = written((4, 3, 3), bytes(range(36)))
HOSTILE = {
    "empty": (b"", "it is empty"),
    "gz of nothing": (gzip.compress(b""), "it is empty"),
    "text": (b"hello, I am not an idx file", "does not start as an idx file"),
    "one byte": (b"\0", "does not start as an idx file"),
    "other type": (written((4, 3, 3), bytes(36), kind=0x0D), "its magic number 00000d03"),
    "labels for pictures": (written((4,), bytes(4)), "its magic number 00000801"),
    "half a header": (GOOD[:9], "cut off inside its header"),
    "huge": (written((2**32 - 1,) * 3, bytes(36)), "more than the file can hold"),
    "a little too much": (written((5, 3, 3), bytes(36)), "more than the file can hold"),
    "huge gz": (gzip.compress(written((60000, 2**16, 2**16), bytes(36))), "more than the file can hold"),
    "gz cut in its data": (gzip.compress(written((5, 3, 3), bytes(36))), "it is cut off: 36 of 45"),
    "nothing": (written((4, 0, 3), b""), "its header says 4x0x3: nothing"),
    "too long": (GOOD + b"x", "it goes on after"),
    "gz truncated": (gzip.compress(np.random.default_rng(0).bytes(0) + GOOD)[:-12], "compression is damaged"),
    "gz altered": (gzip.compress(GOOD)[:-8] + bytes(8), "compression is damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(tmp_path: Path, case: str) -> None:
    content, why = HOSTILE[case]
    file = tmp_path / "train\x1b[31m-images"
    file.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        idx.read_idx(file, 3)
    message = str(refused.value)
    assert why in message
    assert "train\\x1b[31m-images" in message
    assert "\x1b" not in message
    assert message.endswith("fetch it again.")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A gz of zeros that goes on for ever after its header: reading stops at what the header says."""
    file = tmp_path / "bomb.gz"
    file.write_bytes(gzip.compress(written((1, 2, 2), bytes(48 << 20)), 1))
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(UsageError, match="it goes on after"):
        idx.read_idx(file, 3)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read: No such file"):
        idx.read_idx(tmp_path / "none", 3)
    with pytest.raises(UsageError, match="cannot be read"):
        idx.read_idx(tmp_path, 3)


def put(folder: Path, part: str, images: np.ndarray, labels: list[int], packed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, content in (
        ("images-idx3", written(images.shape, images.astype(np.uint8).tobytes())),
        ("labels-idx1", written((len(labels),), bytes(labels))),
    ):
        file = folder / (f"{part}-{kind}-ubyte" + (".gz" if packed else ""))
        file.write_bytes(gzip.compress(content) if packed else content)


def little(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 5))


@pytest.mark.parametrize("packed", [True, False])
def test_splits(tmp_path: Path, where: Callable[..., Where], packed: bool) -> None:
    """The last twelfth (at most 5,000) of the training file is validation; the test file is the test."""
    train, test = little(48, 1), little(10, 2)
    put(tmp_path / "mnist", "train", train, [i % 10 for i in range(48)], packed)
    put(tmp_path / "mnist", "t10k", test, [9 - i for i in range(10)], packed)
    opened = {split: idx.mnist("", split, where(folders=(tmp_path,))) for split in ("train", "validation", "test")}
    assert {split: len(made) for split, made in opened.items()} == {"train": 44, "validation": 4, "test": 10}
    assert np.array_equal(opened["train"].images[:, 0].numpy(), train[:44])
    assert np.array_equal(opened["validation"].images[:, 0].numpy(), train[44:])
    assert opened["validation"].labels.tolist() == [4, 5, 6, 7]
    assert np.array_equal(opened["test"].images[:, 0].numpy(), test)
    assert opened["test"].labels.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_files_that_do_not_belong_together(tmp_path: Path, where: Callable[..., Where]) -> None:
    put(tmp_path / "mnist", "train", little(5, 0), [1, 2, 3])
    put(tmp_path / "mnist", "t10k", little(3, 0), [1, 2, 77])
    with pytest.raises(UsageError, match="has 5 pictures, but .* 3 labels"):
        idx.mnist("", "train", where(folders=(tmp_path,)))
    with pytest.raises(UsageError, match="has the label 77"):
        idx.mnist("", "test", where(folders=(tmp_path,)))


def test_a_replaced_file_is_read_again(tmp_path: Path, where: Callable[..., Where]) -> None:
    for seed in (1, 2):
        put(tmp_path / "mnist", "train", little(20 + seed, seed), [0] * (20 + seed))
        put(tmp_path / "mnist", "t10k", little(3, seed), [0] * 3)
        assert len(idx.mnist("", "train", where(folders=(tmp_path,)))) == 20 + seed - 1


def test_magic_numbers_are_the_published_ones() -> None:
    assert struct.unpack(">I", written((1, 1, 1), b"")[:4]) == (2051,)
    assert struct.unpack(">I", written((1,), b"")[:4]) == (2049,)
