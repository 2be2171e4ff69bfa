"""`voc:PATH`: PASCAL VOC's annotations, one XML file a picture.

PATH/Annotations/*.xml, PATH/JPEGImages/*, PATH/ImageSets/Main/{train,val,test,trainval}.txt where there are splits
PATH/*.xml with the pictures beside them (or in images/), split by a hash of their names
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from gentool.data.annotations import (
    Annotation,
    FileBoxes,
    Picture,
    build,
    no_classes,
    number,
    picture_finder,
    read_text,
    side,
)
from gentool.data.find import Where, open_regular
from gentool.data.pictures import SUFFIXES, in_threads
from gentool.data.problems import Problems
from gentool.data.splits import WORDS, home_of, name_hash, part_of
from gentool.errors import UsageError
from gentool.show.text import safe_text

MOST_BYTES = 16 << 20  # of an XML file
MOST_DEPTH = 50
LISTS = {**WORDS, "train": ("train", "trainval")}


class BadXml(Exception):
    """Why a file is no XML that is read here."""


def voc(argument: str, split: str, where: Where) -> FileBoxes:
    """One split. Labels are the names of the objects in order of the alphabet, over all files.

    VOC counts pixels from 1 and its boxes end with their last pixel: x1 = xmin - 1, x2 = xmax. `difficult` objects are
    kept like COCO's crowds: neither learnt nor scored. Where ImageSets/Main has no test, validation is it.
    """
    if not argument:
        raise UsageError("voc: wants to know where the annotations are: voc:FOLDER.")
    root = Path(argument).expanduser()
    shown = safe_text(argument)
    if not root.is_dir():
        raise UsageError(f"There is no folder '{shown}'; --data voc:PATH names one in PASCAL VOC's format.")
    below = root / "Annotations" if (root / "Annotations").is_dir() else root
    stamp = tuple(folder.stat().st_mtime_ns for folder in (root, below))
    found = _read(root, below, stamp)
    if not found:
        raise UsageError(f"'{shown}' has no XML files, neither in Annotations nor directly.")
    labels = sorted({label for tree in found.values() if not isinstance(tree, str) for label in _labels(tree)})
    if not labels:
        raise no_classes(shown)
    problems = Problems()
    chosen = _chosen(root, found, split, problems)
    find = picture_finder(
        [folder for name in ("JPEGImages", "images", "Images", "") if (folder := root / name).is_dir()] + [below]
    )
    pictures: list[Picture] = []
    annotations: list[Annotation] = []
    for stem in chosen:
        tree = found[stem]
        if isinstance(tree, str):
            problems.add("annotation file that cannot be read", f"{stem}.xml: {tree}")
            continue
        pictures.append(_picture(stem, tree, find))
        annotations += _objects(stem, tree)
    name = f"voc:{root.resolve().name}"
    return build(name, split, {label: label for label in labels}, pictures, annotations, problems, where.say)


@functools.lru_cache(maxsize=2)
def _read(root: Path, below: Path, stamp: tuple[int, ...]) -> dict[str, Element | str]:
    """Every file by its name without ending: its tree, or why it cannot be read."""
    files = sorted(below.glob("*.xml"))
    return {file.stem: tree for file, tree in zip(files, in_threads(_tried, files))}


def _tried(file: Path) -> Element | str:
    try:
        with open_regular(file) as stream:
            return parse(stream.read(MOST_BYTES + 1))
    except BadXml as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def parse(data: bytes) -> Element:
    """A tree of XML. A document type is refused, and with it every entity: what is read here needs none, and they are how
    a small file becomes a large one, or reads another."""
    if len(data) > MOST_BYTES:
        raise BadXml(f"it is over {MOST_BYTES >> 20} MB")
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise BadXml("it is nested too deeply")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise BadXml("it declares a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, AssertionError, ValueError, LookupError) as error:
        raise BadXml(f"it is no XML ({' '.join(safe_text(str(error)).split())[:80]})") from None


def _chosen(root: Path, found: dict[str, Element | str], split: str, problems: Problems) -> list[str]:
    """The names of a split's files."""
    lists = root / "ImageSets" / "Main"
    own = {key: _list(lists, words) for key, words in LISTS.items()}
    if own["train"] is None:
        return [stem for stem in found if home_of(name_hash(stem), len(found)) == split]
    names = part_of(own, split) or []
    for name in names:
        if name not in found:
            problems.add("name in ImageSets that has no annotation file", name)
    return [name for name in dict.fromkeys(names) if name in found]


def _list(folder: Path, words: tuple[str, ...]) -> list[str] | None:
    for word in words:
        file = folder / f"{word}.txt"
        if file.is_file():
            return [line.split()[0] for line in read_text(file).splitlines() if line.strip()]
    return None


def _text(element: Element | None, tag: str) -> str:
    return (element.findtext(tag) or "").strip() if element is not None else ""


def _number(element: Element | None, tag: str) -> float:
    try:
        return number(float(_text(element, tag)))
    except ValueError:
        return math.nan


def _labels(tree: Element) -> set[str]:
    return {label for item in tree.iterfind("object") if (label := _text(item, "name"))}


def _picture(stem: str, tree: Element, find: Any) -> Picture:
    """The picture that a file is of: the one it names, or one of its own name."""
    named = _text(tree, "filename")
    path = find(named) if named else None
    if path is None:
        path = next((hit for ending in SUFFIXES for e in (ending, ending.upper()) if (hit := find(stem + e))), None)
    about = tree.find("size")
    size = side(_number(about, "height")), side(_number(about, "width"))
    return Picture(stem, path.name if path is not None else named or stem, path, size if all(size) else None)


def _objects(stem: str, tree: Element) -> list[Annotation]:
    found = []
    for place, item in enumerate(tree.iterfind("object"), 1):
        corners = item.find("bndbox")
        x1, y1, x2, y2 = (_number(corners, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
        found.append(
            Annotation(
                who=f"{stem}.xml, object {place}",
                picture=stem,
                category=_text(item, "name"),
                box=(x1 - 1, y1 - 1, x2, y2),
                crowd=_text(item, "difficult") == "1",
            )
        )
    return found
