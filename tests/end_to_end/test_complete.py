"""gentool sample MODEL --complete FILE: the given rows stay as they are, whatever the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gentool import Batch, Partial, Samples
from gentool.cli.complete import with_original
from gentool.sampling import Given

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
    call = ("sample", "made", "--complete", picture, "-n", "6", "--out", "made.png", "--quiet")
    assert cli(*call).code == 0
    assert Image.open("made.png").size[0] > 8

    whole = torch.arange(64.0).view(1, 1, 8, 8) / 32 - 1
    drawn = [Partial(1, 2), Samples(images=torch.ones(2, 1, 8, 8)), Samples(images=torch.ones(1, 1, 8, 8))]
    given = Given(Batch(images=whole.expand(3, -1, -1, -1)), [])
    events = list(with_original(iter(drawn), given, {"rows": 3}))
    assert events[0] is drawn[0]
    assert [len(e) for e in events[1:]] == [2, 2, 1]
    assert torch.equal(events[1].images[0], whole[0])
    assert torch.equal(events[1].images[1, :, :3], whole[0, :, :3])
    assert (events[1].images[1, :, 3:] == 0).all()
    assert events[1].captions == ["picture", "3 of 8 rows"]


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
