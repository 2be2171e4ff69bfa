"""`coco:PATH`: COCO's format of annotations, a folder of it or one JSON file.

PATH/annotations/instances_{train,val,test}*.json   and the pictures in PATH/images, PATH/{train,val,test}* or PATH
PATH/{train,valid,test}/_annotations.coco.json      with the pictures beside it
PATH = FILE.json                                    with the pictures beside it, in images/ or in ../images
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import msgspec

from gentool.data.annotations import (
    Annotation,
    FileBoxes,
    Picture,
    build,
    no_classes,
    number,
    picture_finder,
    side,
)
from gentool.data.coco_files import annotation_files, file_of
from gentool.data.find import Where, files_of, folder_of, open_regular
from gentool.data.known import BCCD, COCO_MINI, PLAYING_CARDS, Known
from gentool.data.problems import Problems
from gentool.data.splits import home_of, name_hash
from gentool.errors import UsageError
from gentool.show.text import safe_text

MOST_BYTES = 4 << 30


def coco(argument: str, split: str, where: Where, name: str | None = None) -> FileBoxes:
    """One split. Where there is no test, validation is it; where there is one file, a hash of the pictures' names splits
    it: 80 % train, 10 % validation, 10 % test (below 20 pictures all are for training).

    Labels are in order of the category ids, which may have gaps. `iscrowd` is kept.
    """
    if not argument:
        raise UsageError("coco: wants to know where the annotations are: coco:FOLDER or coco:FILE.json.")
    path, shown = Path(argument).expanduser(), safe_text(argument)
    found = annotation_files(path, shown)
    name = name or f"coco:{path.resolve().name}"
    file = file_of(found, split)
    divided = set(found) == {"train"}
    if file == found["train"] and split != "train" and not divided:
        none = build(name, split, _categories(_load(file), shown), [], [], Problems(), where.say)
        return none  # a train and a test file: no validation
    problems = Problems()
    data = _load(file)
    categories = _categories(data, shown)
    pictures = _pictures(data, file, path if path.is_dir() else file.parent, problems)
    elsewhere: set[Any] = set()
    if divided:
        elsewhere = {p.key for p in pictures if home_of(name_hash(p.name), len(pictures)) != split}
        pictures = [p for p in pictures if p.key not in elsewhere]
    annotations = _annotations(data, problems, elsewhere)
    return build(name, split, categories, pictures, annotations, problems, where.say)


def bccd(argument: str, split: str, where: Where) -> FileBoxes:
    """Blood cells: red (RBC) and white (WBC) ones, and platelets. Not every red cell is annotated."""
    return _known(BCCD, split, where)


def playing_cards(argument: str, split: str, where: Where) -> FileBoxes:
    """Playing cards on tables, nine to ace."""
    return _known(PLAYING_CARDS, split, where)


def coco_mini(argument: str, split: str, where: Where) -> FileBoxes:
    """80 pictures for training and 79 for validation, the usual 80 categories."""
    return _known(COCO_MINI, split, where)


def _known(known: Known, split: str, where: Where) -> FileBoxes:
    return coco(str(folder_of(files_of(known, where))), split, where, known.name)


@functools.lru_cache(maxsize=3)
def _parsed(path: Path, stamp: int) -> dict[str, Any]:
    shown = safe_text(str(path))
    with open_regular(path) as stream:
        text = stream.read(MOST_BYTES)
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # NaN, among others, which the slow reader takes
        data = json.loads(text)
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in ("images", "categories")):
        raise UsageError(f"'{shown}' is not in COCO's format: it lacks the lists 'images' and 'categories'.")
    if not isinstance(data.get("annotations", []), list):
        raise UsageError(f"'{shown}' is not in COCO's format: its 'annotations' are no list.")
    return data


def _load(path: Path) -> dict[str, Any]:
    shown = safe_text(str(path))
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise UsageError(f"'{shown}' cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:  # also of bytes that are no UTF-8
        why = " ".join(safe_text(str(error)).split())[:120]
        raise UsageError(f"'{shown}' is not JSON ({why}).") from None


def _categories(data: dict[str, Any], shown: str) -> dict[Any, str]:
    """Category id -> name, in order of the ids."""
    found: dict[int, str] = {}
    for entry in data["categories"]:
        key = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(key, int) and not isinstance(key, bool) and key not in found:
            found[key] = str(entry.get("name", key))
    if not found:
        raise no_classes(shown)
    return dict(sorted(found.items()))


def _pictures(data: dict[str, Any], file: Path, root: Path, problems: Problems) -> list[Picture]:
    word = file.stem.removeprefix("instances_")
    folders = [root / "images" / word, root / word, root / "images", root, file.parent, file.parent.parent / "images"]
    find = picture_finder([folder for folder in dict.fromkeys(folders) if folder.is_dir()])
    pictures = []
    for place, entry in enumerate(data["images"]):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(key, int | str) or isinstance(key, bool):
            problems.add("entry of 'images' without a file_name and an id", f"number {place}")
            continue
        size = side(entry.get("height")), side(entry.get("width"))
        pictures.append(Picture(key, name, find(name), size if all(size) else None))
    return pictures


def _annotations(data: dict[str, Any], problems: Problems, elsewhere: set[Any]) -> list[Annotation]:
    """The annotations but for those of pictures that are in another split."""
    found: list[Annotation] = []
    seen: set[Any] = set()
    for place, entry in enumerate(data.get("annotations", [])):
        if not isinstance(entry, dict):
            problems.add("entry of 'annotations' that is no object", f"number {place}")
            continue
        picture, key = entry.get("image_id"), entry.get("id")
        if isinstance(picture, int | str) and picture in elsewhere:
            continue
        who = f"annotation {key if isinstance(key, int | str) else f'number {place}'}"
        if isinstance(key, int | str):
            if key in seen:
                problems.add("annotation with the id of another", who, "kept")
            seen.add(key)
        box = entry.get("bbox")
        plain = [number(v) for v in box] if isinstance(box, list) and len(box) == 4 else [math.nan] * 4
        x, y, w, h = plain
        found.append(
            Annotation(
                who=who,
                picture=picture,
                category=entry.get("category_id"),
                box=(x, y, x + w, y + h),
                crowd=entry.get("iscrowd") in (1, True),
                area=number(entry.get("area")),
            )
        )
    return found
