"""The real sets where GENTOOL_DATA has them: counts, published means, and pixels against an independent reading."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gentool.data.config import DataConfig, PairsConfig, TextConfig
from gentool.data.images import ImagePipeline as Pipeline
from gentool.data.pipeline import open_pipeline
from gentool.errors import UsageError

PLACES = [Path(word) for word in os.environ.get("GENTOOL_DATA", "").split(os.pathsep) if word]
CACHE = os.environ.get("XDG_CACHE_HOME")


def place_of(name: str) -> Path:
    for place in PLACES:
        if (place / name).is_dir():
            return place
    pytest.skip(f"{name} is not under GENTOOL_DATA")


def opened(name: str, **settings: object) -> Pipeline:
    return open_pipeline(DataConfig(name=name, dir=str(place_of(name)), **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_published_means_and_class_counts(name: str, mean: float, std: float) -> None:
    made = opened(name)
    assert [made.count(split) for split in ("train", "validation", "test")] == [55_000, 5_000, 10_000]
    parts = [made.split("train").images, made.split("validation").images]
    pixels = np.concatenate([part.numpy() for part in parts]) / 255
    assert round(float(pixels.mean()), 4) == mean
    assert round(float(pixels.std()), 4) == std
    labels = np.concatenate([made.split(split).labels.numpy() for split in ("train", "validation")])
    mnist = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(labels).tolist() == (mnist if name == "mnist" else [6000] * 10)
    assert min(np.bincount(made.split("validation").labels.numpy())) > 400
    # Pixels: a part of the file, read by its offset.
    raw = gzip.decompress((place_of(name) / name / "t10k-images-idx3-ubyte.gz").read_bytes())
    at = 16 + 784 * 1234
    assert made.split("test").images[1234].numpy().tobytes() == raw[at : at + 784]


def test_binarised_mnist_keeps_its_mean() -> None:
    """Stochastic binarisation has the grey values as its mean, so the mean of the test is that of its greys."""
    grey, drawn = opened("mnist"), opened("mnist", binarize="stochastic")
    mean = grey.split("test").images.double().mean() / 255
    ones = np.mean([float(batch.images.mean() + 1) / 2 for batch in drawn.batches("test", 1000)])
    assert abs(float(mean) - ones) < 5e-4


@pytest.mark.slow
def test_cifar10() -> None:
    made = opened("cifar10")
    assert [made.count(split) for split in ("train", "validation", "test")] == [45_000, 5_000, 10_000]
    assert np.bincount(made.split("validation").labels.numpy()).tolist() == [500] * 10
    assert np.bincount(made.split("test").labels.numpy()).tolist() == [1000] * 10
    ours = {image.numpy().tobytes() for image in made.split("test").images}
    with tarfile.open(place_of("cifar10") / "cifar10" / "cifar10_jpeg.tar.xz") as archive:
        for name in ("test/cat/0007.jpg", "test/truck/0999.jpg"):
            stream = archive.extractfile(name)
            assert stream is not None
            image = np.asarray(Image.open(io.BytesIO(stream.read())))
            assert np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes() in ours


def test_omniglot() -> None:
    made = opened("omniglot")
    counts = {split: made.count(split) for split in ("train", "validation", "test")}
    assert counts == {"train": 242 * 16, "validation": 242 * 2, "test": 242 * 2}
    assert len(made.info.classes) == 242
    for split, each in (("train", 16), ("validation", 2), ("test", 2)):
        assert np.bincount(made.split(split).labels.numpy()).tolist() == [each] * 242
    with zipfile.ZipFile(place_of("omniglot") / "omniglot" / "images_background_small1.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("_20.png") and "/Greek/" in n)
        ink = ~np.asarray(Image.open(io.BytesIO(archive.read(name))))
    test = made.split("test")
    assert any((image[0].numpy() == ink * 255).all() for image in test.images)
    assert 0.05 < float(test.images.double().mean() / 255) < 0.1  # ink is bright, and there is little of it


def test_tinyshakespeare_and_its_damaged_copy(tmp_path: Path) -> None:
    place = place_of("tinyshakespeare")
    run = open_pipeline(TextConfig(name="shakespeare", dir=str(place)))
    raw = (place / "tinyshakespeare" / "input.txt").read_text("ascii")
    assert run.tokenizer.size == 65
    assert run.split("train").text == raw[:1_003_854]
    assert run.split("validation").text == run.split("test").text == raw[1_003_854:]
    (tmp_path / "input.txt").write_text(raw[:-1] + "x")
    with pytest.raises(UsageError, match="is not tinyshakespeare"):
        open_pipeline(TextConfig(name="tinyshakespeare", dir=str(tmp_path))).count("train")


def test_eng_fra_keeps_an_english_sentence_in_one_split() -> None:
    place = place_of("eng-fra")
    run = open_pipeline(PairsConfig(name="eng-fra", dir=str(place)))
    assert [run.count(split) for split in ("train", "validation", "test")] == [72_031, 2000, 2000]
    raw = {tuple(" ".join(s.split()) for s in line.split("\t")) for line in _lines(place / "eng-fra" / "eng-fra.txt")}
    sides = {split: run.split(split).pairs for split in ("train", "validation", "test")}
    for split, pairs in sides.items():
        assert set(pairs) <= raw
        others = {a.casefold() for other, found in sides.items() if other != split for a, _ in found}
        assert not {a.casefold() for a, _ in pairs} & others
    # A fair draw: the mean length of a split is that of the file, which is in order of length.
    means = [np.mean([len(a) for a, _ in pairs]) for pairs in sides.values()]
    assert max(means) - min(means) < 0.5
    slots = [(b.extra[s].numel(), int(b.extra[f"{s}_length"].sum())) for k in range(200)
             for b in [run.train_batch(k, 64)] for s in ("source", "target")]  # fmt: skip
    assert sum(full for _, full in slots) / sum(n for n, _ in slots) > 0.94


@pytest.mark.parametrize(("name", "code"), [("multi30k", "de"), ("multi30k-fr", "fr")])
def test_multi30k(name: str, code: str) -> None:
    place = place_of("multi30k")
    run = open_pipeline(PairsConfig(name=name, dir=str(place), tokens="bpe", joint=True))
    assert [run.count(split) for split in ("train", "validation", "test")] == [29_000, 1014, 1000]
    file = place / "multi30k" / f"test_2016_flickr.{code}.gz"
    line = gzip.decompress(file.read_bytes()).decode().split("\n")[77]
    assert run.split("test").pairs[77][0] == " ".join(line.split())
    assert run.split("test").pairs[77][1].isascii()
    slots = [(b.extra[s].numel(), int(b.extra[f"{s}_length"].sum())) for k in range(200)
             for b in [run.train_batch(k, 64)] for s in ("source", "target")]  # fmt: skip
    assert sum(full for _, full in slots) / sum(n for n, _ in slots) >= 0.9


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").split("\n")
