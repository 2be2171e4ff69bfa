"""Boxes with class and score drawn on pictures, so that they can be read on small pictures and on large ones."""

from __future__ import annotations

import colorsys
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from gentool.data.box_transforms import resized
from gentool.show.pixels import Pixels, drawable, font, near_square, text_width, to_bytes

if TYPE_CHECKING:
    from gentool.sampling import Detections, Samples

TILE = 280  # pixels a side to which small pictures are enlarged, so that names fit into their boxes
WIDEST = 1600  # of a grid
FEW, ORIGINAL = 4, 1600  # pictures that are drawn in their own pixels, and their longest side then
LISTED = 12  # detections of a picture that are named in the terminal
DARK = 24  # grey beside a picture that is narrower than others


def class_colour(index: int) -> tuple[int, int, int]:
    """A bright colour of a class, unlike those of its neighbours."""
    hue = (0.13 + index * 0.381966) % 1.0  # the golden angle: any few are well apart
    value = (1.0, 0.86)[index // 8 % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(
    image: Pixels, found: Detections, classes: Sequence[str] = (), *, factor: int = 1, names: bool = True
) -> Pixels:
    """A picture (H, W, 1 or 3), enlarged `factor` times, with boxes in its own pixels: uint8 (H', W', 3).

    The best are drawn last, so that nothing lies on them. A score of 1 is not written: that is the truth.
    """
    from gentool.show.grid import enlarge

    big = enlarge(colour_of(image), factor)
    picture = Image.fromarray(np.ascontiguousarray(big))
    pen = ImageDraw.Draw(picture)
    height, width = big.shape[:2]
    line = max(1, round(min(height, width) / 160))
    face = font(max(10, min(16, round(min(height, width) / 24))))
    order = range(len(found) - 1, -1, -1)
    boxes, scores, labels = found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()
    for i in order:
        x1, y1, x2, y2 = (value * factor for value in boxes[i])
        corners = (round(x1), round(y1), max(round(x1), round(x2) - 1), max(round(y1), round(y2) - 1))
        pen.rectangle(corners, outline=class_colour(labels[i]), width=line)
    if names:
        for i in order:
            _name(
                pen,
                boxes[i],
                factor,
                _text(labels[i], scores[i], classes),
                class_colour(labels[i]),
                face,
                (height, width),
            )
    return np.asarray(picture, dtype=np.uint8)


def _text(label: int, score: float, classes: Sequence[str]) -> str:
    name = drawable(_named(label, classes))
    return name if score >= 1 else f"{name} {score:.2f}"


def _name(
    pen: Any, box: list[float], factor: int, text: str, colour: tuple[int, int, int], face: Any, room: tuple[int, int]
) -> None:
    """The name on a flag: over the box where there is room, else inside at its top."""
    height, width = room
    tall = int(face.getbbox("Ág|")[3]) + 2
    wide = text_width(text, face) + 4
    x = min(max(0, round(box[0] * factor)), max(0, width - wide))
    y = round(box[1] * factor) - tall
    y = min(max(0, round(box[1] * factor)), height - tall) if y < 0 else y
    pen.rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour)
    dark = sum(channel * share for channel, share in zip(colour, (0.3, 0.59, 0.11))) > 120
    pen.text((x + 2, y), text, fill=(0, 0, 0) if dark else (255, 255, 255), font=face)


@dataclass(frozen=True)
class Shown:
    """A picture (H, W, C) with what is to be drawn on it, in its own pixels."""

    image: Pixels
    found: Detections
    truth: Detections | None = None


def shown(samples: Samples, *, original: bool = False) -> list[Shown]:
    """Each picture without what its canvas was filled up with, and its boxes of at least `Samples.least`; `original`
    reads the files that pictures came from again, where they are files."""
    assert samples.images is not None
    assert samples.detections is not None
    pixels = to_bytes(samples.images)
    sizes = samples.sizes.tolist() if samples.sizes is not None else [image.shape[:2] for image in pixels]
    made = []
    for i, (image, (h, w)) in enumerate(zip(pixels, sizes)):
        truth = samples.truth[i] if samples.truth is not None else None
        own = Shown(image[:h, :w], at_least(samples.detections[i], samples.least), truth)
        again = _file_of(samples, i) if original else None
        made.append(own if again is None else _scaled(own, again))
    return made


def _file_of(samples: Samples, i: int) -> Pixels | None:
    """The file that sample i came from, shrunk where it is huge; None where there is none that can be read."""
    from gentool.data.pictures import read_picture, tried

    path = samples.origins[i].path if samples.origins is not None else None
    if path is None:
        return None
    image = tried(read_picture, path, 3, 0)
    if isinstance(image, str):
        return None
    height, width = image.shape[1:]
    shrunk = min(1.0, ORIGINAL / max(height, width))
    return resized(np.ascontiguousarray(image.transpose(1, 2, 0)), round(height * shrunk), round(width * shrunk))


def _scaled(own: Shown, image: Pixels) -> Shown:
    """The same on another copy of the picture."""
    scale = [image.shape[1] / own.image.shape[1], image.shape[0] / own.image.shape[0]] * 2
    return Shown(image, moved(own.found, scale), None if own.truth is None else moved(own.truth, scale))


def moved(found: Detections, scale: Sequence[float]) -> Detections:
    """Boxes times (x, y, x, y)."""
    return replace(found, boxes=found.boxes * found.boxes.new_tensor(scale))


def at_least(found: Detections, least: float) -> Detections:
    """Those with at least that score."""
    kept = found.scores >= least
    return type(found)(found.boxes[kept], found.scores[kept], found.labels[kept])


def grid_with_boxes(samples: Samples) -> Image.Image:
    """Samples that have detections as one picture; where the truth is known, it stands above what was found.

    Few pictures that came from files are drawn as these are, not as the model saw them.
    """
    from gentool.show.grid import make_grid

    pictures = shown(samples, original=len(samples) <= FEW)
    height, width = (max(one.image.shape[axis] for one in pictures) for axis in (0, 1))
    columns = min(samples.columns or near_square(len(pictures)), len(pictures))
    factor = max(1, min(-(-TILE // max(height, width)), WIDEST // (columns * width)))
    shrunk = min(1.0, WIDEST * 1.25 / (columns * width))
    room = max(1, round(height * shrunk)) * factor, max(1, round(width * shrunk)) * factor
    rows = _rows(pictures, columns, samples.captions)
    page = np.full((len(rows), *room, 3), 255, np.uint8)
    for tile, (one, found, _) in zip(page, rows):
        if one is None or found is None:
            continue
        h, w = round(one.image.shape[0] * shrunk), round(one.image.shape[1] * shrunk)
        small = Shown(one.image, found) if shrunk == 1 else _scaled(Shown(one.image, found), resized(one.image, h, w))
        drawn = draw_boxes(small.image, small.found, samples.classes, factor=factor)
        tile[: drawn.shape[0], : drawn.shape[1]] = drawn
    captions = [caption for _, _, caption in rows]
    return make_grid(
        page.transpose(0, 3, 1, 2),
        columns=columns,
        captions=captions if any(captions) else None,
        title=samples.title or None,
        scale=1,
    )


def _rows(
    pictures: Sequence[Shown], columns: int, captions: Sequence[str] | None
) -> list[tuple[Shown | None, Detections | None, str]]:
    """The tiles of a grid in order: (picture, boxes, caption); an empty tile fills a row of truths that is not full."""
    words = list(captions or []) + [""] * len(pictures)
    if all(one.truth is None for one in pictures):
        return [(one, one.found, word) for one, word in zip(pictures, words)]
    tiles: list[tuple[Shown | None, Detections | None, str]] = []
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        last = start + columns >= len(pictures)
        tiles += [(one, one.truth, f"truth{': ' if word else ''}{word}") for one, word in zip(row, words[start:])]
        tiles += [] if last and len(pictures) <= columns else [(None, None, "")] * (columns - len(row))
        tiles += [(one, one.found, "found") for one in row]
    return tiles


# -- in the terminal ---------------------------------------------------------------------------------------------------


def show_boxes(samples: Samples, mode: str = "auto", title: str = "", stream: IO[str] | None = None) -> int:
    """Samples that have detections in the terminal, with the names of what is drawn; gives how many pictures were shown.

    Boxes are drawn when the pictures have the terminal's size, a pixel a cell wide, so that no line is lost.
    """
    from gentool.show.terminal import fit_columns, lay_out, picture_stream, show_image, terminal_size

    target = stream or picture_stream()
    pictures = shown(samples)
    if mode in ("sixel", "kitty"):
        return len(pictures) if show_image(grid_with_boxes(samples), mode, stream, title=samples.title or title) else 0
    wide = terminal_size(target)[0] - 1
    height, width = (max(one.image.shape[axis] for one in pictures) for axis in (0, 1))
    layout = fit_columns(len(pictures), height, width, max_width=max(wide, 1))
    tiles = np.full((layout.shown, layout.height, layout.width, 3), DARK, np.uint8)
    for tile, one in zip(tiles, pictures):
        shrunk = min(layout.height / one.image.shape[0], layout.width / one.image.shape[1])
        h, w = max(1, int(one.image.shape[0] * shrunk)), max(1, int(one.image.shape[1] * shrunk))
        small = _scaled(one, resized(colour_of(one.image), h, w))
        tile[:h, :w] = draw_boxes(small.image, small.found, names=False)
    text = samples.title or title
    if layout.shown < len(pictures):
        text = f"{text} (the first {layout.shown} of {len(pictures)})".strip()
    if not show_image(lay_out(tiles, layout), mode, target, title=text):
        return 0
    _legend(pictures[: layout.shown], samples.classes, target or sys.stderr)
    return layout.shown


def _legend(pictures: Sequence[Shown], classes: Sequence[str], stream: IO[str]) -> None:
    """What the colours mean: of one picture each box, of several how many of each class."""
    from gentool.show.terminal import color_depth, is_terminal
    from gentool.show.text import clip, safe_text, write

    if len(pictures) == 1:
        found = pictures[0].found
        rows = list(zip(found.labels.tolist(), found.scores.tolist()))
        entries = [(label, f"{_named(label, classes)} {score:.2f}") for label, score in rows[:LISTED]]
        entries += [(-1, f"and {len(rows) - LISTED} more")] if len(rows) > LISTED else []
    else:
        counts = Counter(label for one in pictures for label in one.found.labels.tolist())
        entries = [(label, f"{_named(label, classes)} {n}") for label, n in sorted(counts.items())]
    if not entries:
        write("nothing found\n", stream)
        return
    if color_depth() is None or not is_terminal(stream):
        write(clip(", ".join(safe_text(word) for _, word in entries), 200) + "\n", stream)
        return
    from rich.console import Console
    from rich.text import Text

    line = Text()
    for label, word in entries:
        line.append("  " if line else "")
        line.append("■ " if label >= 0 else "", style="#{:02x}{:02x}{:02x}".format(*class_colour(max(label, 0))))
        line.append(safe_text(word))
    Console(file=stream, force_terminal=True, color_system=color_depth()).print(line)


def _named(label: int, classes: Sequence[str]) -> str:
    return classes[label] if 0 <= label < len(classes) else str(label)


def colour_of(image: Pixels) -> Pixels:
    """(H, W, 3) of a grey or a colour picture."""
    return image if image.shape[2] == 3 else image.repeat(3, axis=2)
