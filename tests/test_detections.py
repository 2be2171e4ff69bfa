"""Detections in the pixels of the pictures they were made on, as COCO results, and as a sidecar that is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gentool.detections import coco_results, original_boxes, read_sidecar, sidecar_of, write_sidecar
from gentool.errors import UsageError
from gentool.runs.gallery import look
from gentool.sampling import Detections, Origin, Samples
from gentool.show.boxes import at_least, grid_with_boxes
from gentool.show.grid import save_png


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return Detections(table[:, :4].float(), table[:, 4].float(), table[:, 5].long())


@pytest.fixture
def samples() -> Samples:
    """Two pictures on one canvas of 64x96: of 64x96 pixels, half as large as the original, and of 32x64, twice as large."""
    images = torch.zeros(2, 3, 64, 96)
    images[0] = torch.linspace(-1, 1, 96)
    images[1, :, :32, :64] = torch.linspace(1, -1, 64)
    return Samples(
        images=images,
        detections=[
            found((10, 20, 30, 50, 0.9, 1), (0, 0, 96, 64, 0.5, 0), (2, 2, 4, 4, 0.1, 2)),
            found((-3, 4, 70, 40, 0.7, 2)),
        ],
        classes=("cat", "dog", "[red]\x1b"),
        sizes=torch.tensor([[64, 96], [32, 64]]),
        origins=[Origin("a.jpg", 17, (128, 192)), Origin("b.jpg", "b", (16, 32))],
        truth=[found((10, 20, 30, 50, 1, 1)), found()],
        extra={"category_ids": [1, 5, 90]},
    )


def test_results_are_in_the_originals_pixels_with_the_sets_own_ids(samples: Samples) -> None:
    results = coco_results(samples)
    assert [(r["image_id"], r["category_id"]) for r in results] == [(17, 5), (17, 1), (17, 90), ("b", 90)]
    assert results[0]["bbox"] == [20, 40, 40, 60]
    assert results[1]["bbox"] == [0, 0, 192, 128]
    assert results[3]["bbox"] == [0, 2, 32, 14]  # clipped to the picture
    assert results[0]["score"] == float(torch.tensor(0.9))
    assert original_boxes(samples, 0)[0].tolist() == [20, 40, 60, 100]


def test_a_sidecar_says_it_all_again(samples: Samples, tmp_path: Path) -> None:
    file = sidecar_of(tmp_path / "000500.png")
    assert file.name == "000500.json"
    write_sidecar(file, samples)
    again = read_sidecar(file)
    assert coco_results(again)[0]["bbox"] == coco_results(samples)[0]["bbox"]
    assert [len(d) for d in again.detections or ()] == [3, 1]  # those that are not drawn, too
    assert again.classes[:2] == samples.classes[:2]
    assert again.origins == samples.origins
    assert again.sizes is not None
    assert again.sizes.tolist() == [[64, 96], [32, 64]]
    assert again.images is not None
    assert samples.images is not None
    assert (again.images - samples.images)[0].abs().mean() < 0.03
    assert again.truth is not None
    assert [len(d) for d in again.truth] == [1, 0]
    assert torch.allclose(again.truth[0].boxes, torch.tensor([[10.0, 20, 30, 50]]))
    assert len(at_least(again.detections[0], 0.4)) == 2  # type: ignore[index]
    grid = grid_with_boxes(again)
    assert grid.width > 300


def test_a_gallery_shows_what_the_sidecar_says(samples: Samples, tmp_path: Path) -> None:
    picture = save_png(grid_with_boxes(samples), tmp_path / "000500.png")
    write_sidecar(sidecar_of(picture), samples)
    seen, again = look(picture), read_sidecar(sidecar_of(picture))
    assert seen.pixels is not None
    assert (seen.pixels.shape, list(seen.sizes)) == ((2, 64, 96, 3), [(64, 96), (32, 64)])
    for own, found in zip(seen.found, again.detections or (), strict=True):
        assert torch.allclose(torch.tensor(own.boxes), found.boxes)
        assert own.labels == found.labels.tolist()
        assert torch.allclose(torch.tensor(own.scores), found.scores)
    assert seen.found[0].names == ["dog", "cat", r"[red]\x1b"]
    assert (seen.captions, seen.least) == (["a.jpg", "b.jpg"], samples.least)
    about = json.loads(sidecar_of(picture).read_text())
    sidecar_of(picture).write_text(json.dumps(broken(about, "pictures", 0, "labels", 0, value=-1)))
    assert not look(picture).found  # the picture itself is shown
    assert look(picture).pixels is not None


def broken(about: dict[str, Any], *path: Any, value: Any) -> dict[str, Any]:
    *heads, last = path
    place: Any = about
    for key in heads:
        place = place[key]
    place[last] = value
    return about


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "other"),
        (("pictures",), []),
        (("pictures",), 3),
        (("pictures", 0, "jpeg"), "!!"),
        (("pictures", 0, "jpeg"), "aGVsbG8="),
        (("pictures", 0, "boxes", 0), [1, 2, 3]),
        (("pictures", 0, "boxes", 0), [1, 2, 3, float("nan")]),
        (("pictures", 0, "boxes", 0), ["a", 2, 3, 4]),
        (("pictures", 0, "scores"), [0.5]),
        (("pictures", 0, "labels", 0), 3),
        (("pictures", 0, "labels", 0), -1),
        (("pictures", 0, "labels", 0), 10**30),
        (("pictures", 0, "size"), [0, 5]),
        (("classes",), None),
        (("pictures", 0, "truth"), {"boxes": [[0, 0, 1, 1]], "labels": [7]}),
    ],
)
def test_what_is_no_sidecar_is_refused(samples: Samples, tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    file = tmp_path / "x.json"
    write_sidecar(file, samples)
    file.write_text(json.dumps(broken(json.loads(file.read_text()), *path, value=value)))
    with pytest.raises(UsageError, match=r"x\.json"):
        read_sidecar(file)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": "gentool detections 1"}']
)
def test_files_that_are_something_else(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    with pytest.raises(UsageError):
        read_sidecar(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_sidecar(tmp_path / "none.json")
