"""Pictures of a user's, or of a split, for samplers that start from pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gentool.data import transforms
from gentool.data.batch import Batch, DataInfo
from gentool.data.box_transforms import Example, fitted_size, resized
from gentool.data.boxes import CANVAS_PIXELS, canvas, collate
from gentool.data.config import BoxesConfig, DataConfig
from gentool.data.pictures import SUFFIXES, BadPicture, from_jpeg, read_header, read_picture
from gentool.errors import UsageError
from gentool.sampling import Given, Origin
from gentool.show.text import safe_text

CHUNK = 250


def picture_files(words: Sequence[str], say: Callable[[str], None]) -> list[Path]:
    """The pictures that are named: files, and all in a folder, by name. What cannot be read is refused where it is
    named, and left out of a folder."""
    files: list[Path] = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            files += _in_folder(path, word, say)
            continue
        try:
            read_header(path)
        except BadPicture as error:
            raise UsageError(f"The picture '{safe_text(word)}' cannot be used: {error}.") from None
        files.append(path)
    return files


def _in_folder(path: Path, word: str, say: Callable[[str], None]) -> list[Path]:
    kept = []
    for file in sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")):
        try:
            read_header(file)
            kept.append(file)
        except BadPicture as error:
            say(f"Left out '{safe_text(str(file))}': {error}.")
    if not kept:
        raise UsageError(f"The folder '{safe_text(word)}' has no PNG, JPEG, WebP or BMP picture that can be used.")
    return kept


def _read(path: Path, channels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (channels, H, W)."""
    try:
        return read_picture(path, channels, 0)
    except BadPicture as error:
        raise UsageError(f"The picture '{safe_text(str(path))}' cannot be used: {error}.") from None


def whole_pictures(files: Sequence[Path], config: BoxesConfig, info: DataInfo, device: torch.device) -> Iterator[Given]:
    """Pictures of any size, resized as in evaluation, each on the top left of a canvas, without boxes."""
    waiting: list[Example] = []
    origins: list[Origin] = []
    for place, path in enumerate(files):
        pixels = np.ascontiguousarray(_read(path, 3).transpose(1, 2, 0))
        example = without_boxes(pixels, place, config)
        if waiting and (len(waiting) + 1) * int(np.prod(canvas([*waiting, example]))) > CANVAS_PIXELS:
            yield Given(collate(waiting, device), origins, own=True)
            waiting, origins = [], []
        waiting.append(example)
        origins.append(Origin(path.name, path.name, pixels.shape[:2], path))
    if waiting:
        yield Given(collate(waiting, device), origins, own=True)


def without_boxes(pixels: np.ndarray[Any, np.dtype[np.uint8]], place: int, config: BoxesConfig) -> Example:
    """A picture (H, W, 3) at the size of the settings, as an example that has no boxes."""
    height, width = pixels.shape[:2]
    image = resized(pixels, *fitted_size(height, width, config))
    scale = np.array([image.shape[1] / width, image.shape[0] / height])
    none = np.zeros(0)
    return Example(place, image, np.zeros((0, 4)), none.astype(np.int64), none.astype(bool), none, scale)


def square_pictures(files: Sequence[Path], config: DataConfig, info: DataInfo, device: torch.device) -> Iterator[Given]:
    """Pictures of one size, centre-cropped, resized and quantised to what the model was trained on."""
    if info.image is None or info.image[0] not in (1, 3):
        raise UsageError("This model was not trained on pictures that a file could give it.")
    channels, height, width = info.image
    for start in range(0, len(files), CHUNK):
        made, origins = [], []
        for path in files[start : start + CHUNK]:
            pixels = _read(path, channels)
            made.append(_fitted(pixels, height, width))
            origins.append(Origin(path.name, path.name, (pixels.shape[1], pixels.shape[2]), path))
        images = transforms.quantise(torch.from_numpy(np.stack(made)), info.levels)
        index = torch.arange(start, start + len(made))
        yield Given(_on(Batch(images=transforms.to_float(images, info.levels), index=index), device), origins, own=True)


def _fitted(pixels: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(C, H, W) cropped about the centre to the aspect of (height, width), and resized: bicubic, antialiased."""
    have_h, have_w = pixels.shape[1:]
    factor = min(have_h / height, have_w / width)
    h, w = max(1, round(height * factor)), max(1, round(width * factor))
    top, left = (have_h - h) // 2, (have_w - w) // 2
    part = pixels[:, top : top + h, left : left + w].transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(part[:, :, 0] if part.shape[2] == 1 else part))
    made = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0))
    return made[None] if made.ndim == 2 else np.ascontiguousarray(made.transpose(2, 0, 1))


def carried(info: DataInfo, n: int, device: torch.device) -> Iterator[Given]:
    """The first n pictures that a checkpoint carries, with their boxes; `UsageError` where they are damaged."""
    examples: list[Example] = []
    origins: list[Origin] = []
    try:
        for place, entry in enumerate(list(info.extra.get("examples", ()))[:n]):
            pixels = np.ascontiguousarray(from_jpeg(entry["jpeg"]).transpose(1, 2, 0))
            boxes = np.array(entry["boxes"], dtype=np.float64).reshape(-1, 4)
            labels = np.array(entry["labels"], dtype=np.int64).reshape(-1)
            sides = boxes[:, 2:] - boxes[:, :2]
            examples.append(
                Example(
                    place, pixels, boxes, labels, np.zeros(len(labels), bool), sides[:, 0] * sides[:, 1], np.ones(2)
                )
            )
            origins.append(Origin(str(entry["name"]), str(entry["name"]), pixels.shape[:2]))
        batch = collate(examples, device) if examples else None
    except (ValueError, TypeError, KeyError, OverflowError, RuntimeError):
        raise UsageError("The pictures that this checkpoint carries are damaged; name some: --image FILE.") from None
    if batch is not None:
        yield Given(batch, origins)


def from_split(pipeline: Any, split: str, n: int) -> Iterator[Given]:
    """The first n pictures of a split, with what a batch of it has beside them."""
    for batch in pipeline.batches(split, CHUNK, n):
        places = batch.index.tolist()
        named = getattr(pipeline, "origin", None)
        size = tuple(batch.images.shape[2:])
        yield Given(batch, [named(split, i) if named else Origin(f"{split} {i}", i, size) for i in places])


def _on(batch: Batch, device: torch.device) -> Batch:
    return batch.map(lambda tensor: tensor.to(device))
