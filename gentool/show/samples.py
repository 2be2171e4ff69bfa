"""Samples to a file, chunk by chunk: memory is bounded by the chunk, and the file appears whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gentool.errors import UsageError
from gentool.runs.files import disk_error
from gentool.sampling import Samples
from gentool.show.words import several_lines


def write_samples(path: Path, chunks: Iterator[Samples], n: int, most: int) -> Samples | None:
    """Write every chunk to `path` by its ending; gives what can be shown: the first `most` samples, or None.

    .png: a grid of the first `most`, with boxes where some were found. .npy: uint8 (n, H, W, C). .safetensors: uint8
    "images" (n, C, H, W) and int64 "labels". .json: a list of texts, or COCO results of what was found on pictures. .txt:
    the texts as they are, an empty line between two where they have several lines.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shown = _write(path, beside, chunks, n, most)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return shown


def _write(path: Path, beside: Path, chunks: Iterator[Samples], n: int, most: int) -> Samples | None:
    ending = path.suffix.lower()
    if ending == ".npy":
        return _write_arrays(beside, chunks, n, most, _NpyFile)
    if ending == ".safetensors":
        return _write_arrays(beside, chunks, n, most, _SafetensorsFile)
    if ending in (".txt", ".json"):
        return _write_text(beside, chunks, ending, path)
    shown = _keep(chunks, most)
    if shown is None or shown.images is None:
        raise UsageError(f"{path.name}: this model draws no pictures; name a .txt or .json file.")
    from gentool.show.grid import make_grid, write_png

    if shown.detections is not None:
        from gentool.show.boxes import grid_with_boxes

        write_png(grid_with_boxes(shown), beside)
        return shown

    grid = make_grid(shown.images, columns=shown.columns, captions=shown.captions, title=shown.title or None)
    write_png(grid, beside)
    return shown


def joined(chunks: Iterator[Samples]) -> Samples | None:
    """All chunks as one; None where there is none."""
    return _keep(chunks, sys.maxsize)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """[-1, 1] float to 0..255."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _keep(chunks: Iterator[Samples], most: int) -> Samples | None:
    """The first `most` samples of all chunks; the others are drawn, counted and dropped."""
    kept: Samples | None = None
    for chunk in chunks:
        kept = _join(kept, chunk, most)
    return kept


def _join(kept: Samples | None, chunk: Samples, most: int) -> Samples:
    if kept is None:
        kept = dataclasses.replace(
            chunk,
            images=None,
            labels=None,
            text=None,
            detections=None,
            sizes=None,
            origins=None,
            truth=None,
            captions=None,
            heatmaps={},
        )
    room = most - len(kept)
    if room > 0:
        for name in ("images", "labels", "sizes"):
            new = getattr(chunk, name)
            if new is not None:
                old = getattr(kept, name)
                new = new[:room].cpu()
                if old is not None and name == "images":
                    old, new = _one_canvas(old, new)
                setattr(kept, name, new if old is None else torch.cat([old, new]))
        for name in ("captions", "text", "detections", "origins", "truth"):
            words = getattr(chunk, name)
            if words is not None:
                setattr(kept, name, (getattr(kept, name) or []) + words[:room])
        for kind, maps in chunk.heatmaps.items():
            kept.heatmaps[kind] = kept.heatmaps.get(kind, []) + maps[:room]
    return kept


def _one_canvas(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both on canvases of one size, filled up at the right and below."""
    height, width = (max(a.shape[axis], b.shape[axis]) for axis in (2, 3))
    a, b = (torch.nn.functional.pad(t, (0, width - t.shape[3], 0, height - t.shape[2])) for t in (a, b))
    return a, b


def _write_text(beside: Path, chunks: Iterator[Samples], ending: str, path: Path) -> Samples | None:
    with beside.open("w", encoding="utf-8") as file:
        first, apart = True, False
        kept: Samples | None = None
        if ending == ".json":
            file.write("[")
        for chunk in chunks:
            if chunk.detections is not None and ending == ".json":
                from gentool.detections import coco_results

                for entry in coco_results(chunk):
                    file.write(("\n " if first else ",\n ") + json.dumps(entry))
                    first = False
                kept = _join(kept, chunk, 64)
                continue
            if chunk.text is None:
                raise UsageError(f"{path.name}: this model draws no text; name a .png, .npy or .safetensors file.")
            apart = apart or several_lines(chunk.text)
            for item in chunk.text:
                if ending == ".json":
                    file.write(("\n " if first else ",\n ") + json.dumps(item, ensure_ascii=False))
                else:
                    file.write(("\n" if apart and not first else "") + item + ("" if item.endswith("\n") else "\n"))
                first = False
            kept = _join(kept, chunk, 64)
        if ending == ".json":
            file.write("\n]\n")
    return kept


class _NpyFile:
    """uint8 (n, H, W, C), written row by row through a memory map."""

    def __init__(self, path: Path, n: int, shape: tuple[int, int, int], labelled: bool) -> None:
        c, h, w = shape
        self.array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, h, w, c))

    def put(self, start: int, images: torch.Tensor, labels: torch.Tensor | None) -> None:
        self.array[start : start + len(images)] = images.permute(0, 2, 3, 1).numpy()

    def close(self) -> None:
        self.array.flush()


class _SafetensorsFile:
    """The header is known beforehand, so the tensors are written in place as they come."""

    def __init__(self, path: Path, n: int, shape: tuple[int, int, int], labelled: bool) -> None:
        self.size = math.prod(shape)
        header: dict[str, Any] = {"images": {"dtype": "U8", "shape": [n, *shape], "data_offsets": [0, n * self.size]}}
        if labelled:
            # Eight-byte numbers want an eight-byte place; they come first.
            header["labels"] = {"dtype": "I64", "shape": [n], "data_offsets": [0, 8 * n]}
            header["images"]["data_offsets"] = [8 * n, 8 * n + n * self.size]
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.file = path.open("wb")
        self.file.write(len(text).to_bytes(8, "little") + text)
        self.labels_at = 8 + len(text)
        self.images_at = self.labels_at + (8 * n if labelled else 0)

    def put(self, start: int, images: torch.Tensor, labels: torch.Tensor | None) -> None:
        if labels is not None:
            self.file.seek(self.labels_at + 8 * start)
            self.file.write(labels.numpy().astype("<i8").tobytes())
        self.file.seek(self.images_at + start * self.size)
        self.file.write(images.contiguous().numpy().tobytes())

    def close(self) -> None:
        self.file.close()


def _write_arrays(
    beside: Path, chunks: Iterator[Samples], n: int, most: int, kind: type[_NpyFile] | type[_SafetensorsFile]
) -> Samples | None:
    file: _NpyFile | _SafetensorsFile | None = None
    kept: Samples | None = None
    start = 0
    for chunk in chunks:
        if chunk.images is None:
            raise UsageError("This model draws no pictures; name a .txt or .json file.")
        images = to_uint8(chunk.images.cpu())
        labels = None if chunk.labels is None else chunk.labels.cpu()
        if file is None:
            _, c, h, w = images.shape
            file = kind(beside, n, (c, h, w), labels is not None)
        file.put(start, images, labels)
        start += len(images)
        kept = _join(kept, chunk, min(most, 64))
    if file is not None:
        file.close()
    return kept
