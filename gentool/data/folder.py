"""`folder:PATH`: a user's own pictures, a class per subfolder or without classes."""

from __future__ import annotations

import functools
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gentool.data.find import Where
from gentool.data.pictures import SUFFIXES, Header, in_threads, machine_memory, read_header, read_picture, tried
from gentool.data.sets import ImageSet
from gentool.data.splits import HELD_OUT, home_of, name_hash
from gentool.errors import UsageError
from gentool.show.text import class_names, safe_text

AS_IS = 64  # pictures of one size up to this side are taken as they are
SIDE = 32  # others are resized to this, unless data.resize says otherwise
MAX_FILES = 1_000_000
MAX_CLASSES = 10_000
_SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One picture file: `name` is its path below the folder with '/', `group` its class folder, `home` its split."""

    name: str
    path: Path
    group: str
    home: str


@dataclass(frozen=True)
class Folder:
    """What a folder holds, before any picture is decoded."""

    root: Path
    entries: tuple[Entry, ...]  # usable ones, in their fixed order
    headers: tuple[Header, ...]
    classes: dict[str, str]  # class folder -> class name, in order
    bad: tuple[tuple[str, str], ...]  # (name, reason)
    others: Counter[str]  # endings of files that are no pictures


def folder(argument: str, split: str, where: Where) -> ImageSet:
    """The pictures (PNG, JPEG, WebP, BMP) of one split.

    - Classes: the subfolders of PATH, by name; pictures that lie directly in PATH have no labels.
    - Splits: by subfolders train, val(idation) and test where PATH has a train one; what is not there, and any other
      folder, is split by a hash of each file's path in PATH: 80 % train, 10 % validation, 10 % test. A file keeps
      its split when others come or go. Below 20 pictures nothing is held out.
    - Order: by that hash, so that the first n are a fair sample.
    - Size: pictures of one size up to 64x64 are taken as they are; others are centre-cropped and resized to
      `data.resize` (default 32). Grey if all are grey, else colour, unless `data.channels` says otherwise.
    - A picture that cannot be read is refused by name, or left out with ``data.skip_bad``.
    """
    found = scan(argument, where.say)
    _check_bad(found, found.bad, where)
    if not found.entries:
        raise _nothing(found)
    channels = where.channels or (3 if any(h.colour for h in found.headers) else 1)
    side = _side(found, where)
    chosen = [entry for entry in found.entries if entry.home == split]
    pictures, unreadable = _decode(found, chosen, channels, side)
    _check_bad(found, unreadable, where)
    if unreadable:
        lost = {name for name, _ in unreadable}
        chosen = [entry for entry in chosen if entry.name not in lost]
    if split == "train" and len(found.entries) < HELD_OUT and not where.skip_bad:
        where.say(f"{_named(found)} has {len(found.entries)} picture(s): all are used for training, none held out.")
    number = {group: i for i, group in enumerate(found.classes)}
    labels = torch.tensor([number[entry.group] for entry in chosen], dtype=torch.int64) if found.classes else None
    notes = tuple(f"{name}: {reason}" for name, reason in (*found.bad, *unreadable))
    return ImageSet(
        f"folder:{found.root.name}", split, torch.from_numpy(pictures), labels, tuple(found.classes.values()),
        tuple(entry.name for entry in chosen), notes,
    )  # fmt: skip


# -- looking -----------------------------------------------------------------------------------------------------------


def scan(argument: str, say: Callable[[str], None]) -> Folder:
    """Every picture's header. Kept for the process, as each split asks again."""
    root = Path(argument).expanduser()
    shown = safe_text(argument)
    if not argument:
        raise UsageError("folder: wants to know where the pictures are: folder:PATH.")
    try:
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "is not there"
            raise UsageError(f"The folder '{shown}' of pictures {what}; --data folder:PATH names a folder.")
        stamp = root.stat().st_mtime_ns
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"The folder '{shown}' of pictures cannot be looked into: {safe_text(str(why))}.") from None
    with _scanning:
        return _scan(root.resolve(), stamp, _Silent(say))


_scanning = threading.Lock()


class _Silent:
    """A callback that is not part of a cache's key."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Silent)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=2)
def _scan(root: Path, stamp: int, quiet: _Silent) -> Folder:
    others: Counter[str] = Counter()
    bad: list[tuple[str, str]] = []
    files = _walk(root, others, bad)
    parts = {name: name.split("/") for name, _ in files}
    tops = {words[0].lower() for words in parts.values() if len(words) > 1}
    split_folders = "train" in {_SPLIT_FOLDERS.get(top) for top in tops} and tops <= set(_SPLIT_FOLDERS)
    there = {_SPLIT_FOLDERS[top] for top in tops} if split_folders else set()
    depth = 1 if split_folders else 0

    groups = {words[depth] if len(words) > depth + 1 else "" for words in parts.values()}
    if "" in groups and len(groups) > 1:
        loose = next(name for name, words in parts.items() if len(words) <= depth + 1)
        raise UsageError(
            f"The folder '{safe_text(str(root))}' has pictures in class subfolders and others beside them (such as "
            f"'{safe_text(loose)}'); move these into a subfolder, or all into one place."
        )
    if len(groups) > MAX_CLASSES:
        raise UsageError(
            f"The folder '{safe_text(str(root))}' has pictures in {len(groups):,} subfolders; over {MAX_CLASSES:,} classes are "
            "refused: put them into one folder to train without classes."
        )
    ordered = sorted(groups - {""}, key=os.fsencode)
    classes = dict(zip(ordered, class_names(ordered)))

    entries: list[tuple[float, Entry]] = []
    for name, path in files:
        words = parts[name]
        place = name_hash(name)
        home = _SPLIT_FOLDERS[words[0].lower()] if split_folders else "train"
        if home == "train":
            drawn = home_of(place, len(files))
            home = "train" if drawn in there else drawn
        entries.append((place, Entry(name, path, words[depth] if len(words) > depth + 1 else "", home)))
    entries.sort(key=lambda pair: (pair[0], pair[1].name))
    if len(entries) > 2000:
        quiet.say(f"Reading {len(entries):,} pictures in '{safe_text(str(root))}'.")

    kept, headers = [], []
    for (_, entry), header in zip(entries, in_threads(lambda pair: tried(read_header, pair[1].path), entries)):
        if isinstance(header, str):
            bad.append((entry.name, header))
        else:
            kept.append(entry)
            headers.append(header)
    return Folder(root, tuple(kept), tuple(headers), classes, tuple(bad), others)


def _walk(root: Path, others: Counter[str], bad: list[tuple[str, str]]) -> list[tuple[str, Path]]:
    """(name below root, path) of every file that is called a picture. Hidden ones are left out; a folder is entered
    once, however many links lead to it."""
    files: list[tuple[str, Path]] = []
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, Path]] = [("", root)]
    while waiting:
        prefix, place = waiting.pop()
        try:
            here = place.stat()
            if (here.st_dev, here.st_ino) in seen:
                continue
            seen.add((here.st_dev, here.st_ino))
            with os.scandir(place) as listing:
                found = sorted(listing, key=lambda e: os.fsencode(e.name))
        except OSError as error:
            bad.append((prefix or str(root), (error.strerror or str(error)).lower()))
            continue
        for item in found:
            name = prefix + item.name
            if item.name.startswith("."):
                continue
            called = item.name.lower().endswith(SUFFIXES)
            try:
                mode = item.stat().st_mode
            except OSError as error:  # a link to nothing, or to itself
                if called:
                    bad.append((name, (error.strerror or str(error)).lower()))
                continue
            if stat.S_ISDIR(mode):
                waiting.append((f"{name}/", Path(item.path)))
            elif not called:
                others[os.path.splitext(item.name)[1].lower() or "no ending"] += 1
            elif not stat.S_ISREG(mode):
                bad.append((name, "not a regular file"))
            else:
                files.append((name, Path(item.path)))
                if len(files) > MAX_FILES:
                    raise UsageError(
                        f"'{safe_text(str(root))}' has over {MAX_FILES:,} pictures; name a smaller folder."
                    )
    return files


# -- deciding ----------------------------------------------------------------------------------------------------------


def _side(found: Folder, where: Where) -> int:
    """The side to resize to; 0: as they are."""
    if where.resize:
        return where.resize
    sizes = Counter((h.width, h.height) for h in found.headers)
    (width, height), _ = sizes.most_common(1)[0]
    if len(sizes) == 1 and max(width, height) <= AS_IS:
        return 0
    areas = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    seen = f"{width}x{height}" if len(sizes) == 1 else (
        f"{len(sizes)} sizes, from {areas[0][0]}x{areas[0][1]} to {areas[-1][0]}x{areas[-1][1]}"
    )  # fmt: skip
    if (found.root, seen) not in _told:
        _told.add((found.root, seen))
        where.say(
            f"The pictures in {_named(found)} ({seen}) are centre-cropped and resized to {SIDE}x{SIDE}; "
            "--set data.resize=N chooses another side."
        )
    return SIDE


_told: set[tuple[Path, str]] = set()


def _check_bad(found: Folder, bad: Iterable[tuple[str, str]], where: Where) -> None:
    bad = list(bad)
    if not bad:
        return
    listed = "; ".join(f"'{safe_text(name)}': {reason}" for name, reason in bad[:3])
    more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
    if not where.skip_bad:
        raise UsageError(
            f"{len(bad)} picture(s) in {_named(found)} cannot be used ({listed}{more}); remove them, or leave them out "
            "with --set data.skip_bad=true."
        )
    where.say(f"Left out {len(bad)} picture(s) of {_named(found)} ({listed}{more}).")


def _nothing(found: Folder) -> UsageError:
    there = ", ".join(f"{n} {safe_text(ending)}" for ending, n in found.others.most_common(4)) or "nothing else either"
    return UsageError(
        f"The folder '{safe_text(str(found.root))}' has no picture that can be used (PNG, JPEG, WebP or BMP; it has: "
        f"{there}); name the folder that holds them."
    )


def _named(found: Folder) -> str:
    return f"'{safe_text(found.root.name or str(found.root))}'"


# -- decoding ----------------------------------------------------------------------------------------------------------


def _decode(
    found: Folder, entries: list[Entry], channels: int, side: int
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[tuple[str, str]]]:
    """uint8 (N, C, H, W) of the entries that decode, and (name, reason) of those that do not."""
    first = found.headers[0]
    height, width = (side, side) if side else (first.height, first.width)
    need = len(entries) * channels * height * width
    room = machine_memory() // 2
    if need > room:
        raise UsageError(
            f"{len(entries):,} pictures of {width}x{height} need {need / 1e9:.1f} GB, more than half of this machine's "
            f"memory; use a smaller --set data.resize=N (now {height})."
        )
    pictures = np.empty((len(entries), channels, height, width), dtype=np.uint8)
    bad: list[tuple[str, str]] = []
    kept = 0
    for entry, made in zip(entries, in_threads(lambda e: tried(read_picture, e.path, channels, side), entries)):
        if not isinstance(made, str) and made.shape != pictures.shape[1:]:
            made = f"it decodes to {made.shape[2]}x{made.shape[1]}, not the {width}x{height} of its header"
        if isinstance(made, str):
            bad.append((entry.name, made))
            continue
        pictures[kept] = made
        kept += 1
    return pictures[:kept], bad
