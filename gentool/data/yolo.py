"""`yolo:PATH`: a text file a picture, one line a box: class, centre x, centre y, width, height, in shares of the sides.

PATH/data.yaml (or PATH itself a .yaml) with names, train, val and test; or PATH/classes.txt (obj.names)
pictures in …/images/…, their labels in …/labels/… under the same name, or beside them
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

from gentool.data.annotations import Annotation, FileBoxes, Picture, build, no_classes, number, read_text
from gentool.data.find import Where
from gentool.data.pictures import SUFFIXES
from gentool.data.problems import Problems
from gentool.data.splits import WORDS, home_of, name_hash, part_of
from gentool.errors import UsageError
from gentool.show.text import safe_text

MOST_CLASSES = 10_000


def yolo(argument: str, split: str, where: Where) -> FileBoxes:
    """One split; where there are none, a hash of the pictures' names makes them. Lines of more than five numbers are
    polygons, whose box is taken. A picture without a file of labels has no boxes."""
    if not argument:
        raise UsageError("yolo: wants to know where the pictures are: yolo:FOLDER or yolo:FILE.yaml.")
    path = Path(argument).expanduser()
    shown = safe_text(argument)
    if not path.exists():
        raise UsageError(f"There is no folder or file '{shown}'; --data yolo:PATH names one in YOLO's format.")
    root = path if path.is_dir() else path.parent
    settings = _settings(path)
    names = _names(settings, root)
    if not names:
        raise no_classes(shown)
    problems = Problems()
    own = {key: _pictures(settings, root, words) for key, words in WORDS.items()}
    if own["train"] is None:
        every = _in(root)
        files = [file for file in every if home_of(name_hash(file.name), len(every)) == split]
    else:
        files = part_of(own, split) or []
    pictures, annotations = [], []
    for file in files:
        key = _relative(file, root)
        pictures.append(Picture(key, key, file if file.is_file() else None))
        annotations += _boxes(file, key, problems)
    name = f"yolo:{root.resolve().name}"
    return build(name, split, names, pictures, annotations, problems, where.say)


def _settings(path: Path) -> dict[str, Any]:
    """What the YAML file says; nothing where there is none."""
    file = path if path.is_file() else next((f for n in ("data.yaml", "data.yml") if (f := path / n).is_file()), None)
    if file is None and path.is_dir():
        others = [*path.glob("*.yaml"), *path.glob("*.yml")]
        file = others[0] if len(others) == 1 else None
    if file is None:
        return {}
    import yaml

    shown = safe_text(str(file))
    try:
        made = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        why = " ".join(safe_text(str(error)).split())[:120]
        raise UsageError(f"'{shown}' is not YAML ({why}).") from None
    if not isinstance(made, dict):
        raise UsageError(f"'{shown}' has no settings: it has to name its classes (names) and pictures (train, val).")
    return made


def _names(settings: dict[str, Any], root: Path) -> dict[Any, str]:
    """Class number -> name."""
    named = settings.get("names")
    if isinstance(named, list):
        named = dict(enumerate(named))
    if isinstance(named, dict):
        own = {k: str(v)[:200] for k, v in named.items() if isinstance(k, int) and not isinstance(k, bool) and k >= 0}
        return dict(sorted(own.items())[:MOST_CLASSES])
    for name in ("classes.txt", "obj.names", "labels/classes.txt", "predefined_classes.txt"):
        if (root / name).is_file():
            lines = [line.strip() for line in read_text(root / name).splitlines()]
            return dict(enumerate(line for line in lines[:MOST_CLASSES] if line))
    count = settings.get("nc")
    if isinstance(count, int) and 0 < count <= MOST_CLASSES:
        return {i: f"class {i}" for i in range(count)}
    return {}


def _pictures(settings: dict[str, Any], root: Path, words: tuple[str, ...]) -> list[Path] | None:
    """The pictures of a split, by the settings or by folders that are named so; None where it has none."""
    base = settings.get("path")
    homes = [root, *([Path(base), root / base] if isinstance(base, str) and base else []), root.parent]
    for word in words:
        given = settings.get(word)
        for item in given if isinstance(given, list) else [given]:
            if not isinstance(item, str) or not item:
                continue
            # "../train/images" is what exporters write for a folder that lies beside the file itself.
            tries = [home / item for home in homes] + [root / item.removeprefix("../")]
            found = next((p for p in tries if p.exists()), None)
            if found is None:
                raise UsageError(
                    f"The {word} pictures '{safe_text(item)[:80]}' that the YAML file names are not there."
                )
            if not isinstance(given, list):
                return _of(found, root)
        if isinstance(given, list):
            every = [p for item in given for home in homes if (p := home / str(item)).exists()]
            return sorted({file for place in every for file in _of(place, root)})
        for folder in (root / "images" / word, root / word / "images", root / word):
            if folder.is_dir():
                return _in(folder)
    return None


def _of(place: Path, root: Path) -> list[Path]:
    """The pictures of a folder, or those that a text file lists."""
    if place.is_dir():
        return _in(place)
    lines = [line.strip() for line in read_text(place).splitlines()]
    return [(root / line if not Path(line).is_absolute() else Path(line)) for line in lines if line]


@functools.lru_cache(maxsize=8)
def _listed(folder: Path, stamp: int) -> tuple[Path, ...]:
    return tuple(sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")))


def _in(folder: Path) -> list[Path]:
    """Every picture in a folder and below."""
    return list(_listed(folder, folder.stat().st_mtime_ns))


def _relative(file: Path, root: Path) -> str:
    try:
        return file.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return file.name


def _boxes(file: Path, key: str, problems: Problems) -> list[Annotation]:
    labels = next((p for p in _label_files(file) if p.is_file()), None)
    if labels is None:
        return []
    found = []
    for line, text in enumerate(read_text(labels).splitlines(), 1):
        words = text.split()
        if not words:
            continue
        who = f"{labels.name}, line {line}"
        try:
            values = [number(float(word)) for word in words]
        except ValueError:
            problems.add("line that is not numbers", f"{who}: {text[:40]}")
            continue
        if len(values) == 5:
            _, x, y, w, h = values
            box = x - w / 2, y - h / 2, x + w / 2, y + h / 2
        elif len(values) >= 7 and len(values) % 2:
            xs, ys = values[1::2], values[2::2]
            box = (math.nan,) * 4 if any(map(math.isnan, values)) else (min(xs), min(ys), max(xs), max(ys))
        else:
            problems.add("line that has not five numbers", f"{who}: {text[:40]}")
            continue
        category = int(values[0]) if values[0] == values[0] and values[0] == int(values[0]) else words[0]
        found.append(Annotation(who=who, picture=key, category=category, box=box, relative=True))
    return found


def _label_files(file: Path) -> list[Path]:
    """Where the labels of a picture may lie: images/ in its path becomes labels/ (the last one), or beside it."""
    name = file.with_suffix(".txt").name
    parts = list(file.parent.parts)
    places = []
    for i in reversed(range(len(parts))):
        if parts[i].lower() == "images":
            places.append(Path(*parts[:i], "labels", *parts[i + 1 :], name))
            break
    return [*places, file.parent / name, file.parent.parent / "labels" / name]
