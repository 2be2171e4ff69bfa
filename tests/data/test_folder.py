"""`folder:PATH`: what users put into folders, and what others might."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentool.data import folder as folders
from gentool.data import pictures
from gentool.data.config import DataConfig
from gentool.data.find import Where
from gentool.data.folder import folder
from gentool.data.pipeline import open_pipeline
from gentool.errors import UsageError

Picture = Callable[..., Path]
MakeWhere = Callable[..., Where]


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG file written by hand: its header may say anything."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# -- the ordinary --------------------------------------------------------------------------------------------------------


def test_classes_are_subfolders(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    for i in range(60):
        picture(tmp_path / ["cats", "dogs", "newts"][i % 3] / f"{i}.png", seed=i)
    sets = {split: folder(str(tmp_path), split, where()) for split in ("train", "validation", "test")}
    assert sets["train"].classes == ("cats", "dogs", "newts")
    assert sum(map(len, sets.values())) == 60
    names = [name for made in sets.values() for name in made.names]
    assert len(set(names)) == 60
    for made in sets.values():
        for name, label, image in zip(made.names, made.labels.tolist(), made.images.numpy()):
            assert name.split("/")[0] == made.classes[label]
            expected = np.asarray(Image.open(tmp_path / name)).transpose(2, 0, 1)
            assert np.array_equal(image, expected)


def test_a_file_keeps_its_split_when_others_come(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    def homes() -> dict[str, str]:
        return {
            name: split
            for split in ("train", "validation", "test")
            for name in folder(str(tmp_path), split, where()).names
        }

    for i in range(100):
        picture(tmp_path / f"{i}.png", seed=i, mode="L", size=(2, 2))
    before = homes()
    for i in range(100, 140):
        picture(tmp_path / f"{i}.png", seed=i, mode="L", size=(2, 2))
    os.utime(tmp_path)
    after = homes()
    assert before.items() <= after.items()
    assert len(after) == 140
    counts = [list(after.values()).count(split) for split in ("train", "validation", "test")]
    assert counts[0] > 95
    assert min(counts) > 4


def test_split_folders(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    for i in range(40):
        picture(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", seed=i)
    for i in range(6):
        picture(tmp_path / "test" / "ab"[i % 2] / f"{i}.png", seed=100 + i)
    sets = {split: folder(str(tmp_path), split, where()) for split in ("train", "validation", "test")}
    assert sets["train"].classes == ("a", "b")
    assert len(sets["test"]) == 6
    assert all(name.startswith("test/") for name in sets["test"].names)
    assert len(sets["train"]) + len(sets["validation"]) == 40
    assert len(sets["validation"]) > 0


def test_without_classes(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    picture(tmp_path / "one.png")
    made = folder(str(tmp_path), "train", where())
    assert made.labels is None
    assert made.classes == ()


def test_pictures_beside_class_folders_are_refused(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "stray.png")
    with pytest.raises(UsageError, match="others beside them \\(such as 'stray.png'\\)"):
        folder(str(tmp_path), "train", where())


def test_one_picture_trains(tmp_path: Path, picture: Picture, where: MakeWhere, said: list[str]) -> None:
    picture(tmp_path / "one.png", size=(8, 8), mode="L")
    run = open_pipeline(DataConfig(name=f"folder:{tmp_path}"), say=said.append)
    assert run.train_batch(0, 16).images.shape == (16, 1, 8, 8)
    assert not run.has("validation")
    assert not run.has("test")
    assert list(run.batches("test", 4)) == []
    assert any("1 picture(s): all are used for training, none held out" in line for line in said)


def test_pictures_of_one_small_size_are_taken_as_they_are(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    for i in range(3):
        picture(tmp_path / f"{i}.png", size=(20, 14), seed=i)
    assert folder(str(tmp_path), "train", where()).images.shape == (3, 3, 14, 20)


def test_mixed_sizes_are_resized_and_it_is_said(
    tmp_path: Path, picture: Picture, where: MakeWhere, said: list[str]
) -> None:
    picture(tmp_path / "a.png", size=(10, 30))
    picture(tmp_path / "b.jpg", size=(300, 200))
    picture(tmp_path / "c.webp", size=(64, 64))
    assert folder(str(tmp_path), "train", where()).images.shape == (3, 3, 32, 32)
    assert "(3 sizes, from 10x30 to 300x200) are centre-cropped and resized to 32x32; --set data.resize=N" in said[0]
    assert folder(str(tmp_path), "train", where(resize=16)).images.shape == (3, 3, 16, 16)


def test_the_centre_is_kept(tmp_path: Path, where: MakeWhere) -> None:
    image = np.zeros((30, 90), np.uint8)
    image[:, 30:60] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    made = folder(str(tmp_path), "train", where(resize=10)).images
    assert made.shape == (1, 1, 10, 10)
    assert (made == 255).all()


def test_a_large_photograph_shrinks_to_its_means(tmp_path: Path, where: MakeWhere) -> None:
    """Through the JPEG decoder's own shrinking: quarters of four greys stay those greys."""
    quarters = np.kron(np.array([[20, 90], [160, 240]], np.uint8), np.ones((400, 400), np.uint8))
    Image.fromarray(quarters).save(tmp_path / "a.jpg", quality=95)
    made = folder(str(tmp_path), "train", where(resize=8)).images[0, 0].int()
    for y, x, grey in ((0, 0, 20), (0, 7, 90), (7, 0, 160), (7, 7, 240)):
        assert abs(int(made[y, x]) - grey) <= 3


def test_modes(tmp_path: Path, where: MakeWhere) -> None:
    """Grey of every kind; alpha lies on white; 16 bits keep the high byte; a grey palette is grey."""
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(tmp_path / "l.png")
    Image.fromarray(grey > 100).save(tmp_path / "one.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    paletted = Image.fromarray(grey).convert("P")
    paletted.putpalette([v for i in range(256) for v in (i, i, i)])
    paletted.save(tmp_path / "p.png")
    alpha = Image.fromarray(np.stack([grey, np.full_like(grey, 0)], 2), "LA")
    alpha.save(tmp_path / "la.png")
    made = folder(str(tmp_path), "train", where())
    got = {name: image[0].numpy() for name, image in zip(made.names, made.images)}
    assert made.images.shape[1] == 1
    for name in ("l.png", "sixteen.png", "p.png"):
        assert np.array_equal(got[name], grey), name
    assert np.array_equal(got["one.png"], (grey > 100) * 255)
    assert (got["la.png"] == 255).all()


def test_one_coloured_picture_makes_all_coloured(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    picture(tmp_path / "a.png", mode="L")
    picture(tmp_path / "b.png", mode="RGBA")
    picture(tmp_path / "c.jpg", mode="CMYK")
    assert folder(str(tmp_path), "train", where()).images.shape[1] == 3
    assert folder(str(tmp_path), "train", where(channels=1)).images.shape[1] == 1


def test_a_turned_photograph_is_turned_back(tmp_path: Path, where: MakeWhere) -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen turned by 90 degrees clockwise
    Image.fromarray(image).save(tmp_path / "a.jpg", exif=exif, quality=95)
    made = folder(str(tmp_path), "train", where()).images[0, 0].int()
    assert made.shape == (16, 8)
    assert made[:7].max() < 30
    assert made[9:].min() > 225


# -- the hostile ---------------------------------------------------------------------------------------------------------


def bad_files(place: Path) -> dict[str, str]:
    """Files that cannot be used, by name, with a word of the reason."""
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(whole, "PNG")
    (place / "truncated.png").write_bytes(whole.getvalue()[:900])
    (place / "text.png").write_text("I am a text file")
    (place / "empty.png").write_bytes(b"")
    (place / "bomb.png").write_bytes(png(60_000, 60_000))
    (place / "wide.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    (place / "big.png").write_bytes(png(9_000, 8_000))
    (place / "thin.png").write_bytes(png(8, 8, b"\0" * 5))
    (place / "header.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    Image.new("RGB", (4, 4)).save(place / "gif.png", "GIF")
    os.mkfifo(place / "pipe.png")
    os.symlink("loop.png", place / "loop.png")
    os.symlink("nowhere", place / "dangling.png")
    os.symlink("/dev/zero", place / "device.png")
    return {
        "truncated.png": "", "text.png": "not a PNG, JPEG", "empty.png": "empty", "bomb.png": "million",
        "wide.png": "", "big.png": "9000x8000 pixels: over the cap", "thin.png": "", "header.jpg": "",
        "gif.png": "not a PNG, JPEG", "pipe.png": "not a regular file", "loop.png": "symbolic links",
        "dangling.png": "no such file", "device.png": "not a regular file",
    }  # fmt: skip


def test_each_bad_file_is_refused_with_its_reason(tmp_path: Path, where: MakeWhere) -> None:
    (tmp_path / "all").mkdir()
    for name, reason in bad_files(tmp_path / "all").items():
        alone = tmp_path / name.replace(".", "-")
        alone.mkdir()
        os.rename(tmp_path / "all" / name, alone / name)
        with pytest.raises(UsageError) as refused:
            folder(str(alone), "train", where())
        message = str(refused.value)
        assert name in message
        assert reason in message
        assert "skip_bad=true" in message
        assert "\n" not in message


def test_bad_files_are_counted_and_the_first_named(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    for i in range(30):
        picture(tmp_path / f"good{i}.png", seed=i)
    for i in range(5):
        (tmp_path / f"bad{i}.png").write_text("no")
    with pytest.raises(UsageError, match=r"^5 picture\(s\) in .*'bad.*; and 2 more\)"):
        folder(str(tmp_path), "train", where())


def test_skip_bad(tmp_path: Path, picture: Picture, where: MakeWhere, said: list[str]) -> None:
    bad = bad_files(tmp_path)
    for i in range(100):
        picture(tmp_path / f"good{i}.png", seed=i)
    sets = [folder(str(tmp_path), split, where(skip_bad=True)) for split in ("train", "validation", "test")]
    assert sorted(name for made in sets for name in made.names) == sorted(f"good{i}.png" for i in range(100))
    noted = {note.split(":")[0] for made in sets for note in made.notes}
    assert noted == set(bad)
    assert any(line.startswith("Left out") for line in said)


def test_nothing_but_bad_files(tmp_path: Path, where: MakeWhere) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(UsageError, match="has no picture that can be used"):
        folder(str(tmp_path), "train", where(skip_bad=True))


def test_empty_missing_and_other_folders(tmp_path: Path, where: MakeWhere) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.gif").write_bytes(b"")
    (tmp_path / "texts" / ".hidden.png").write_bytes(b"")
    for place, why in (
        (empty, "nothing else either"),
        (tmp_path / "texts", "it has: 1 .gif"),
        (tmp_path / "texts" / "a.gif", "is not a folder"),
        (tmp_path / "none\x1b[2J", "none.x1b.2J' of pictures is not there"),
        ("", "wants to know where"),
        ("a\0b", "a.x00b' of pictures is not there"),
        ("x" * 5000, "name too long"),
    ):
        with pytest.raises(UsageError, match=f"(?i){why}"):
            folder(str(place), "train", where())


def test_a_folder_that_links_to_itself(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    picture(tmp_path / "a" / "1.png")
    os.symlink(tmp_path, tmp_path / "a" / "again")
    os.symlink(".", tmp_path / "a" / "here")
    made = folder(str(tmp_path), "train", where())
    assert list(made.names) == ["a/1.png"]


def test_unreadable_file_and_folder(
    tmp_path: Path, picture: Picture, where: MakeWhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user without the right to read meets them (tests may run as root, who has it)."""
    picture(tmp_path / "secret.png")
    opened, listed = os.open, os.scandir

    def refuse_file(path: object, *rest: int) -> int:
        if str(path).endswith("secret.png"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse_file)
    with pytest.raises(UsageError, match=r"'secret\.png': permission denied"):
        folder(str(tmp_path), "train", where())
    monkeypatch.setattr(os, "open", opened)

    def refuse_folder(path: object) -> object:
        raise PermissionError(13, "Permission denied")

    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(os, "scandir", refuse_folder)
    with pytest.raises(UsageError, match="permission denied"):
        folder(str(other), "train", where())
    monkeypatch.setattr(os, "scandir", listed)


def test_names_with_control_characters(tmp_path: Path, picture: Picture, where: MakeWhere) -> None:
    picture(tmp_path / "cats\x1b[2J" / "1.png")
    picture(tmp_path / "dogs[bold]" / "1.png")
    os.makedirs(os.fsencode(tmp_path) + b"/\xff\xfe")
    picture(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe/\n.png")))
    made = folder(str(tmp_path), "train", where())
    assert made.classes[:2] == ("cats\\x1b[2J", "dogs[bold]")
    assert len(set(made.classes)) == 3
    for name in made.classes:
        assert name.encode("utf-8").isascii()
    (tmp_path / "dogs[bold]" / "\x1b]0;x\x07.png").write_text("no")
    os.utime(tmp_path)
    with pytest.raises(UsageError) as refused:
        folder(str(tmp_path), "train", where())
    assert "\x1b" not in str(refused.value)


def test_too_much_for_memory_is_refused_before_decoding(
    tmp_path: Path, picture: Picture, where: MakeWhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png")
    monkeypatch.setattr(folders, "machine_memory", lambda: 1000)
    monkeypatch.setattr(folders, "read_picture", lambda *a: pytest.fail("decoded"))
    with pytest.raises(UsageError, match=r"use a smaller --set data\.resize"):
        folder(str(tmp_path), "train", where(resize=1024))


def test_the_cap_is_below_what_pillow_warns_of() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert pictures.MAX_PIXELS < Image.MAX_IMAGE_PIXELS
