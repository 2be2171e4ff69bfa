"""What a run drew: every key of the pane, files that are no pictures, and what comes while it is seen."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from driving import text_of, until
from runs_on_disk import make

from gentool.data.pictures import to_jpeg
from gentool.evaluating import HeatMap
from gentool.runs.gallery import look, shots
from gentool.runs.maps import write_maps
from gentool.show.grid import make_grid, save_png
from gentool.tui.screens.samples import SamplesPane
from gentool.tui.widgets.sight import Maps

EVIL = "\x1b]0;owned\x07[bold]\u202e"


def draw(run: Path, name: str, value: int, n: int = 6, **options) -> None:
    """A grid of n pictures, the i-th of the grey value + i."""
    pixels = np.broadcast_to((value + np.arange(n, dtype=np.uint8))[:, None, None, None], (n, 1, 6, 5))
    save_png(make_grid(np.ascontiguousarray(pixels), **options), run / "samples" / name)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    run = make(tmp_path, "2026-11-01_vae_0001", [{"step": 1, "t": 1.0}], model="vae", created=1.0)
    (run / "samples").mkdir(exist_ok=True)
    for step in (100, 200, 300):
        draw(run, f"{step:06d}.png", step // 10)
    draw(run, "000300-samples.png", 31)
    for step in (200, 300):
        draw(run, f"{step:06d}-reconstructions.png", step // 2, 8, columns=4)
    draw(run, "vae-traverse.png", 90, 4, captions=[EVIL, "b", "c", "d"], title=EVIL)
    return tmp_path


async def opened(app, pilot, name: str = "vae_0001") -> SamplesPane:
    run = next(view for view in app.store.views() if name in view.name)
    app.open_run(run, "samples")
    await pilot.pause()
    pane = app.screen.open_pane
    await until(pilot, lambda: pane.is_mounted and (pane.seen is not None or not pane.own))
    return pane


def shade(pane: SamplesPane) -> int:
    """The grey of the first picture that is shown."""
    album = pane.query_one("#look").album
    return int(album.pixels[0, 0, 0, 0])


def test_files_by_kind_and_step_the_later_of_one_step(home):
    found = shots(home / "2026-11-01_vae_0001")
    assert {kind: [shot.step for shot in own] for kind, own in found.items()} == {
        "samples": [100, 200, 300], "reconstructions": [200, 300], "drawn": [None]
    }  # fmt: skip
    assert found["samples"][-1].path.name == "000300.png"
    seen = look(found["drawn"][0].path)
    assert seen.pixels is not None
    assert seen.pixels.shape == (4, 6, 5, 1)
    assert seen.pixels[:, 0, 0, 0].tolist() == [90, 91, 92, 93]
    assert seen.captions[0] == r"\x1b]0;owned\x07[bold]\u202e"
    assert shots(home / "nowhere") == {}


def test_going_through_the_steps(drive, home):
    async def play(app, pilot):
        pane = await opened(app, pilot)
        assert "step 300" in text_of(app)
        await until(pilot, lambda: app.focused is pane.query_one("#look"))
        for key, step, value in (("comma", 200, 20), ("comma", 100, 10), ("comma", 100, 10), ("full_stop", 200, 20),
                                 ("greater_than_sign", 300, 30), ("less_than_sign", 100, 10)):  # fmt: skip
            await pilot.press(key)
            await until(pilot, lambda v=value: shade(pane) == v)
            assert pane._shown.step == step
            assert f"step {step}" in text_of(app)
        pane.query_one("#when").focus()
        await pilot.press("right", "right")
        await until(pilot, lambda: shade(pane) == 30)

    drive(home, play)


def test_kinds_and_pairs(drive, home):
    async def play(app, pilot):
        pane = await opened(app, pilot)
        await pilot.press("comma", "v")
        await until(pilot, lambda: shade(pane) == 100)
        assert (pane.kind, pane._shown.step) == ("reconstructions", 200)
        pictures = pane.query_one("#look")
        order = [i for i in pictures._order if i is not None]
        columns = pictures._layout.columns
        assert order[:columns] == list(range(columns))
        assert order[columns : 2 * columns] == list(range(4, 4 + columns))  # its pair stands under each
        await pilot.press("down")
        assert pictures.chosen == 4
        await pilot.press("v")
        await until(pilot, lambda: shade(pane) == 90)
        assert "vae-traverse.png" in text_of(app)
        await pilot.press("V", "V")
        assert pane.kind == "samples"
        line = pane.query_one("#about")
        x = text_of(app).splitlines()[1].index("reconstructions")
        await pilot.click(line, offset=(x - line.region.x, 0))
        assert pane.kind == "reconstructions"

    drive(home, play)


def test_choosing_and_zooming(drive, home):
    async def play(app, pilot):
        pane = await opened(app, pilot)
        pictures = pane.query_one("#look")
        assert app.focused is pictures
        await pilot.press("l", "l", "h", "right")
        assert pictures.chosen == 2
        await pilot.press("enter")
        assert pictures.zoomed
        assert "picture 3" in text_of(app)
        await pilot.press("right", "comma")
        await until(pilot, lambda: shade(pane) == 20)
        assert (pictures.chosen, pictures.zoomed) == (3, True)  # the same picture, a step before
        await pilot.press("escape")
        assert not pictures.zoomed
        await pilot.press("G")
        assert pictures.chosen == 5
        await pilot.press("g")
        assert pictures.chosen == 0
        await pilot.click(pictures, offset=pictures_corner(pictures, 1))
        assert pictures.chosen == 1
        await pilot.press("escape")
        assert len(app.screen_stack) == 1

    drive(home, play)


def pictures_corner(pictures, place: int) -> tuple[int, int]:
    x, y = pictures._corner(place)
    return x + 1, y // 2 + 1


def test_following_and_playing(drive, home):
    async def play(app, pilot):
        pane = await opened(app, pilot)
        draw(pane.run_view.path, "000400.png", 40)
        await until(pilot, lambda: shade(pane) == 40)
        await pilot.press("comma")
        assert not pane.following
        draw(pane.run_view.path, "000500.png", 50)
        await until(pilot, lambda: len(pane.own) == 5)
        assert pane._shown.step == 300
        await pilot.press("f")
        await until(pilot, lambda: shade(pane) == 50)
        await pilot.press("space")
        assert pane.playing
        await until(pilot, lambda: shade(pane) == 10)
        await until(pilot, lambda: shade(pane) == 50)
        await until(pilot, lambda: not pane.playing)

    drive(home, play)


def detections(run: Path, name: str, truths: list[list[int] | None]) -> None:
    """A preview of a detector: on each picture of 40 by 20 one box is found, elsewhere than the true one (None: unknown)."""
    draw(run, f"{name}.png", 0)
    pictures = [
        {"name": f"{i}.jpg", "image_id": i, "size": [40, 80], "jpeg": to_jpeg(np.zeros((20, 40, 3), np.uint8)),
         "boxes": [[0, 0, 20, 20]], "scores": [0.75], "labels": [1],
         "truth": None if box is None else {"boxes": [box], "labels": [0]}}
        for i, box in enumerate(truths)
    ]  # fmt: skip
    about = {
        "format": "gentool detections 1",
        "classes": ["cat", EVIL],
        "least": 0.5,
        "title": "seen",
        "pictures": pictures,
    }
    (run / "samples" / f"{name}.json").write_text(json.dumps(about))


def test_true_boxes_in_place_of_those_found(drive, tmp_path):
    run = make(tmp_path, "2026-11-03_detect_0003", [], model="detect", created=1.0)
    (run / "samples").mkdir(exist_ok=True)
    detections(run, "000001", [[40, 10, 80, 40], None])  # not known of all: of none
    detections(run, "000002", [[40, 10, 80, 40], [0, 0, 10, 10]])
    detections(run, "000003", [[0, 0, 10, 10], []])  # what is no box makes no sidecar
    assert [bool(look(run / "samples" / f"00000{i}.png").truth) for i in (1, 2, 3)] == [False, True, False]

    async def play(app, pilot):
        def boxes() -> list:
            return [(box.corners, box.score, box.name) for row in pane.query_one("#look").album.boxes for box in row]

        def foot() -> str:
            return text_of(app).splitlines()[-1]

        pane = await opened(app, pilot, "detect_0003")
        await pilot.press("b")  # there are none: nothing happens
        await pilot.press("comma")
        await until(pilot, lambda: "b True boxes" in foot())
        found = [((0, 0, 10, 10), 0.75, r"\x1b]0;owned\x07[bold]\u202e")] * 2
        assert boxes() == found
        assert "true boxes" not in text_of(app).splitlines()[1]
        await pilot.press("b")
        assert boxes() == [((20, 5, 40, 20), 1.0, "cat"), ((0, 0, 5, 5), 1.0, "cat")]
        assert "true boxes" in text_of(app).splitlines()[1]
        await pilot.press("question_mark")
        await until(pilot, lambda: "True boxes" in text_of(app))
        await pilot.press("escape", "comma")
        await until(pilot, lambda: pane._shown.step == 1 and "b True boxes" not in foot())
        assert boxes() == found
        await pilot.press("full_stop")
        await until(pilot, lambda: len(boxes()) == 2 and boxes()[0][1] == 1.0)
        await pilot.press("b")
        assert boxes() == found

    drive(tmp_path, play, size=(100, 30))


def looked_at(run: Path, step: int, share: float, tall: int = 6) -> None:
    """Two heat maps at a step, of which the first word looks at the first with that share."""
    maps = [
        HeatMap(name, [[share, 1 - share]] + [[0.5, math.nan]] * (tall - 1), [EVIL] * tall, ["one", "two"], title, axes)
        for name, title, axes in (("1", f"{EVIL} → un", ("translation", "source")), ("2", "deux", ("", "")))
    ]
    write_maps(run / "samples", step, "attention", maps)


def test_heat_maps_of_every_step(drive, home):
    run = home / "2026-11-01_vae_0001"
    for step, share in ((100, 0.125), (200, 0.25), (300, 0.75)):
        looked_at(run, step, share)
    assert list(shots(run)) == ["samples", "attention", "reconstructions", "drawn"]
    seen = look(run / "samples" / "000200-attention.json").maps
    assert (seen[0].values[0], seen[1].title) == ([0.25, 0.75], "deux")
    assert math.isnan(seen[0].values[1][1])

    async def play(app, pilot):
        pane = await opened(app, pilot)
        await pilot.press("v")
        await until(pilot, lambda: "2 maps" in text_of(app))
        assert "translation × source, in percent" in text_of(app).splitlines()[1]
        assert " 75" in text_of(app)
        assert app.focused is pane.sight.query_one(Maps)
        words = text_of(app)
        assert "\x1b" not in words
        assert r"\x1b]0;owned\x07[bold]\u202e → un" in words
        await pilot.press("comma")
        await until(pilot, lambda: " 25" in text_of(app) and "step 200" in text_of(app))
        await pilot.press("v")
        await until(pilot, lambda: shade(pane) == 100)
        assert app.focused is pane.query_one("#look")
        assert pane._shown.step == 200

    drive(home, play, size=(120, 40))


def test_the_same_map_stays_in_sight(drive, home):
    run = home / "2026-11-01_vae_0001"
    looked_at(run, 100, 0.125, tall=30)
    looked_at(run, 200, 0.25, tall=50)

    async def play(app, pilot):
        pane = await opened(app, pilot)
        await pilot.press("v")
        maps = pane.sight.query_one(Maps)
        await until(pilot, lambda: len(maps.maps) == 2)
        assert maps.seen == 0
        for key, there in (("right", 1), ("left", 0), ("l", 1)):
            await pilot.press(key)
            await until(pilot, lambda n=there: maps.seen == n)
        await pilot.press("j", "j")
        await until(pilot, lambda: maps.scroll_offset.y == maps._tops[1] + 2)
        below = maps.scroll_offset.y
        await pilot.press("comma")
        await until(pilot, lambda: pane._shown.step == 100 and maps.scroll_offset.y < below)
        assert maps.scroll_offset.y == maps._tops[1] + 2
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: maps.seen == 1)

    drive(home, play)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff", b'{"format": "gentool heat maps 1"}', b'{"format": "gentool heat maps 1", "maps": []}',
     b'{"format": "gentool heat maps 1", "maps": [{"name": "", "title": "", "axes": ["", ""], "most": 1, "rows": ["a"],'
     b' "columns": ["b"], "values": [[1, 2]]}]}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_heat_map(home, data):
    file = home / "2026-11-01_vae_0001" / "samples" / "000100-attention.json"
    file.write_bytes(data)
    assert look(file).problem.startswith("000100-attention.json cannot be shown: ")
    assert not look(file).maps


def test_a_sidecar_is_no_kind_of_its_own(home):
    run = home / "2026-11-01_vae_0001"
    for name in ("000100.json", "000300-samples.json", "000200-reconstructions.json", "vae-traverse.json"):
        (run / "samples" / name).write_text("{}")
    assert list(shots(run)) == ["samples", "reconstructions", "drawn"]


def test_what_is_broken_is_said_and_harms_nothing(drive, home):
    run = home / "2026-11-01_vae_0001" / "samples"
    whole = (run / "000300.png").read_bytes()
    (run / "000400.png").write_bytes(whole[: len(whole) // 2])
    (run / "000500.png").write_bytes(b"")
    (run / "000600.png").write_bytes(b"\x1b[2J not a picture")
    (run / "000700.txt").write_bytes(b"to be \x1b]52;c;aGk=\x07 [bold]or \xff not\n")
    os.mkfifo(run / "000800.png")
    os.symlink("/dev/zero", run / "000900.png")

    async def play(app, pilot):
        pane = await opened(app, pilot)
        words = {}
        await pilot.press("less_than_sign")
        for _ in range(8):
            await pilot.press("full_stop")
            await until(pilot, lambda: pane.seen is not None and (pane._shown in pane._looks))
            await pilot.pause()
            words[pane._shown.step] = text_of(app)
            assert "\x1b" not in words[pane._shown.step]
        assert "000400.png cannot be shown" in words[400]
        assert "empty" in words[500]
        assert "not a PNG" in words[600]
        assert r"to be \x1b]52;c;aGk=\x07 [bold]or � not" in words[700]
        assert "000800.png" in words[800]
        assert "000900.png" in words[900]

    drive(home, play)


def test_nothing_drawn_yet(drive, tmp_path):
    make(tmp_path, "2026-11-02_gan_0002", [], model="gan", created=1.0)

    async def play(app, pilot):
        pane = await opened(app, pilot, "gan_0002")
        assert "This run drew nothing." in text_of(app)
        for key in ("comma", "full_stop", "space", "f", "v", "enter", "down", "less_than_sign"):
            await pilot.press(key)
        run = pane.run_view.path
        (run / "samples").mkdir(exist_ok=True)
        draw(run, "000001.png", 7)
        await until(pilot, lambda: pane.query_one("#look").album is not None)
        assert shade(pane) == 7

    drive(tmp_path, play)
