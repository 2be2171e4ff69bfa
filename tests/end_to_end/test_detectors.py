"""Detectors from the command line, by a tiny one: train, preview, run on a user's pictures, write results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

FAMILY = str(Path(__file__).parents[1] / "tiny_boxes.py")


@pytest.fixture(autouse=True)
def tiny() -> None:
    from gentool.registry import use_plugin_files

    use_plugin_files([FAMILY])


@pytest.fixture
def trained(cli: Callable[..., Any]) -> Path:
    done = cli("train", "tiny-boxes", "--preset", "debug", "--name", "own", "--json", "--quiet")
    assert done.code == 0, done.err
    return Path(json.loads(done.out)["run"])


def photo(name: str, height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(name)


def test_a_day_with_a_detector(cli: Callable[..., Any], trained: Path) -> None:
    assert {path.name for path in (trained / "samples").glob("*.png")} >= {"000002.png"}
    photo("street.png", 300, 900)
    photo("tall.png", 700, 200)
    result = cli("sample", "own", "--image", "street.png", "--image", "tall.png", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert [entry["image_id"] for entry in found] == ["street.png", "tall.png"]
    assert {entry["category_id"] for entry in found} <= set(range(1, 7))
    for entry, (height, width) in zip(found, [(300, 900), (700, 200)]):
        x, y, w, h = entry["bbox"]
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
        # The tiny net's boxes are at least a tenth of each side: in the pictures' own pixels, not the model's.
        assert w >= 0.1 * width - 1e-3
        assert h >= 0.1 * height - 1e-3
    assert cli("sample", "own", "--image", "street.png", "--image", "tall.png", "--out", "found.json").code == 0
    assert json.loads(Path("found.json").read_text()) == found

    drawn = cli("sample", "own", "--image", "street.png", "--out", "found.png")
    assert drawn.out == "found.png\n"
    assert Image.open("found.png").width > 600
    few = cli("sample", "own", "-n", "3", "--json")
    assert [entry["image_id"] for entry in json.loads(few.out)] == [0, 1, 2]
    assert "test" in few.err
    other = cli("sample", "own", "-n", "3", "--data", "scenes-one:validation", "--json")
    assert "scenes-one, validation" in other.err
    assert json.loads(other.out) != json.loads(few.out)


def test_a_folder_of_pictures(cli: Callable[..., Any], trained: Path) -> None:
    Path("pics").mkdir()
    photo("pics/b.png", 64, 64)
    photo("pics/a.jpg", 96, 64)
    Path("pics/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Path("pics/notes.txt").write_text("no picture")
    result = cli("sample", "own", "--image", "pics", "--json")
    assert result.code == 0, result.err
    assert [entry["image_id"] for entry in json.loads(result.out)] == ["a.jpg", "b.png"]
    assert "broken.jpg" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "none.png"], "none.png"),
        (["--image", "text.png"], "not a PNG"),
        (["--image", "empty"], "no PNG"),
        (["--out", "x.txt"], ".png or .json"),
        (["--out", "x.npy"], ".png or .json"),
        (["--data", "digits"], "digits"),
        (["--set", "scoer=1"], "score"),
    ],
)
def test_wrong_calls(cli: Callable[..., Any], trained: Path, arguments: list[str], words: str) -> None:
    Path("text.png").write_text("hello")
    Path("empty").mkdir()
    result = cli("sample", "own", *arguments)
    assert result.code == 2, result.err
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_sampler_of_its_own_pictures_takes_none(cli: Callable[..., Any]) -> None:
    photo("a.png", 64, 64)
    result = cli("sample", "vae", "--pretrained", "--image", "a.png")
    assert result.code == 2
    assert "no pictures" in result.err


def own_set(root: Path, names: list[str]) -> None:
    """Four pictures of different sizes in COCO's format, one annotation of which is wrong."""
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    images, boxes = [], []
    for i, (height, width) in enumerate([(90, 120), (64, 64), (200, 100), (70, 300)]):
        photo(str(root / "images" / f"{i}.jpg"), height, width)
        images.append({"id": 10 * i, "file_name": f"{i}.jpg"})
        boxes.append({"id": i, "image_id": 10 * i, "category_id": 4 + i % len(names), "bbox": [5, 6, 30, 40]})
    boxes.append({"id": 9, "image_id": 0, "category_id": 4, "bbox": [5, 6, -1, 40]})
    categories = [{"id": 4 + i, "name": name} for i, name in enumerate(names)]
    data = {"images": images, "annotations": boxes, "categories": categories}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(data))


def test_a_set_of_ones_own_that_is_gone_afterwards(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    own_set(Path("cats"), ["cat", "dog"])
    own_set(Path("birds"), ["bird"])
    done = cli("train", "tiny-boxes", "--preset", "debug", "--name", "own", "--data", "coco:cats", "--json")
    assert done.code == 0, done.err
    assert "box that ends before it begins: 1 left out" in done.err
    result = cli("sample", "own", "--json")
    found = json.loads(result.out)
    assert {entry["image_id"] for entry in found} == {0, 10, 20, 30}
    assert {entry["category_id"] for entry in found} <= {4, 5}
    other = cli("sample", "own", "--data", "coco:birds:train")
    assert other.code == 2
    assert "bird" in other.err
    shutil.rmtree("cats")
    again = cli("sample", "own", "-n", "3", "--json")
    assert again.code == 0, again.err
    assert "pictures that the checkpoint carries" in again.err
    assert len({entry["image_id"] for entry in json.loads(again.out)}) == 3
