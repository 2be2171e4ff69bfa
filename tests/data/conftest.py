"""Every test of data has a cache of its own, finds no sets but those it makes, and is not told to stay offline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentool.data.find import Where


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GENTOOL_DATA", raising=False)
    monkeypatch.delenv("GENTOOL_OFFLINE", raising=False)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def where(said: list[str]) -> Callable[..., Where]:
    """A `Where` that collects what is said."""

    def make(**fields: object) -> Where:
        return Where(**{"say": said.append, **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a picture of noise and gives its path."""

    def make(path: Path, size: tuple[int, int] = (12, 12), mode: str = "RGB", seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = len(Image.new(mode, (1, 1)).getbands())
        shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
        noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        (Image.fromarray(noise > 127) if mode == "1" else Image.fromarray(noise, mode)).save(path)
        return path

    return make
