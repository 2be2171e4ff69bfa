"""`cifar10` and `omniglot`: sets that come as archives. Decoded once into the user's cache, then read from there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gentool.data.find import Where, files_of, open_regular
from gentool.data.known import CIFAR10, OMNIGLOT
from gentool.data.pictures import BadPicture, read_picture
from gentool.data.sets import ImageSet, scramble
from gentool.errors import GentoolError, UsageError
from gentool.show.text import safe_text

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_VALIDATION = 10  # one in so many of each class
OMNIGLOT_DRAWERS = 20  # of each character: 16 for training, 2 for validation, 2 for the test
_FORMAT = 1  # of the cached file; part of its name
_MAX_MEMBERS = 200_000
_MAX_MEMBER_BYTES = 1 << 20
_MAX_BATCH_BYTES = 64 << 20
_RECORD = 1 + 3 * 32 * 32

Arrays = dict[str, Tensor]
Texts = dict[str, str]


# -- the cache of decoded sets --------------------------------------------------------------------------------------------


def _decoded(
    name: str, paths: list[Path], where: Where, decode: Callable[[list[Path]], tuple[Arrays, Texts]]
) -> tuple[Arrays, Texts]:
    """What `decode` makes of the archives, from the cache if it was made before from the same bytes."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save

    from gentool.runs.files import replace_file

    file = where.cache / name / f"decoded-{_digest(paths)}-{_FORMAT}.safetensors"
    if file.is_file():
        with contextlib.suppress(SafetensorError, OSError, ValueError), safe_open(str(file), "pt") as stored:
            # Copied: the mapping would follow a file that another process replaces or cuts.
            arrays = {key: stored.get_tensor(key).clone() for key in stored.keys()}  # noqa: SIM118
            return arrays, dict(stored.metadata() or {})
    where.say(f"Decoding {name} (once; kept in '{safe_text(str(where.cache))}').")
    arrays, texts = decode(paths)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, save(arrays, metadata=texts))
    except (OSError, GentoolError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        where.say(f"The decoded {name} cannot be kept in '{safe_text(str(file.parent))}' ({why}); going on without.")
    return arrays, texts


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open_regular(path) as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise UsageError(f"'{safe_text(str(path))}' cannot be read: {error.strerror or error}.") from None
    return digest.hexdigest()[:32]


def _damaged(path: Path, why: object) -> UsageError:
    text = " ".join(safe_text(str(why)).split())[:160]
    return UsageError(f"'{safe_text(str(path))}' is not the archive it should be ({text}); fetch it again.")


# -- cifar10 --------------------------------------------------------------------------------------------------------------


def cifar10(argument: str, split: str, where: Where) -> ImageSet:
    """32x32 colour, ten classes. Krizhevsky 2009.

    From ``cifar10_jpeg.tar.xz`` (pictures once compressed as JPEG: scores are not comparable with published ones) or
    the original ``cifar-10-binary.tar.gz``. Validation is every tenth of the 5,000 of each class for training; each
    split is shuffled once and for all.
    """
    (path,) = files_of(CIFAR10, where).values()
    decode = _cifar_binary if path.name.endswith(".tar.gz") else _cifar_pictures
    arrays, _ = _decoded("cifar10", [path], where, decode)
    part = "test" if split == "test" else "train"
    images, labels = arrays[f"{part}.images"], arrays[f"{part}.labels"]
    order = scramble(len(images), salt=2)
    if split != "test":
        held = _one_in(labels.numpy(), CIFAR_VALIDATION)
        order = order[held[order] == (split == "validation")]
    return ImageSet("cifar10", split, images, labels, CIFAR_CLASSES).pick(order, split)


def _one_in(labels: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Marks the last of every n examples of each class."""
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        held[np.flatnonzero(labels == label)[n - 1 :: n]] = True
    return held


def _cifar_pictures(paths: list[Path]) -> tuple[Arrays, Texts]:
    """``{train,test}/<class>/NNNN.jpg`` in a tar."""
    (path,) = paths
    numbers = {name: i for i, name in enumerate(CIFAR_CLASSES)}
    found: dict[str, list[tuple[int, str, np.ndarray[Any, Any]]]] = {"train": [], "test": []}
    for name, data in _tar_members(path, _MAX_MEMBER_BYTES):
        words = name.removeprefix("./").split("/")
        if len(words) != 3 or words[0] not in found or words[1] not in numbers or not words[2].endswith(".jpg"):
            continue
        try:
            picture = read_picture(io.BytesIO(data), 3, 0)
        except BadPicture as error:
            raise _damaged(path, f"{name}: {error}") from None
        if picture.shape != (3, 32, 32):
            raise _damaged(path, f"{name} has {picture.shape[2]}x{picture.shape[1]} pixels, not 32x32")
        found[words[0]].append((numbers[words[1]], words[2], picture))
    arrays: Arrays = {}
    for part, items in found.items():
        if not items:
            raise _damaged(path, f"it has no pictures in {part}/")
        items.sort(key=lambda item: item[:2])
        arrays[f"{part}.images"] = torch.from_numpy(np.stack([item[2] for item in items]))
        arrays[f"{part}.labels"] = torch.tensor([item[0] for item in items], dtype=torch.int64)
    return arrays, {}


def _cifar_binary(paths: list[Path]) -> tuple[Arrays, Texts]:
    """``cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin``: records of a label byte and 3x32x32 bytes."""
    (path,) = paths
    batches = {Path(name).name: data for name, data in _tar_members(path, _MAX_BATCH_BYTES) if name.endswith(".bin")}
    arrays: Arrays = {}
    for part, names in (("train", [f"data_batch_{i}.bin" for i in range(1, 6)]), ("test", ["test_batch.bin"])):
        missing = [name for name in names if name not in batches]
        if missing:
            raise _damaged(path, f"it lacks {', '.join(missing)}")
        data = b"".join(batches[name] for name in names)
        if not data or len(data) % _RECORD:
            raise _damaged(path, f"{len(data):,} bytes of {part} are not whole records of {_RECORD}")
        records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _RECORD)
        if records[:, 0].max() > 9:
            raise _damaged(path, f"a label is {records[:, 0].max()}, over 9")
        arrays[f"{part}.images"] = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy())
        arrays[f"{part}.labels"] = torch.from_numpy(records[:, 0].astype(np.int64))
    return arrays, {}


def _tar_members(path: Path, limit: int) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the regular files of a compressed tar, as a stream; nothing is written to disk."""
    try:
        with open_regular(path) as raw, tarfile.open(fileobj=raw, mode="r|*") as archive:
            for number, member in enumerate(archive):
                if number > _MAX_MEMBERS:
                    raise _damaged(path, f"it has over {_MAX_MEMBERS:,} members")
                if not member.isreg():
                    continue
                if member.size > limit:
                    raise _damaged(path, f"{member.name} has {member.size:,} bytes, over {limit:,}")
                stream = archive.extractfile(member)
                if stream is not None:
                    yield member.name, stream.read()
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise _damaged(path, error) from None
    except Exception as error:  # lzma.LZMAError, without importing lzma where it is not built in
        if type(error).__name__ == "LZMAError":
            raise _damaged(path, error) from None
        raise


# -- omniglot -------------------------------------------------------------------------------------------------------------


def omniglot(argument: str, split: str, where: Where) -> ImageSet:
    """105x105, one bit, ink bright (as in mnist): the two small background sets, which share two
    alphabets: 242 characters of 8.

    Lake et al. 2015. Every character was drawn by 20 people; drawers 1 to 16 are for training, 17 and 18 validation,
    19 and 20 the test, so every split has every class. Each split is shuffled once and for all.
    """
    paths = list(files_of(OMNIGLOT, where).values())
    arrays, texts = _decoded("omniglot", paths, where, _omniglot)
    drawer = arrays["drawers"].numpy()
    bounds = {"train": (1, 17), "validation": (17, 19), "test": (19, OMNIGLOT_DRAWERS + 1)}
    start, stop = bounds[split]
    order = scramble(len(drawer), salt=4)
    order = order[(drawer[order] >= start) & (drawer[order] < stop)]
    images = torch.from_numpy(_unpack(arrays["bits"].numpy(), 105)[:, None])
    classes = tuple(texts["classes"].split("\n"))
    return ImageSet("omniglot", split, images, arrays["labels"], classes).pick(order, split)


def _unpack(bits: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Packed bits (N, side, ceil(side/8)) as 0 and 255, (N, side, side)."""
    unpacked: np.ndarray[Any, np.dtype[np.uint8]] = np.unpackbits(bits, axis=2, count=side)
    return unpacked * np.uint8(255)


def _omniglot(paths: list[Path]) -> tuple[Arrays, Texts]:
    """``<zip name>/<Alphabet>/characterNN/IIII_DD.png`` with DD the drawer."""
    items: dict[tuple[str, int], np.ndarray[Any, Any]] = {}  # the two sets share alphabets: each drawing once
    for path in paths:
        for name, data in _zip_members(path):
            words = name.split("/")
            drawer = words[-1].removesuffix(".png").rpartition("_")[2]
            if len(words) != 4 or not words[-1].endswith(".png") or not drawer.isdigit():
                continue
            try:
                picture = read_picture(io.BytesIO(data), 1, 0)
            except BadPicture as error:
                raise _damaged(path, f"{name}: {error}") from None
            if picture.shape != (1, 105, 105):
                raise _damaged(path, f"{name} has {picture.shape[2]}x{picture.shape[1]} pixels, not 105x105")
            character = safe_text(f"{words[1]}/{words[2].removeprefix('character')}")
            items[character, int(drawer)] = np.packbits(picture[0] < 128, axis=1)
    if not items:
        raise _damaged(paths[0], "it has no <Alphabet>/characterNN/IIII_DD.png")
    keys = sorted(items)
    classes = sorted({character for character, _ in keys})
    number = {name: i for i, name in enumerate(classes)}
    arrays = {
        "bits": torch.from_numpy(np.stack([items[key] for key in keys])),
        "labels": torch.tensor([number[character] for character, _ in keys], dtype=torch.int64),
        "drawers": torch.tensor([drawer for _, drawer in keys], dtype=torch.int64),
    }
    return arrays, {"classes": "\n".join(classes)}


def _zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with open_regular(path) as raw, zipfile.ZipFile(raw) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise _damaged(path, f"it has over {_MAX_MEMBERS:,} members")
            for member in members:
                if member.is_dir():
                    continue
                if member.file_size > _MAX_MEMBER_BYTES:
                    raise _damaged(
                        path, f"{member.filename} has {member.file_size:,} bytes, over {_MAX_MEMBER_BYTES:,}"
                    )
                with archive.open(member) as stream:
                    yield member.filename, stream.read(_MAX_MEMBER_BYTES)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise _damaged(path, error) from None
