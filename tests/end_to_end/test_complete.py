"""gentool sample MODEL --complete FILE: the given rows stay as they are, whatever the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MODELS = ["nade", "made", "pixelrnn", "pixelcnn"]


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """A grey picture twice as large as the models' 8x8."""
    grey = (np.indices((16, 16)).sum(0) * 8).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "picture.png")
    return "picture.png"


@pytest.mark.parametrize("model", MODELS)
def test_upper_rows_are_kept_and_the_rest_is_drawn(cli: Callable[..., Any], picture: str, model: str) -> None:
    assert cli("train", model, "--preset", "debug", "--quiet").code == 0
    call = ["sample", model, "--complete", picture, "--rows", "3", "-n", "6", "--quiet"]
    assert cli(*call, "--out", "made.npy").code == 0
    made = np.load("made.npy")
    assert made.shape == (6, 8, 8, 1)
    assert (made[:, :3] == made[:1, :3]).all()
    assert not (made[:, 3:] == made[:1, 3:]).all()
    levels = 2 if model in ("nade", "made") else 17
    small = np.asarray(Image.open(picture).resize((8, 8), Image.Resampling.BICUBIC, reducing_gap=3.0))
    expected = np.round((small.astype(int) * levels // 256) * 255 / (levels - 1)).astype(np.uint8)
    assert np.array_equal(made[0, :3, :, 0], expected[:3])
    assert cli(*call, "--out", "again.npy").code == 0
    assert np.array_equal(np.load("again.npy"), made)


def test_a_grid_shows_the_picture_first(cli: Callable[..., Any], picture: str) -> None:
    assert cli("train", "made", "--preset", "debug", "--quiet").code == 0
    assert cli("sample", "made", "--complete", picture, "-n", "2", "--out", "two.png", "--quiet").code == 0
    assert cli("sample", "made", "--complete", picture, "-n", "6", "--out", "six.png", "--quiet").code == 0
    two, six = Image.open("two.png"), Image.open("six.png")
    assert six.width * six.height > two.width * two.height


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("--rows 3", "--complete"),
        ("--complete picture.png --rows 9", "8 rows"),
        ("--complete picture.png --image picture.png", "--image"),
        ("--complete nothing.png", "cannot be used"),
        ("--complete picture.png --sampler ancestral", "starts from no pictures"),
    ],
)
def test_refusals(cli: Callable[..., Any], picture: str, call: str, words: str) -> None:
    assert cli("train", "made", "--preset", "debug", "--quiet").code == 0
    result = cli("sample", "made", *call.split())
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err


def test_a_model_without_a_density_is_refused(cli: Callable[..., Any], picture: str) -> None:
    assert cli("train", "ae", "--preset", "debug", "--quiet").code == 0
    result = cli("sample", "ae", "--complete", picture)
    assert result.code == 2
    assert "grid-density" in result.err
