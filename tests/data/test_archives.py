"""cifar10 and omniglot from little archives of the same make, their cache, and damaged ones."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gentool.data import archives
from gentool.data.find import Where
from gentool.errors import UsageError

MakeWhere = Callable[..., Where]
SPLITS = ("train", "validation", "test")


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:xz" if path.name.endswith("xz") else "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def jpeg(grey: int, side: int = 32) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), (grey,) * 3).save(data, "JPEG", quality=95)
    return data.getvalue()


def jpegs(train: int = 20, test: int = 3) -> dict[str, bytes]:
    return {
        f"{part}/{name}/{i:04d}.jpg": jpeg(i * 10 + c)
        for c, name in enumerate(archives.CIFAR_CLASSES)
        for part, n in (("train", train), ("test", test))
        for i in range(n)
    }


def opened(factory: Callable[..., object], where: Where) -> dict[str, object]:
    return {split: factory("", split, where) for split in SPLITS}


def test_cifar_pictures(tmp_path: Path, where: MakeWhere, said: list[str]) -> None:
    tar_of(tmp_path / "cifar10" / "cifar10_jpeg.tar.xz", jpegs())
    sets = opened(archives.cifar10, where(folders=(tmp_path,)))
    assert [len(sets[s]) for s in SPLITS] == [180, 20, 30]
    for made in sets.values():
        assert made.images.shape[1:] == (3, 32, 32)
        grey = made.images[:, 0, 0, 0].int()
        assert ((grey % 10 - made.labels) % 10).abs().max() <= 9  # a JPEG may be off by one
        assert torch.bincount(made.labels).unique().numel() == 1  # stratified
    # Validation is every tenth of each class, that is numbers 9 and 19.
    numbers = ((sets["validation"].images[:, 0, 0, 0].int() - sets["validation"].labels + 2) // 10).tolist()
    assert set(numbers) == {9, 19}
    assert len(set(sets["train"].labels[:30].tolist())) > 5  # shuffled: the first n are a fair sample
    assert sum("Decoding cifar10" in line for line in said) == 1


def test_cifar_binary(tmp_path: Path, where: MakeWhere) -> None:
    rng = np.random.default_rng(0)
    records = {f"data_batch_{i}": rng.integers(0, 256, (20, 3073), dtype=np.uint8) for i in range(1, 6)}
    records["test_batch"] = rng.integers(0, 256, (10, 3073), dtype=np.uint8)
    for batch in records.values():
        batch[:, 0] = np.arange(len(batch)) % 10
    members = {f"cifar-10-batches-bin/{name}.bin": batch.tobytes() for name, batch in records.items()}
    members["cifar-10-batches-bin/readme.html"] = b"hello"
    tar_of(tmp_path / "cifar-10-binary.tar.gz", members)
    sets = opened(archives.cifar10, where(folders=(tmp_path,)))
    assert [len(sets[s]) for s in SPLITS] == [90, 10, 10]
    got = {
        bytes((int(label),)) + image.numpy().tobytes()
        for split in ("train", "validation")
        for label, image in zip(sets[split].labels, sets[split].images)
    }
    assert got == {row.tobytes() for name, batch in records.items() if name != "test_batch" for row in batch}
    assert {i.numpy().tobytes() for i in sets["test"].images} == {r[1:].tobytes() for r in records["test_batch"]}


def test_the_cache_is_used_and_mistrusted(tmp_path: Path, where: MakeWhere, monkeypatch: pytest.MonkeyPatch) -> None:
    tar_of(tmp_path / "cifar10" / "cifar10_jpeg.tar.xz", jpegs(10, 1))
    here = where(folders=(tmp_path,))
    first = archives.cifar10("", "train", here)
    (file,) = (here.cache / "cifar10").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(archives, "_cifar_pictures", lambda paths: pytest.fail("decoded again"))
        assert torch.equal(archives.cifar10("", "train", here).images, first.images)
    for damage in (file.read_bytes()[: len(file.read_bytes()) // 2], b"", b"\xff" * 100):
        file.write_bytes(damage)
        assert torch.equal(archives.cifar10("", "train", here).images, first.images)
    # Another archive of the same name is another set.
    tar_of(tmp_path / "cifar10" / "cifar10_jpeg.tar.xz", jpegs(20, 1))
    assert len(archives.cifar10("", "train", here)) == 180


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, where: MakeWhere, said: list[str]
) -> None:
    tar_of(tmp_path / "cifar10" / "cifar10_jpeg.tar.xz", jpegs(10, 1))
    (tmp_path / "blocked").write_text("a file where the cache should be")
    made = archives.cifar10("", "train", where(folders=(tmp_path,), cache=tmp_path / "blocked"))
    assert len(made) == 90
    assert any("cannot be kept" in line for line in said)


DAMAGED = {
    "empty": (lambda p: p.write_bytes(b""), ""),
    "text": (lambda p: p.write_text("hello"), ""),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:-300]), ""),
    "no test pictures": (lambda p: tar_of(p, jpegs(2, 0)), "no pictures in test/"),
    "wrong size": (lambda p: tar_of(p, jpegs(2, 2) | {"train/cat/0000.jpg": jpeg(3, 16)}), "16x16 pixels, not 32x32"),
    "bad picture": (lambda p: tar_of(p, jpegs(2, 2) | {"train/cat/0000.jpg": b"no"}), "train/cat/0000.jpg: it is not"),
    "large": (lambda p: tar_of(p, jpegs(2, 2) | {"zeros": bytes(2 << 20)}), "zeros has 2,097,152 bytes, over"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_tars(tmp_path: Path, where: MakeWhere, case: str) -> None:
    damage, why = DAMAGED[case]
    path = tar_of(tmp_path / "cifar10" / "cifar10_jpeg.tar.xz", jpegs(2, 2))
    damage(path)
    here = where(folders=(tmp_path,))
    with pytest.raises(UsageError, match="is not the archive it should be") as refused:
        archives.cifar10("", "train", here)
    assert why in str(refused.value)
    assert not list(here.cache.rglob("*.safetensors"))


def test_a_tar_may_not_name_files_outside(tmp_path: Path, where: MakeWhere) -> None:
    """Nothing of an archive is written to disk by its name."""
    tar_of(
        tmp_path / "cifar10" / "cifar10_jpeg.tar.xz", jpegs(10, 1) | {"../../evil.jpg": jpeg(1), "/evil.jpg": jpeg(1)}
    )
    assert len(archives.cifar10("", "train", where(folders=(tmp_path,)))) == 90
    assert not list(tmp_path.parent.rglob("evil.jpg"))


@pytest.mark.parametrize("lacking", ["data_batch_3", "test_batch"])
def test_damaged_binary(tmp_path: Path, where: MakeWhere, lacking: str) -> None:
    names = {f"data_batch_{i}" for i in range(1, 6)} | {"test_batch"}
    path = tmp_path / "cifar-10-binary.tar.gz"
    tar_of(path, {f"b/{name}.bin": bytes(3073 * 10) for name in names - {lacking}})
    with pytest.raises(UsageError, match=f"it lacks {lacking}.bin"):
        archives.cifar10("", "train", where(folders=(tmp_path,)))
    tar_of(path, {f"b/{name}.bin": bytes(3073 * 10 - 1) for name in names})
    with pytest.raises(UsageError, match="not whole records"):
        archives.cifar10("", "train", where(folders=(tmp_path,)))
    tar_of(path, {f"b/{name}.bin": b"\x0b" * 3073 for name in names})
    with pytest.raises(UsageError, match="a label is 11"):
        archives.cifar10("", "train", where(folders=(tmp_path,)))


# -- omniglot ------------------------------------------------------------------------------------------------------------


def drawing(number: int, drawer: int) -> np.ndarray:
    return np.random.default_rng([number, drawer]).random((105, 105)) < 0.1  # ink


def zip_of(path: Path, characters: list[tuple[str, int]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for alphabet, number in characters:
            for drawer in range(1, 21):
                data = io.BytesIO()
                Image.fromarray(~drawing(number, drawer)).save(data, "PNG")
                name = f"{path.stem}/{alphabet}/character{number:02d}/{number:04d}_{drawer:02d}.png"
                archive.writestr(name, data.getvalue())
    return path


def test_omniglot(tmp_path: Path, where: MakeWhere) -> None:
    zip_of(tmp_path / "images_background_small1.zip", [("Greek", 1), ("Latin", 2)])
    zip_of(tmp_path / "images_background_small2.zip", [("Latin", 2), ("Tagalog", 3)])
    sets = opened(archives.omniglot, where(folders=(tmp_path,)))
    assert [len(sets[s]) for s in SPLITS] == [3 * 16, 3 * 2, 3 * 2]  # the drawings that both have count once
    drawers = {"train": range(1, 17), "validation": (17, 18), "test": (19, 20)}
    for split, made in sets.items():
        assert made.classes == ("Greek/01", "Latin/02", "Tagalog/03")
        assert made.images.unique().tolist() == [0, 255]
        got = {(label, image.numpy().tobytes()) for label, image in zip(made.labels.tolist(), made.images[:, 0])}
        expected = {
            (label, (drawing(label + 1, drawer) * np.uint8(255)).tobytes())
            for label in range(3)
            for drawer in drawers[split]
        }
        assert got == expected


def test_damaged_zips(tmp_path: Path, where: MakeWhere) -> None:
    one = zip_of(tmp_path / "images_background_small1.zip", [("Greek", 1)])
    two = tmp_path / "images_background_small2.zip"
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b/character01/0001_01.png", bytes(50 << 20))
    for content, why in (
        (b"", ""),
        (b"PK nonsense", ""),
        (one.read_bytes()[:-40], ""),
        (lying.getvalue(), "52,428,800 bytes, over"),
        (one.read_bytes().replace(b"IHDR", b"XXXX"), "CRC"),
    ):
        two.write_bytes(content)
        with pytest.raises(UsageError, match="small2.zip' is not the archive it should be") as refused:
            archives.omniglot("", "train", where(folders=(tmp_path,)))
        assert why in str(refused.value)
