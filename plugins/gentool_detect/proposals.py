"""Proposals from outside of the network: boxes that may hold an object, for R-CNN and Fast R-CNN.

Selective search (Uijlings et al. 2013) is OpenCV's, of the extra `selective-search`. Where that is not installed, windows
of a few sizes and shapes are taken from a grid, those first whose border the picture's edges cross least for the edges
within them (the idea of Edge Boxes, Zitnick and Dollár 2014): quick, but with a lower recall.

Proposals are kept on disk, a file a picture, named by a digest of its pixels and of how they were made: a picture is
searched once, whatever the run. They are of the picture as the network sees it, so a run whose augmentation never shows
the same picture twice searches anew at every step: R-CNN and Fast R-CNN train without, or with mirrored pictures alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gentool import GentoolError, UsageError
from gentool.data.find import cache_folder, say_on_stderr
from gentool.runs.files import replace_file

from .nms import batched_nms

Engine = Literal["selective-search", "edges"]
VERSION = 1  # of the cached files
SMALLEST = 4  # pixels of a proposal's side
FINEST = 50  # k of the first segmentation (Felzenszwalb and Huttenlocher 2004): larger gives larger segments
INSTALL = "pip install 'gentool[selective-search]'"


@functools.cache
def engine_of(wanted: str) -> Engine:
    """The engine that "auto", "selective-search" or "edges" means here; said once where it is the lesser one."""
    there = importlib.util.find_spec("cv2") is not None
    if there:
        import cv2

        there = hasattr(cv2, "ximgproc")
    if wanted == "edges" or (wanted == "auto" and not there):
        if wanted == "auto":
            say_on_stderr(f"Proposals are windows scored by edges; for selective search: {INSTALL}.")
        return "edges"
    if not there:
        raise UsageError(
            f"Selective search needs OpenCV with its contributed modules: {INSTALL}; or use --set model.proposer=edges."
        )
    return "selective-search"


def propose(images: Tensor, size: Tensor, wanted: str, most: int, mode: str = "fast") -> list[Tensor]:
    """At most `most` boxes float32 (P, 4) for each of pictures (N, 3, H, W) in [-1, 1], the likeliest first."""
    engine = engine_of(wanted)
    how = f"{engine} {mode}" if engine == "selective-search" else engine
    found = []
    for image, (height, width) in zip(images.detach().float().cpu(), size.tolist(), strict=True):
        pixels = ((image[:, :height, :width] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        boxes = cached(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()), how)[:most]
        found.append(torch.from_numpy(boxes.astype(np.float32)).to(images.device))
    return found


def cached(pixels: NDArray[np.uint8], how: str, folder: Path | None = None) -> NDArray[np.int16]:
    """The proposals of a picture, uint8 (H, W, 3): int16 (P, 4), from the cache or made and put there.

    how: "edges", "selective-search fast" or "selective-search quality".
    """
    folder = folder or cache_folder().parent / "proposals"
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16)
    digest.update(repr((VERSION, how, pixels.shape)).encode())
    name = digest.hexdigest()
    file = folder / name[:2] / f"{name}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # not there, or torn: made again
        kept = np.load(file, allow_pickle=False)
        if kept.dtype == np.int16 and kept.ndim == 2 and kept.shape[1] == 4:
            return kept  # type: ignore[no-any-return]
    boxes = edge_windows(pixels) if how == "edges" else search(pixels, how.split()[1])
    with io.BytesIO() as buffer:
        np.save(buffer, boxes)
        data = buffer.getvalue()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, data, sync=False)
    except (OSError, GentoolError) as error:  # a cache that cannot be written costs time, not the run
        warnings.warn(f"The proposals' cache '{folder}' cannot be written: {error}", stacklevel=2)
    return boxes


def search(pixels: NDArray[np.uint8], mode: str) -> NDArray[np.int16]:
    """Selective search on the picture (H, W, 3) as it is: x1 y1 x2 y2, the likeliest first.

    The first segments are finer than OpenCV's default (k = 50, not 150), for pictures here are small: on bccd at 320x240
    that finds all platelets, not half of them.
    """
    import cv2

    cv2.setRNGSeed(0)  # the order of proposals has random parts
    made = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    made.setBaseImage(np.ascontiguousarray(pixels[:, :, ::-1]))
    if mode == "quality":
        made.switchToSelectiveSearchQuality(FINEST, 100, 0.8)
    else:
        made.switchToSelectiveSearchFast(FINEST, FINEST, 0.8)
    x, y, w, h = np.asarray(made.process()).reshape(-1, 4).T
    large = (w >= SMALLEST) & (h >= SMALLEST)
    boxes: NDArray[np.int16] = np.stack((x, y, x + w, y + h), 1)[large].astype(np.int16)
    return boxes


def edge_windows(pixels: NDArray[np.uint8], most: int = 2000) -> NDArray[np.int16]:
    """Windows of eight sizes and five shapes, the best by their edges first, none nearly the same as a better one."""
    height, width, _ = pixels.shape
    grey = pixels.astype(np.float32).mean(2)
    gy, gx = np.gradient(grey) if min(grey.shape) > 1 else (np.zeros_like(grey), np.zeros_like(grey))
    strength = np.hypot(gx, gy)
    table = np.pad(strength, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    windows = _windows(height, width)
    x1, y1, x2, y2 = windows.T
    mx, my = np.maximum(1, (x2 - x1) // 8), np.maximum(1, (y2 - y1) // 8)
    whole = _sum(table, x1, y1, x2, y2)
    middle = _sum(table, x1 + mx, y1 + my, np.maximum(x2 - mx, x1 + mx), np.maximum(y2 - my, y1 + my))
    outer = _sum(
        table, np.maximum(x1 - mx, 0), np.maximum(y1 - my, 0), np.minimum(x2 + mx, width), np.minimum(y2 + my, height)
    )
    around = 2.0 * (x2 - x1 + y2 - y1)
    score = ((whole - middle) - (outer - whole)) / around  # edges just within, none just outside
    first = np.argsort(-score, kind="stable")[: 4 * most]
    windows, score = windows[first], score[first]
    kept = batched_nms(torch.from_numpy(windows).float(), torch.from_numpy(score).float(), None, 0.75)
    best: NDArray[np.int16] = windows[kept[:most].numpy()].astype(np.int16)
    return best


def _windows(height: int, width: int) -> NDArray[np.int64]:
    """Windows within the picture: sides from 8 % of its shorter side to all of it, a fifth of a window apart."""
    short = min(height, width)
    found = []
    for share in np.geomspace(0.08, 1.0, 8):
        for ratio in (0.5, 0.71, 1.0, 1.41, 2.0):
            w = min(width, max(SMALLEST, round(short * share / ratio**0.5)))
            h = min(height, max(SMALLEST, round(short * share * ratio**0.5)))
            x, y = np.meshgrid(_starts(width, w), _starts(height, h))
            found.append(np.stack((x, y, x + w, y + h), -1).reshape(-1, 4))
    return np.unique(np.clip(np.concatenate(found), 0, [width, height, width, height]), axis=0)


def _starts(side: int, length: int) -> NDArray[np.int64]:
    """Where windows of a length begin along a side: a fifth of them apart, and two pixels at least."""
    return np.linspace(0, side - length, round((side - length) / max(2.0, length / 5)) + 1).astype(np.int64)


def _sum(
    table: NDArray[np.float32],
    x1: NDArray[np.int64],
    y1: NDArray[np.int64],
    x2: NDArray[np.int64],
    y2: NDArray[np.int64],
) -> NDArray[np.float32]:
    total: NDArray[np.float32] = table[y2, x2] - table[y1, x2] - table[y2, x1] + table[y1, x1]
    return total
