"""`digits`: the 1,797 real handwritten digits that scikit-learn carries; the default everywhere, offline."""

from __future__ import annotations

import functools
import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gentool.data.find import Where
from gentool.data.sets import ImageSet, scramble

TRAIN, VALIDATION = 1437, 180  # and 180 for the test
CLASSES = tuple("0123456789")


@functools.cache
def _table() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(1797, 65): 64 grey values 0..16, then the label. Read from the file: importing scikit-learn takes a second."""
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            text = gzip.decompress(file.read_bytes()).replace(b"\n", b",")
            return np.fromstring(text, dtype=np.float64, sep=",").reshape(-1, 65).astype(np.uint8)
    from sklearn.datasets import load_digits

    data, target = load_digits(return_X_y=True)
    return np.concatenate([data, target[:, None]], axis=1).astype(np.uint8)


def digits(argument: str, split: str, where: Where) -> ImageSet:
    """8x8 grey. Splits: a fixed shuffle of all, the first 1,437 for training, 180 for validation, 180 for the test.

    The grey values 0..16 become 0..255: round(255 v / 16), so 17 different ones occur.
    """
    table = _table()
    order = scramble(len(table), salt=1)
    bounds = {"train": (0, TRAIN), "validation": (TRAIN, TRAIN + VALIDATION), "test": (TRAIN + VALIDATION, len(table))}
    start, stop = bounds[split]
    rows = table[order[start:stop]]
    grey = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return ImageSet("digits", split, torch.from_numpy(grey), torch.from_numpy(rows[:, 64].astype(np.int64)), CLASSES)
