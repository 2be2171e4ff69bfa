"""What lies under samples/ of a run: pictures and texts by kind and step, read so that nothing they hold can do harm. Light.

000500.png, 000500.txt           what the model drew at step 500: the kind "samples"
000500-reconstructions.png       another kind at that step
000500-attention.json            heat maps (gentool.runs.maps), another kind
vae-interpolate.png              without a step: drawn afterwards, the kind "drawn"
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gentool.evaluating import HeatMap
from gentool.runs.maps import LARGEST, parse_maps
from gentool.runs.metrics import open_regular
from gentool.show.text import safe_text

if TYPE_CHECKING:
    from gentool.runs.sidecar import Boxes
    from gentool.show.pixels import Pixels

MAX_TEXT = 1_000_000  # bytes of a text that are shown
MAX_FILE = 64_000_000  # bytes of a picture's file
SAMPLES, DRAWN = "samples", "drawn"
_NAME = re.compile(r"(\d{1,12})(?:-(.+))?")


@dataclass(frozen=True)
class Shot:
    """One file: its kind, the step it was made at (None: afterwards), and what tells one state of it from another."""

    kind: str
    step: int | None
    path: Path
    stamp: tuple[int, int]


@dataclass(frozen=True)
class Found:
    """Boxes of one picture: what a detector found, or (every score 1) what truly is there. boxes: x1 y1 x2 y2 in pixels of
    the picture as it is shown; names of classes."""

    boxes: Sequence[Sequence[float]]
    scores: Sequence[float]
    labels: Sequence[int]
    names: Sequence[str]


@dataclass(frozen=True)
class Look:
    """What a file holds: pictures (n, H, W, C), each with its caption, laid out in columns; or a text; or heat maps; or a
    problem.

    Of a detector's, each picture is the top left of its canvas (`sizes`), `found` says what was found on it, `truth` what
    is there (empty where that is not known of all); `least` is the score from which boxes are to be drawn at first.
    """

    pixels: Pixels | None = None
    columns: int | None = None
    captions: Sequence[str] = ()
    title: str = ""
    text: str | None = None
    maps: Sequence[HeatMap] = ()
    problem: str = ""
    sizes: Sequence[tuple[int, int]] = ()
    found: Sequence[Found] = ()
    truth: Sequence[Found] = ()
    least: float = 0.0


def shots(run: Path) -> dict[str, list[Shot]]:
    """The files of a run by kind, each in the order of its steps (or of time); "samples" is the first kind, "drawn" the
    last. Empty where there are none, or none can be read."""
    found: list[Shot] = []
    with contextlib.suppress(OSError), os.scandir(run / "samples") as entries:
        for entry in entries:
            stem, dot, ending = entry.name.rpartition(".")
            if entry.name[0] == "." or not dot or ending not in ("png", "txt", "json"):
                continue
            with contextlib.suppress(OSError):
                about = entry.stat()
                named = _NAME.fullmatch(stem)
                if ending == "json" and not (named and named[2]):
                    continue
                kind = (named[2] or SAMPLES) if named else DRAWN
                step = int(named[1]) if named else None
                found.append(Shot(kind, step, Path(entry.path), (about.st_mtime_ns, about.st_size)))
    drawn = {shot.path.stem for shot in found if shot.path.suffix != ".json"}
    found = [shot for shot in found if shot.path.suffix != ".json" or shot.path.stem not in drawn]  # else a sidecar
    found.sort(key=lambda shot: (shot.step if shot.step is not None else shot.stamp[0], shot.path.name))
    kinds = {shot.kind for shot in found}
    order = sorted(kinds, key=lambda kind: (kind != SAMPLES, kind == DRAWN, kind))
    gallery = {}
    for kind in order:
        own = [shot for shot in found if shot.kind == kind]
        # The last preview of a run is drawn twice: of one step, the later file counts.
        last = {(shot.step if shot.step is not None else shot.path.name): shot for shot in own}
        gallery[kind] = list(last.values())
    return gallery


def look(path: Path) -> Look:
    """What a file holds. Never raises for what is in it: a file that is cut short, too large or no picture is a problem in
    words. Imports Pillow."""
    name = safe_text(path.name)
    file = open_regular(path)
    if file is None:
        return Look(problem=f"{name} is gone, or cannot be read.")
    try:
        with file:
            if path.suffix == ".txt":
                data = file.read(MAX_TEXT + 1)
                cut = "\n…" if len(data) > MAX_TEXT else ""
                return Look(text=data[:MAX_TEXT].decode("utf-8", "replace") + cut)
            if path.suffix == ".json":
                return Look(maps=parse_maps(file.read(LARGEST + 1)))
            size = os.fstat(file.fileno()).st_size
            if not size:
                return Look(problem=f"{name} is empty.")
            if size > MAX_FILE:
                return Look(problem=f"{name} is over {MAX_FILE // 1_000_000} MB.")
            beside = open_regular(path.with_suffix(".json"))
            if beside is not None:
                with beside:
                    if (found := _sidecar(beside)) is not None:
                        return found
            return _picture(file, name)
    except OSError as error:
        return Look(problem=f"{name} cannot be read: {error.strerror or error}.")
    except ValueError as error:
        return Look(problem=f"{name} cannot be shown: {safe_text(error)[:160]}.")


def _picture(file: IO[bytes], name: str) -> Look:
    from gentool.data.pictures import BadPicture, read_page
    from gentool.show.grid import KEY, read_sheet

    try:
        page, texts = read_page(file)
    except BadPicture as error:
        return Look(problem=f"{name} cannot be shown: {safe_text(error)[:160]}.")
    sheet = read_sheet(texts.get(KEY, ""), page.shape[0], page.shape[1])
    if sheet is None:
        return Look(pixels=page[None])
    captions = [safe_text(words) for words in sheet.captions]
    return Look(pixels=sheet.cut(page), columns=sheet.columns, captions=captions, title=safe_text(sheet.title))


def _sidecar(file: IO[bytes]) -> Look | None:
    """A detector's (`gentool.runs.sidecar`); None for anything else: then the PNG is shown."""
    import numpy as np

    from gentool.runs.sidecar import MOST_BYTES, parse

    try:
        about = parse(file.read(MOST_BYTES + 1))
    except ValueError:
        return None
    classes = [safe_text(name) for name in about.classes]
    sizes = [entry.image.shape[:2] for entry in about.pictures]
    canvas = np.zeros((len(sizes), max(h for h, _ in sizes), max(w for _, w in sizes), 3), np.uint8)
    for place, entry in zip(canvas, about.pictures, strict=True):
        place[: entry.image.shape[0], : entry.image.shape[1]] = entry.image
    truth = [_found(entry.truth, classes) for entry in about.pictures if entry.truth is not None]
    return Look(
        pixels=canvas,
        captions=[safe_text(entry.name) for entry in about.pictures],
        title=safe_text(about.title),
        sizes=sizes,
        found=[_found(entry.found, classes) for entry in about.pictures],
        truth=truth if len(truth) == len(sizes) else (),
        least=about.least,
    )


def _found(boxes: Boxes, classes: Sequence[str]) -> Found:
    labels = boxes.labels.tolist()
    return Found(boxes.boxes.tolist(), boxes.scores.tolist(), labels, [classes[label] for label in labels])
