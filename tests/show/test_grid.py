"""Grids against a layout by hand, and files that are whole or absent."""

import io
import json
import os
import resource

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from gentool.data.pictures import read_page
from gentool.errors import GentoolError, UsageError
from gentool.show.grid import make_grid, read_sheet, save_png, write_png
from gentool.show.pixels import MAGENTA, drawable, font, near_square, shrink, text_width, to_bytes, wrap_text


def by_hand(images: np.ndarray, columns: int, scale: int, gap: int) -> np.ndarray:
    """One pixel at a time, in float64."""
    n, channels, height, width = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    page = np.full(
        (rows * (height * scale + gap) + gap, columns * (width * scale + gap) + gap, channels), 255, np.uint8
    )
    for i in range(n):
        for c in range(channels):
            for y in range(height * scale):
                for x in range(width * scale):
                    value = min(1.0, max(-1.0, float(images[i, c, y // scale, x // scale])))
                    page[
                        gap + i // columns * (height * scale + gap) + y,
                        gap + i % columns * (width * scale + gap) + x,
                        c,
                    ] = round((value + 1) / 2 * 255)
    return page


@settings(max_examples=30, deadline=None)
@given(
    images=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 4)),
        elements=st.integers(-300, 300).map(lambda v: np.float32(v / 255)),
    ),
    columns=st.integers(1, 6),
    scale=st.integers(1, 3),
    gap=st.integers(0, 3),
)
def test_every_pixel_is_where_it_belongs(images, columns, scale, gap):
    grid = np.asarray(make_grid(torch.from_numpy(images), columns, scale=scale, pad=gap))
    expected = by_hand(images, columns, scale, gap)
    found = grid.reshape(*grid.shape[:2], -1)
    assert found.shape == expected.shape
    # One step of rounding may differ at halves.
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_bytes_come_through_unchanged_and_back():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert (to_bytes(ramp)[0, :, :, 0] == ramp[0, 0]).all()
    assert (to_bytes(torch.from_numpy(ramp).float() / 127.5 - 1)[0, :, :, 0] == ramp[0, 0]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    images = torch.tensor([-1.0, 1.0]).reshape(1, 1, 1, 2).to(dtype)
    assert to_bytes(images).ravel().tolist() == [0, 255]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_magenta(bad):
    images = torch.zeros(2, 1, 4, 4)
    images[1, 0, 2, 3] = bad
    grid = np.asarray(make_grid(images, 2, scale=1, pad=0))
    assert tuple(grid[2, 7]) == MAGENTA
    assert (grid == MAGENTA).all(axis=2).sum() == 1
    colour = torch.zeros(1, 3, 2, 2)
    colour[0, 1, 0, 0] = bad
    assert tuple(np.asarray(make_grid(colour, scale=1, pad=0))[0, 0]) == MAGENTA


@pytest.mark.parametrize(
    ("n", "side"), [(1, 8), (1, 28), (4, 8), (16, 28), (64, 28), (100, 28), (64, 8), (16, 32), (9, 64)]
)
def test_small_images_are_enlarged_to_be_seen(n, side):
    grid = make_grid(torch.zeros(n, 1, side, side))
    assert 400 <= grid.width <= 1000
    assert grid.mode == "L"


def test_a_thousand_images():
    assert max(make_grid(torch.zeros(1000, 1, 28, 28)).size) < 1300


@given(st.integers(1, 5000))
def test_near_square_wastes_little(n):
    columns = near_square(n)
    rows = -(-n // columns)
    assert columns * rows - n < rows + columns
    assert rows <= columns <= max(3 * rows, 3)


def test_captions_stand_under_their_images():
    images = torch.full((4, 1, 28, 28), -1.0)
    plain = np.asarray(make_grid(images, 2, scale=4, pad=4))
    grid = np.asarray(make_grid(images, 2, captions=["a", "", "b", "c"], scale=4, pad=4))
    assert grid.shape[1] == plain.shape[1]
    below = grid.shape[0] - plain.shape[0]
    assert below > 20
    half = below // 2
    for i in range(4):
        top, left = 4 + i // 2 * (112 + half + 4), 4 + i % 2 * 116
        assert (grid[top : top + 112, left : left + 112] == 0).all()
        caption = grid[top + 112 : top + 112 + half, left : left + 112]
        assert (caption < 200).any() == (i != 1)


def test_a_title_and_long_captions_stay_inside():
    images = torch.zeros(2, 3, 16, 16)
    grid = make_grid(images, captions=["word " * 50, "x" * 300], title="title " * 60)
    assert grid.width <= 1000
    face = font(14)
    for line in wrap_text("some words that are long enough to wrap " * 3, face, 120, 2):
        assert text_width(line, face) <= 120


def test_captions_may_hold_anything():
    make_grid(torch.zeros(3, 1, 8, 8), captions=["\x1b[31m[bold]", "\ud800\u202e", 7])
    assert drawable("Café β ≥ 中") == "Cafe beta >= ?"


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(0, 1, 8, 8),
        torch.zeros(2, 2, 8, 8),
        torch.zeros(8, 8),
        torch.zeros(1, 1, 0, 8),
        torch.zeros(1, 1, 2, 2).int(),
    ],
)
def test_what_is_no_picture_is_refused(images):
    with pytest.raises(UsageError, match="Pictures are"):
        make_grid(images)


def test_a_grid_that_no_reader_would_open_is_refused():
    with pytest.raises(UsageError, match="show fewer"):
        make_grid(np.zeros((10, 1, 10, 10), np.uint8), scale=1000)
    with pytest.raises(UsageError, match="columns"):
        make_grid(torch.zeros(1, 1, 8, 8), columns=0)


def test_shrink_keeps_the_mean():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)
    assert abs(shrink(image, 7, 9).mean() - image.mean()) < 0.6
    assert (shrink(image, 30, 20) == image).all()
    assert (shrink(image, 15, 10) == np.rint(image.reshape(15, 2, 10, 2, 3).mean((1, 3)))).mean() > 0.99


def test_a_png_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_png(make_grid(torch.zeros(1, 1, 8, 8)), path)
    before = path.read_bytes()
    assert Image.open(path).size[0] >= 400
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(GentoolError, match="No space left"):
        save_png(Image.new("L", (9, 9)), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_full_disk_leaves_nothing(tmp_path):
    """A real limit on the size of files, in a child: the write itself fails."""
    child = os.fork()
    if child == 0:
        import signal

        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            save_png(make_grid(torch.rand(9, 3, 32, 32)), tmp_path / "b.png")
        except GentoolError as error:
            code = 0 if "File too large" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(tmp_path.iterdir()) == []


@given(
    st.integers(1, 7), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.none() | st.integers(1, 7),
    st.booleans(), st.text(max_size=30),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_grid_is_cut_into_its_images_again(n, height, width, channels, columns, captioned, title):
    images = np.random.default_rng(n * height).integers(0, 255, (n, channels, height, width), dtype=np.uint8)
    captions = [f"{i} é" for i in range(n)] if captioned else None
    data = io.BytesIO()
    write_png(make_grid(images, columns=columns, captions=captions, title=title), data)
    page, texts = read_page(io.BytesIO(data.getvalue()))
    sheet = read_sheet(texts["gentool"], *page.shape[:2])
    assert sheet is not None
    found = sheet.cut(page)
    assert np.array_equal(found, np.broadcast_to(images.transpose(0, 2, 3, 1), found.shape))
    assert (list(sheet.captions), sheet.title) == (captions or [], title)


@pytest.mark.parametrize("change", [
    {"n": 0}, {"n": 9}, {"n": 10**9}, {"columns": 0}, {"columns": -3}, {"scale": 1000}, {"height": 2.0}, {"gap": -1},
    {"width": True}, {"more": 1}, {"above": "x"}, {"below": None},
])  # fmt: skip
def test_a_layout_that_cannot_be_is_none(change):
    grid = make_grid(np.zeros((4, 1, 8, 8), np.uint8))
    told = json.loads(grid.info["gentool"])
    assert read_sheet(json.dumps(told), grid.height, grid.width) is not None
    assert read_sheet(json.dumps(told | change), grid.height, grid.width) is None
    for text in ("", "{", "[]", "3", "null", "[" * 5000):
        assert read_sheet(text, grid.height, grid.width) is None
