"""Batches: functions of (seed, step, rank) alone, images in [-1, 1], declared transforms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from gentool.data import transforms
from gentool.data.config import DataConfig, absolute_paths
from gentool.data.images import ImagePipeline as Pipeline
from gentool.data.pipeline import open_pipeline
from gentool.data.sets import ImageSet
from gentool.errors import UsageError


def made(n: int = 30, shape: tuple[int, int, int] = (1, 6, 6), split: str = "train", seed: int = 0) -> ImageSet:
    rng = np.random.default_rng([seed, len(split)])
    images = torch.from_numpy(rng.integers(0, 256, (n, *shape), dtype=np.uint8))
    return ImageSet("made", split, images, torch.from_numpy(rng.integers(0, 3, n)), ("a", "b", "c"))


def pipeline(seed: int = 0, n: int = 30, shape: tuple[int, int, int] = (1, 6, 6), **settings: object) -> Pipeline:
    config = DataConfig(**settings)  # type: ignore[arg-type]
    return Pipeline(lambda split: made(n, shape, split), config, "cpu", seed)


def same(a: object, b: object) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.index, b.index)  # type: ignore[attr-defined]


# -- digits, against scikit-learn ----------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn() -> None:
    made = open_pipeline(DataConfig())
    assert (made.count("train"), made.count("validation"), made.count("test")) == (1437, 180, 180)
    assert made.info.image == (1, 8, 8)
    assert made.info.classes == tuple("0123456789")
    data, target = load_digits(return_X_y=True)
    ours = []
    for split in ("train", "validation", "test"):
        for batch in made.batches(split, 100):
            assert batch.images is not None
            assert batch.labels is not None
            grey = ((batch.images + 1) / 2 * 16).round().flatten(1)
            ours += [(*row, label) for row, label in zip(grey.int().tolist(), batch.labels.tolist())]
    theirs = [(*row, label) for row, label in zip(data.astype(int).tolist(), target.tolist())]
    assert sorted(ours) == sorted(theirs)


# -- training batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binarize", ["none", "threshold", "stochastic"])
@pytest.mark.parametrize("augment", ["none", "shift", "flip", "crop-flip"])
def test_a_batch_depends_on_seed_step_and_rank_alone(binarize: str, augment: str) -> None:
    run = pipeline(seed=5, binarize=binarize, augment=augment)
    straight = [run.train_batch(step, 8) for step in range(12)]
    for step in (11, 0, 7, 3):  # 30 examples in batches of 8: steps 3, 7 and 11 straddle the ends of epochs
        assert same(pipeline(seed=5, binarize=binarize, augment=augment).train_batch(step, 8), straight[step])
    assert not same(pipeline(seed=6, binarize=binarize, augment=augment).train_batch(0, 8), straight[0])


def test_stochastic_binarisation_is_redrawn_each_step() -> None:
    run = pipeline(n=1, binarize="stochastic")
    assert not torch.equal(run.train_batch(0, 1).images, run.train_batch(1, 1).images)


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 4), st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_ranks_together_see_what_one_would(n: int, size: int, world: int, step: int) -> None:
    run = pipeline(n=n)
    parts = torch.cat([run.train_batch(step, size, rank, world).index for rank in range(world)])
    assert torch.equal(parts, run.train_batch(step, size * world).index)


def test_ranks_draw_different_noise() -> None:
    run = pipeline(n=1, binarize="stochastic")
    assert not torch.equal(run.train_batch(0, 4, 0, 2).images, run.train_batch(0, 4, 1, 2).images)


def test_index_tells_which_example() -> None:
    run = pipeline()
    batch = run.train_batch(3, 8)
    data = run.split("train")
    assert torch.equal(data.labels[batch.index], batch.labels)
    assert torch.equal(transforms.to_float(data.images[batch.index], 256), batch.images)


def test_one_example_is_repeated_to_fill_a_batch() -> None:
    batch = pipeline(n=1).train_batch(0, 5)
    assert batch.images.shape == (5, 1, 6, 6)
    assert (batch.images == batch.images[:1]).all()


def test_no_training_examples_are_refused() -> None:
    with pytest.raises(UsageError, match="no training examples"):
        pipeline(n=0).train_batch(0, 1)


def test_limit_takes_the_first_of_training_only() -> None:
    run = pipeline(limit=7)
    assert (run.count("train"), run.count("test")) == (7, 30)
    assert torch.equal(run.split("train").images, made().images[:7])


def test_the_fingerprint_tells_one_set_from_another() -> None:
    same_again = pipeline(seed=3, augment="flip")
    assert pipeline().fingerprint() == same_again.fingerprint()
    others = [pipeline(n=29), pipeline(shape=(1, 6, 7)), pipeline(binarize="threshold"), pipeline(limit=10)]
    changed = made()
    changed.images[17, 0, 3, 3] ^= 1
    others.append(Pipeline(lambda split: changed, DataConfig(), "cpu", 0))
    relabelled = made()
    relabelled.labels[29] = (relabelled.labels[29] + 1) % 3
    others.append(Pipeline(lambda split: relabelled, DataConfig(), "cpu", 0))
    assert len({run.fingerprint() for run in (pipeline(), *others)}) == 7


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute_paths(DataConfig(name="folder:mine", dir="a:/b")) == {
        "data.name": f"folder:{tmp_path}/mine",
        "data.dir": f"{tmp_path}/a:/b",
    }
    for name in ("mnist", "folder:none", "folder:", f"folder:{tmp_path}/mine", "hf:some/name"):
        assert absolute_paths(DataConfig(name=name)) == {}


def test_an_alias_is_written_as_the_name(tmp_path: Path) -> None:
    from gentool.registry import registry

    spec = registry().find("dataset", "fashion")
    assert spec.name == "fashion-mnist"
    assert open_pipeline(DataConfig(name="fashion")).config.name == "fashion-mnist"


# -- values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 3, 17, 42, 255, 256])
def test_levels_span_minus_one_to_one_exactly(levels: int) -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    index = transforms.quantise(ramp, levels)
    assert index.flatten().tolist() == [math.floor(v * levels / 256) for v in range(256)]
    values = transforms.to_float(index, levels)
    assert values.min() == -1
    assert values.max() == 1
    assert torch.equal(((values.double() + 1) / 2 * (levels - 1)).round().to(torch.uint8), index)
    assert len(values.unique()) == levels


def test_a_fixed_draw_is_the_same_in_every_epoch_and_is_what_stochastic_is_tested_on():
    """Each training picture by its index; the test split of both protocols is one."""
    run = pipeline(seed=3, n=20, binarize="fixed")
    seen: dict[int, torch.Tensor] = {}
    for step in range(8):
        batch = run.train_batch(step, 10)
        for index, image in zip(batch.index.tolist(), batch.images):
            assert torch.equal(seen.setdefault(index, image), image)
    assert len(seen) == 20
    assert torch.stack(list(seen.values())).unique().tolist() == [-1, 1]
    one, other = (next(pipeline(n=20, binarize=b).batches("test", 20)).images for b in ("fixed", "stochastic"))
    assert torch.equal(one, other)
    assert run.info.levels == 2


@pytest.mark.parametrize("binarize", ["threshold", "stochastic", "fixed"])
def test_binarised_pictures_are_minus_one_and_one(binarize: str) -> None:
    run = pipeline(binarize=binarize)
    assert run.info.levels == 2
    for images in (run.train_batch(0, 30).images, next(run.batches("test", 30)).images):
        assert set(images.unique().tolist()) == {-1.0, 1.0}


def test_threshold_is_at_half() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert transforms.quantise(ramp, 2).flatten().tolist() == [0] * 128 + [1] * 128


def test_binarising_to_other_than_two_levels_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.levels = 16"):
        pipeline(binarize="threshold", levels=16)


def test_a_pixel_is_one_with_its_grey_value_as_probability() -> None:
    """All 256 values, 4 million draws: within five standard errors; the ends are certain; pictures are independent."""
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(64, 1, 16, 16).contiguous()
    total = torch.zeros(256, dtype=torch.float64)
    draws = 250
    for i in range(draws):
        generator = torch.Generator().manual_seed(i * 7919)
        total += transforms.draw_binary(values, generator).view(64, 256).double().sum(0)
    n = 64 * draws
    p = torch.arange(256, dtype=torch.float64) / 255
    error = (total / n - p).abs() / (p * (1 - p) / n).sqrt().clamp_min(1e-12)
    assert total[0] == 0
    assert total[255] == n
    assert float(error[1:255].max()) < 5


# -- splits in order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binarize", ["none", "threshold", "stochastic", "fixed"])
def test_test_pictures_are_the_same_for_every_seed_and_batch_size(binarize: str) -> None:
    whole = torch.cat([b.images for b in pipeline(seed=1, n=2100, binarize=binarize).batches("test", 2100)])
    parts = list(pipeline(seed=2, n=2100, binarize=binarize).batches("test", 64))
    assert torch.equal(torch.cat([b.images for b in parts]), whole)
    assert [len(b) for b in parts] == [64] * 32 + [52]
    assert torch.cat([b.index for b in parts]).tolist() == list(range(2100))
    run = pipeline(seed=3, n=2100, binarize=binarize)
    few = torch.cat([b.images for b in run.batches("test", 300, 1050)])
    assert torch.equal(few, whole[:1050])
    assert torch.equal(torch.cat([b.images for b in run.batches("test", 999)]), whole)  # after a shorter look


def test_splits_binarise_differently() -> None:
    """The same pixels in two splits must not get the same noise."""
    run = Pipeline(lambda split: made(50), DataConfig(binarize="stochastic"), "cpu", 0)
    assert not torch.equal(next(run.batches("test", 50)).images, next(run.batches("validation", 50)).images)


def test_batches_are_not_augmented() -> None:
    run = pipeline(augment="crop-flip")
    assert torch.equal(next(run.batches("train", 30)).images, transforms.to_float(made().images, 256))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no split 'tset'. Did you mean 'test'"):
        pipeline().count("tset")


# -- transforms ----------------------------------------------------------------------------------------------------------


def test_resize_keeps_means_and_crops_the_centre() -> None:
    images = torch.zeros(2, 1, 20, 40, dtype=torch.uint8)
    images[:, :, :, 10:30] = 200  # exactly the central square
    small = transforms.resize(images, 5)
    assert small.shape == (2, 1, 5, 5)
    assert (small == 200).all()
    noise = made(50, (1, 28, 28)).images
    assert abs(float(transforms.resize(noise, 7).double().mean() - noise.double().mean())) < 1


def test_resize_is_antialiased() -> None:
    """One-pixel stripes become grey, not one of the stripes."""
    stripes = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    stripes[..., ::2] = 255
    middle = transforms.resize(stripes, 8)[..., 2:6, 2:6]
    assert (middle.int() - 127).abs().max() < 12


def test_channels() -> None:
    colour = made(4, (3, 5, 5)).images
    grey = transforms.to_channels(colour, 1)
    expected = 0.299 * colour[:, 0].double() + 0.587 * colour[:, 1].double() + 0.114 * colour[:, 2].double()
    assert (grey[:, 0].double() - expected).abs().max() <= 0.5 + 1e-4
    again = transforms.to_channels(grey, 3)
    assert torch.equal(again, grey.expand(-1, 3, -1, -1))
    assert pipeline(channels=3).info.image == (3, 6, 6)


@pytest.mark.parametrize(("mode", "reach"), [("shift", 2), ("crop-flip", 3)])
def test_augmentation_against_numpy(mode: str, reach: int) -> None:
    """Each result is one of the shifts (and mirror images) that numpy makes by reflecting at the border."""
    images = made(40, (3, 28, 28)).images
    moved = transforms.augment(images, mode, torch.Generator().manual_seed(1)).numpy()
    seen = set()
    for image, result in zip(images.numpy(), moved):
        padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
        places = {}
        for y in range(2 * reach + 1):
            for x in range(2 * reach + 1):
                window = padded[:, y : y + 28, x : x + 28]
                places[window.tobytes()] = (y, x, False)
                if mode == "crop-flip":
                    flipped = np.ascontiguousarray(window[:, :, ::-1])
                    places[flipped.tobytes()] = (y, x, True)
        seen.add(places[result.tobytes()])
    assert len(seen) > 15
    assert {f for _, _, f in seen} == ({False, True} if mode == "crop-flip" else {False})


def test_flip_mirrors_about_half() -> None:
    images = made(400, (1, 4, 5)).images
    moved = transforms.augment(images, "flip", torch.Generator().manual_seed(0))
    mirrored = (moved == images.flip(3)).flatten(1).all(1)
    kept = (moved == images).flatten(1).all(1)
    assert (mirrored | kept).all()
    assert 150 < int(mirrored.sum()) < 250


def test_a_side_of_one_pixel_can_be_augmented() -> None:
    images = made(5, (1, 1, 1)).images
    assert torch.equal(transforms.augment(images, "shift", torch.Generator()), images)


# -- a data set of another make --------------------------------------------------------------------------------------------


class Foreign:
    """A plugin's own class: only what the protocol asks for."""

    name = "foreign"
    split = "train"
    classes = ("x", "y")

    def __init__(self, images: torch.Tensor, labels: torch.Tensor | None) -> None:
        self.images_, self.labels_ = images, labels

    @property
    def info_fields(self) -> dict[str, object]:
        return {}

    def __len__(self) -> int:
        return len(self.images_)

    def to(self, device: torch.device) -> Foreign:
        return self

    def take(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.images_[indices], None if self.labels_ is None else self.labels_[indices]


def test_the_protocol_is_enough() -> None:
    foreign = Foreign(made(9).images, torch.arange(9) % 2)
    run = Pipeline(lambda split: foreign, DataConfig(), "cpu", 0)
    assert run.info.classes == ("x", "y")
    assert run.train_batch(0, 4).images.shape == (4, 1, 6, 6)


def test_wrong_pictures_and_labels_of_a_plugin_are_refused() -> None:
    for foreign, why in (
        (Foreign(torch.zeros(3, 1, 4, 4), None), r"torch\.float32"),
        (Foreign(made(3).images, torch.tensor([0, 1, 2])), "labels from 0 to 2"),
        (Foreign(made(3).images, torch.tensor([0, -1, 1])), "labels from -1 to 1"),
    ):
        with pytest.raises(UsageError, match=why):
            Pipeline(lambda split, foreign=foreign: foreign, DataConfig(), "cpu", 0).train_batch(0, 1)  # type: ignore[misc]
