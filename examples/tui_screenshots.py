"""Pictures of every screen of the terminal application, in three sizes, to be looked at.

    python examples/tui_screenshots.py [--runs DIR] [--out DIR] [--size 80x24]... [--theme NAME] [--readme]

Without --runs six small models are trained first (half a minute). SVG files are drawn by Textual; where `rsvg-convert`
(Debian: librsvg2-bin) is installed they become PNGs. --readme writes those that the README shows to examples/pictures/.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

SIZES = ((80, 24), (120, 40), (200, 60))
README = {"runs": (120, 24), "metrics": (120, 30)}
TRAININGS = (
    "gan --steps 200 --seed 0",
    "gan --steps 200 --seed 1 --set loss.r1=0.1 --name gan-r1",
    "vae --steps 200",
    "charlm --steps 60",
    "seq2seq --steps 60 --set preview.every=20 --set preview.n=8",
    "detect --preset debug",
)
BRAILLE = re.compile(
    r'(<text [^>]*?)x="([\d.]+)"( y="[\d.]+") textLength="([\d.]+)"([^>]*>)([^<]*[\u2801-\u28ff][^<]*)</text>'
)
Play = Callable[[Any, Any], Awaitable[None]]


def train(runs: Path) -> None:
    """A few runs to look at."""
    for words in TRAININGS:
        command = [sys.executable, "-m", "gentool", "train", *words.split(), "-q", "--runs", str(runs)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def keys(*pressed: str) -> Play:
    async def play(app: Any, pilot: Any) -> None:
        for key in pressed:
            await pilot.press(key)
            await pilot.pause(0.15)

    return play


def pane(name: str, *pressed: str, model: str = "gan") -> Play:
    """Open a run of a model at a pane, then press keys."""

    async def play(app: Any, pilot: Any) -> None:
        views = [view for view in app.store.views() if view.model == model] or app.store.views()
        app.open_run(max(views, key=lambda view: view.started or 0.0), name)
        await pilot.pause(1.0)
        await keys(*pressed)(app, pilot)

    return play


async def said(app: Any, pilot: Any, words: str) -> None:
    """Wait until the model that is played with says so."""
    for _ in range(600):
        await pilot.pause(0.1)
        if words in "".join(part.text for bar in app.screen.query("#state") for part in bar.right):
            return


async def drawn(app: Any, pilot: Any) -> None:
    """Wait until it has drawn."""
    await said(app, pilot, " in ")


def played() -> Play:
    """Play with a run, once it has drawn."""
    opened = pane("play")

    async def play(app: Any, pilot: Any) -> None:
        await opened(app, pilot)
        await drawn(app, pilot)

    return play


def shipped(model: str) -> Play:
    """Play with the checkpoint of a model that ships."""

    async def play(app: Any, pilot: Any) -> None:
        from gentool.tui.screens.play import PlayerPage, shipped_sources

        app.action_tab("play")
        app.push_screen(PlayerPage(next(source for source in shipped_sources() if source.model == model)))
        await drawn(app, pilot)

    return play


def looked() -> Play:
    """The shipped detector on a picture whose path is typed."""

    async def play(app: Any, pilot: Any) -> None:
        from PIL import Image
        from textual.widgets import Input

        from gentool.data.scenes import render
        from gentool.tui.screens.play import PlayerPage, shipped_sources

        file = Path(tempfile.gettempdir()) / "scene.png"
        Image.fromarray(render(5).image).save(file)
        app.action_tab("play")
        app.push_screen(PlayerPage(next(source for source in shipped_sources() if source.model == "detect")))
        await said(app, pilot, "Ready")
        await pilot.pause(1.0)
        field = app.screen.query_one("#path", Input)
        field.focus()
        field.value = str(file)
        await keys("enter")(app, pilot)
        await drawn(app, pilot)

    return play


def compare(*pressed: str) -> Play:
    """Compare the newest runs of one model."""

    async def play(app: Any, pilot: Any) -> None:
        views = sorted(app.store.views(), key=lambda view: (view.model != "gan", -(view.started or 0.0)))
        app.open_compare(views[:2])
        await pilot.pause(1.0)
        await keys(*pressed)(app, pilot)

    return play


def screens() -> dict[str, Play]:
    """Every tab, every pane, and what lies over them, by name."""
    from gentool.tui.places import PANES, TABS

    found: dict[str, Play] = {place.name: keys(str(number)) for number, place in enumerate(TABS, 1)}
    found["runs"] = keys("j", "space", "space")
    found |= {place.name: pane(place.name) for place in PANES if place.name not in found}
    found["run-play"] = played()
    found["metrics"] = pane("metrics", *["left"] * 12)
    found["samples-text"] = pane("samples", model="charlm")
    found["samples-attention"] = pane("samples", "v", model="seq2seq")
    found |= {f"play-{model}": shipped(model) for model in ("vae", "charlm")}
    found["play-detect"] = looked()
    found["samples-boxes"] = pane("samples", model="detect")
    found["samples-true-boxes"] = pane("samples", "b", "enter", model="detect")
    found |= {"compare": compare(), "compare-curves": compare("2", "+"), "compare-samples": compare("3")}
    found |= {"help": keys("question_mark"), "palette": keys("colon")}
    found["filter"] = keys("slash", *"model:gan loss<5")
    return found


def shrink(png: Path) -> None:
    """A small file for a page: fewer pixels, fewer colours."""
    from PIL import Image

    with Image.open(png) as found:
        page = found.convert("RGB")
    page = page.resize((1000, round(1000 * page.height / page.width)), Image.Resampling.LANCZOS)
    page.quantize(255, method=Image.Quantize.MAXCOVERAGE).save(png, optimize=True)


async def shoot(runs: Path, name: str, play: Play, size: tuple[int, int], theme: str | None, out: Path) -> Path:
    """One screen as SVG."""
    from gentool.tui.app import GentoolApp

    app = GentoolApp(runs, theme=theme)
    async with app.run_test(size=size) as pilot:
        while not app.store.whole:
            await pilot.pause(0.05)
        await pilot.pause(0.5)
        await play(app, pilot)
        await pilot.pause(0.8)
        text = app.export_screenshot(title="gentool tui")
    file = out / f"{name}-{size[0]}x{size[1]}.svg"
    # Spaces at the beginning of a word would be lost otherwise.
    file.write_text(in_cells(text.replace("<svg ", '<svg xml:space="preserve" ', 1)), "utf-8")
    return file


def in_cells(svg: str) -> str:
    """Put each Braille pattern into its own cell: they come from another font, which is wider."""

    def apart(found: re.Match[str]) -> str:
        before, x, y, length, after, text = found.groups()
        words = html.unescape(text)
        wide = float(length) / len(words)
        return "".join(
            f'{before}x="{float(x) + i * wide:g}"{y} textLength="{wide:g}"{after}{html.escape(word)}</text>'
            for i, word in enumerate(words)
        )

    return BRAILLE.sub(apart, svg)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, help="a folder of runs to show")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--size", action="append", help="columns x lines, may be repeated", metavar="80x24")
    parser.add_argument("--only", action="append", help="a screen, may be repeated")
    parser.add_argument("--theme", default="gentool-dark")
    parser.add_argument("--readme", action="store_true")
    given = parser.parse_args()
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    os.environ.pop("NO_COLOR", None)
    home = Path(tempfile.mkdtemp(prefix="gentool-shots-"))
    os.environ |= {"XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    try:
        runs = given.runs or home / "runs"
        if given.runs is None:
            train(runs)
        sizes = [tuple(map(int, text.split("x"))) for text in given.size or ()] or list(SIZES)
        wanted = [(name, play, size) for size in sizes for name, play in screens().items()]
        out = given.out
        if given.readme:
            out = Path(__file__).resolve().parent / "pictures"
            wanted = [(name, screens()[name], size) for name, size in README.items()]
        out.mkdir(parents=True, exist_ok=True)
        out = out.resolve()
        runs = runs.resolve()
        os.chdir(runs.parent)  # so that no picture shows where on this machine it was made
        runs = Path(runs.name)
        for name, play, size in wanted:
            if given.only and name not in given.only:
                continue
            file = asyncio.run(shoot(runs, name, play, size, given.theme, out))
            if shutil.which("rsvg-convert"):
                png = out / (f"tui-{name}.png" if given.readme else file.with_suffix(".png").name)
                subprocess.run(["rsvg-convert", file, "-o", png], check=True)
                file.unlink()
                if given.readme:
                    shrink(png)
                file = png
            print(file)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
