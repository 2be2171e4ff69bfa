"""Annotations that somebody else made, checked one by one: what is wrong is left out and counted, never a crash.

A reader of a format (`gentool.data.coco`, `voc`, `yolo`) gives what its files say as `Picture`s and `Annotation`s;
`build` looks at every picture's header and every box, and makes the split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gentool.data.box_transforms import box_area
from gentool.data.boxes import BoxSet, Target
from gentool.data.find import open_regular
from gentool.data.pictures import Header, in_threads, read_header, read_picture, tried
from gentool.data.problems import Problems
from gentool.data.splits import name_hash
from gentool.errors import UsageError
from gentool.show.text import class_names, safe_text

MOST_BYTES = 16 << 20  # of a text file
TOLERANCE = 1.0  # pixels by which a box may leave its picture without a word: formats round differently


@dataclass(frozen=True)
class Picture:
    """A picture as its annotations name it. path: None where there is no such file; size: (height, width) that they say
    it has, or None; stored: it was annotated as it is stored, whatever EXIF says of how it is to be turned."""

    key: Any  # what annotations refer to it by, and its id in results
    name: str
    path: Path | None
    size: tuple[int, int] | None = None
    stored: bool = False


@dataclass(frozen=True)
class Annotation:
    """One box as it is written: x1, y1, x2, y2 in pixels, anything that was no number as NaN. `who` names it in a message;
    category: the data set's own id or name; area: NaN where it is not told. With `relative` the box is in shares of the
    sides."""

    who: str
    picture: Any
    category: Any
    box: tuple[float, float, float, float]
    crowd: bool = False
    area: float = math.nan
    relative: bool = False


class FileBoxes(BoxSet):
    """A split whose pictures are files and whose boxes are in memory."""

    files = True

    def __init__(
        self,
        name: str,
        split: str,
        categories: dict[Any, str],
        pictures: Sequence[tuple[Picture, Header]],
        targets: Sequence[Target],
        problems: Problems,
        say: Callable[[str], None],
    ) -> None:
        self.name, self.split = name, split
        named = class_names([safe_text(str(label)) for label in categories.values()])
        self.classes = tuple(named)
        self.category_ids = tuple(key if isinstance(key, int) else i + 1 for i, key in enumerate(categories))
        self.problems = problems
        self._pictures = list(pictures)
        self._targets = list(targets)
        self._say = say

    def __len__(self) -> int:
        return len(self._pictures)

    def size(self, index: int) -> tuple[int, int]:
        header = self._pictures[index][1]
        return header.height, header.width

    def read(self, index: int, least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The picture, or black where it cannot be decoded though its header could be read: said once."""
        picture, header = self._pictures[index]
        made = self.decoded(index, least)
        if not isinstance(made, str):
            return made
        self._say(
            f"The picture '{safe_text(picture.name)}' cannot be decoded ({made}): it is taken as black, without boxes."
        )
        none = np.zeros(0)
        self._targets[index] = Target(np.zeros((0, 4)), none.astype(np.int64), none.astype(bool), none)
        return np.zeros((header.height, header.width, 3), np.uint8)

    def decoded(self, index: int, least: tuple[int, int] | None = None) -> NDArray[np.uint8] | str:
        """The picture, or why it cannot be decoded."""
        picture, header = self._pictures[index]
        made = tried(read_picture, picture.path, 3, 0, turn=not picture.stored, least=least)
        if isinstance(made, str):
            return made
        if least is None and made.shape[1:] != (header.height, header.width):
            return (
                f"it decodes to {made.shape[2]}x{made.shape[1]}, not the {header.width}x{header.height} of its header"
            )
        return np.ascontiguousarray(made.transpose(1, 2, 0))

    def target(self, index: int) -> Target:
        return self._targets[index]

    def image_id(self, index: int) -> int | str:
        key = self._pictures[index][0].key
        return key if isinstance(key, int | str) else str(key)

    def file_name(self, index: int) -> str:
        return self._pictures[index][0].name

    def digest(self) -> bytes:
        parts = [super().digest()]
        parts += [f"{p.name} {h.width}x{h.height}".encode() for p, h in self._pictures]
        parts += [t.boxes.tobytes() + t.labels.tobytes() + t.crowd.tobytes() for t in self._targets]
        return b"\0".join(parts)


# -- making a split of what was read -----------------------------------------------------------------------------------


def build(
    name: str,
    split: str,
    categories: dict[Any, str],
    pictures: Sequence[Picture],
    annotations: Sequence[Annotation],
    problems: Problems,
    say: Callable[[str], None],
) -> FileBoxes:
    """A split of the pictures that can be read and the boxes that make sense, in an order that is a fair sample.

    A box is clipped to its picture; one that has no area, or none inside, or numbers that are none is left out, as is one
    of an unknown picture or category. Boxes keep the order they are written in.
    """
    usable = _usable(pictures, problems)
    usable.sort(key=lambda pair: (name_hash(pair[0].name), pair[0].name))
    place = {picture.key: i for i, (picture, _) in enumerate(usable)}
    known = {picture.key for picture in pictures}
    label = {key: i for i, key in enumerate(categories)}
    kept: list[Annotation] = []
    where: list[int] = []
    for item in annotations:
        if not _hashable(item.picture) or item.picture not in known:
            problems.add("box of a picture that is not listed", item.who)
        elif not _hashable(item.category) or item.category not in label:
            problems.add("box of an unknown category", f"{item.who}: {item.category!r}")
        elif item.picture in place:  # else its picture is left out, which has been said
            kept.append(item)
            where.append(place[item.picture])
    sides = np.array([(h.width, h.height) for _, h in usable], dtype=np.float64).reshape(-1, 2)[where].reshape(-1, 2)
    boxes = np.array([item.box for item in kept], dtype=np.float64).reshape(-1, 4)
    relative = np.array([item.relative for item in kept], dtype=bool)
    with np.errstate(invalid="ignore", over="ignore"):
        boxes = np.where(relative[:, None], boxes * np.tile(sides, 2), boxes)
        fine, clipped = _checked(boxes, sides, kept, problems)
    targets = _targets(len(usable), kept, np.array(where, dtype=np.int64), label, clipped, fine)
    if problems.counts:
        say(
            f"Left out of or mended in '{safe_text(name)}', {split}: {problems.sentence()} (`gentool data check` names them)."
        )
    return FileBoxes(name, split, categories, usable, targets, problems, say)


def _hashable(value: Any) -> bool:
    return isinstance(value, int | str | float)


def _usable(pictures: Sequence[Picture], problems: Problems) -> list[tuple[Picture, Header]]:
    """The pictures whose file is there and has a header, each once; sizes are those of the files."""
    there: list[Picture] = []
    seen: set[Any] = set()
    for picture in pictures:
        if picture.key in seen:
            problems.add("picture listed twice", f"{picture.name} ({picture.key})", "left out the second time")
        elif picture.path is None:
            problems.add("picture that is not there", picture.name)
        else:
            there.append(picture)
        seen.add(picture.key)
    usable = []
    for picture, header in zip(there, in_threads(lambda p: tried(read_header, p.path), there)):
        if isinstance(header, str):
            problems.add("picture that cannot be read", f"{picture.name}: {header}")
            continue
        size = picture.size
        if size is not None and size != (header.height, header.width):
            if header.turned and size == (header.width, header.height):
                header = Header(header.height, header.width, header.colour)
                picture = replace(picture, stored=True)
            else:
                said = f"{picture.name}: said to be {size[1]}x{size[0]}, is {header.width}x{header.height}"
                problems.add("picture of another size", said, "taken at the file's size")
        usable.append((picture, header))
    return usable


def _checked(
    boxes: NDArray[np.float64], sides: NDArray[np.float64], items: Sequence[Annotation], problems: Problems
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(which boxes are kept, all of them clipped to their pictures)."""
    clipped = np.clip(boxes, 0, np.tile(sides, 2))
    finite = np.isfinite(boxes).all(1)
    turned = finite & (boxes[:, 2:] < boxes[:, :2]).any(1)
    flat = finite & ~turned & (boxes[:, 2:] == boxes[:, :2]).any(1)
    gone = finite & ~turned & ~flat & (clipped[:, 2:] <= clipped[:, :2]).any(1)
    out = finite & ~turned & ~flat & ~gone & (np.abs(boxes - clipped) > TOLERANCE).any(1)
    for wrong, kind, done in (
        (~finite, "box that is not four numbers", "left out"),
        (turned, "box that ends before it begins", "left out"),
        (flat, "box without area", "left out"),
        (gone, "box outside of its picture", "left out"),
        (out, "box partly outside of its picture", "clipped"),
    ):
        for i in np.flatnonzero(wrong).tolist():
            shown = ", ".join(f"{value:g}" for value in boxes[i])
            problems.add(kind, items[i].who if kind.endswith("numbers") else f"{items[i].who}: {shown}", done)
    return finite & ~turned & ~flat & ~gone, clipped


def _targets(
    n: int,
    items: Sequence[Annotation],
    where: NDArray[np.int64],
    label: dict[Any, int],
    boxes: NDArray[np.float64],
    fine: NDArray[np.bool_],
) -> list[Target]:
    labels = np.array([label[item.category] for item in items], dtype=np.int64)
    crowd = np.array([item.crowd for item in items], dtype=bool)
    told = np.array([item.area for item in items], dtype=np.float64)
    area = np.where(np.isfinite(told) & (told > 0), told, box_area(boxes))
    rows = np.flatnonzero(fine)
    rows = rows[np.argsort(where[rows], kind="stable")]
    cuts = np.searchsorted(where[rows], np.arange(n + 1))
    made = []
    for i in range(n):
        own_rows = rows[cuts[i] : cuts[i + 1]]
        made.append(Target(boxes[own_rows], labels[own_rows], crowd[own_rows], area[own_rows]))
    return made


# -- what the readers share --------------------------------------------------------------------------------------------


def read_text(file: Path) -> str:
    """The first 16 MB of a text file; `UsageError` where it cannot be read."""
    try:
        with open_regular(file) as stream:
            return stream.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"'{safe_text(str(file))}' cannot be read: {error.strerror or error}.") from None


def number(value: object) -> float:
    """A number as it is written in a file; NaN for anything else, and for what no picture could have."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if abs(value) < 1e9 else math.nan


def side(value: object) -> int:
    """A picture's side as it is written; 0 for anything that is none."""
    plain = number(value)
    return int(plain) if plain == plain and plain > 0 and plain == int(plain) else 0


def picture_finder(folders: Sequence[Path]) -> Callable[[str], Path | None]:
    """A function from a name in annotations to the file, searched in these folders; a name may lie in subfolders of them,
    but not lead out."""
    order = list(folders)

    def find(name: str) -> Path | None:
        plain = name.replace("\\", "/")
        if not plain or "\0" in plain or plain.startswith("/") or ".." in plain.split("/"):
            plain = plain.rsplit("/", 1)[-1]
        for place, folder in enumerate(order):
            path = folder / plain
            try:
                if path.is_file():
                    order.insert(0, order.pop(place))  # where one lies, the next does, too
                    return path
            except (OSError, ValueError):
                continue
        return None

    return find


def no_classes(shown: str) -> UsageError:
    return UsageError(f"'{shown}' names no categories, so there is nothing to detect.")
