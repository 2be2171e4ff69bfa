"""Makes the parts of README.md that are facts: the help text, the table of models, the picture. `--check` only compares.

python examples/readme.py            # rewrites the marked blocks and examples/pictures/
python examples/readme.py --check    # exit code 1 if README.md is not what this would write
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURES = ROOT / "examples" / "pictures"

# What the papers report, with the same protocol where there is one.
PAPERS = {
    ("vae", "mnist"): "86.76 nats, 5000-sample bound, dynamic (Burda et al. 2016, one layer, k = 1)",
    ("made", "mnist"): "84.87 nats, dynamic (published for its net)",
    ("nade", "mnist"): "85.65 nats, dynamic (published for its net)",
    ("pixelrnn", "mnist"): "79.20 nats, static (van den Oord et al. 2016)",
    ("pixelrnn", "mnist-row-lstm"): "80.54 nats, static (van den Oord et al. 2016)",
    ("pixelcnn", "mnist"): "81.45 nats (van den Oord et al. 2016; gated: 81.50)",
    ("charlm", "tinyshakespeare"): "1.47 nats/char by a 10.6 M transformer on a GPU (nanoGPT)",
    ("detect", "bccd"): "AP50 0.924 by YOLOv8n, the best published 0.947",
    ("single-stage", "bccd"): "AP50 0.924 by YOLOv8n, the best published 0.947",
    ("vqvae", "cifar10"): "4.67 bits/dim (van den Oord et al. 2017, original pixels)",
}
DETECTIONS = (("scenes", 2), ("bccd", 2))
# Which of a card's scores the table shows, in this order, by the start of their names ("=": by the whole name).
SHOWN = ("-iwae", "-elbo", "NLL", "bits/dim, at most", "FID (", "PSNR", "usage",
         "nats/char", "bits/char", "exact match", "BLEU", "chrF", "accuracy", "=AP50", "=AP")  # fmt: skip


def help_block() -> str:
    """`gentool --help`, as it prints."""
    from gentool.cli import run

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(["--help"])
    return "```\n$ gentool --help\n" + out.getvalue().rstrip() + "\n```"


def cards() -> list[tuple[str, str, dict]]:
    from gentool.registry import registry
    from gentool.runs.shipped import package_file

    found = []
    for spec in registry().all("model"):
        for key in spec.checkpoints:
            _, file = package_file(spec, key)
            found.append((spec.name, key, json.loads(file.with_suffix(".json").read_text("utf-8"))))
    return found


def matches(name: str, start: str) -> bool:
    return name == start[1:] if start[0] == "=" else name.startswith(start)


def shown_scores(card: dict) -> str:
    scores = card.get("scores", {})
    kept = [name for start in SHOWN for name in scores if matches(name, start)]
    kept = [
        name for name in kept if not (name[0] == "-" and scores[name].startswith("-"))
    ]  # a density of its own scale
    short = {name: name.partition(" (")[0].lstrip("-") for name in kept}
    return "; ".join(f"{short[name]} {scores[name]}" for name in dict.fromkeys(kept)) or "not scored"


def spent(card: dict) -> str:
    """Minutes of CPU time where the card has them; else by the clock, of one thread of a machine that others used, too."""
    if "cpu_seconds" in card:
        return f"{card['cpu_seconds'] / 60:.0f} CPU-min"
    return f"{card['seconds'] / 60:.0f} min, 1 CPU thread"


def models_block() -> str:
    """One row a shipped checkpoint: what it reached, against its paper, and the command that repeats it."""
    lines = ["| model | data | reached | its paper | size | trained in |", "|---|---|---|---|---|---|"]
    commands = ["", "The commands, each with its seed 0; `gentool info MODEL` shows every score of a card:", "", "```"]
    for name, key, card in cards():
        paper = PAPERS.get((name, key), "not reported")
        minutes = spent(card) if " thread" in card["device"] else card["device"]
        size = f"{card['parameters'] / 1e6:.2f} M"
        lines.append(f"| {name} | {key} | {shown_scores(card)} | {paper} | {size} | {minutes} |")
        commands.append(card["command"])
    return "\n".join([*lines, *commands, "```"])


WIDE, LABEL, SCALE, GAP = 410, 130, 2, 2  # pixels of a row's pictures and of its name; enlargement; between pictures
COLUMNS = 2


def opened(name: str, key: str) -> Any:
    """A shipped checkpoint."""
    import torch

    from gentool.runs.source import open_source

    return open_source(name, Path("nowhere"), torch.device("cpu"), shipped=key)


def drawn(source: Any, n: int) -> Any:
    """n samples of a checkpoint, with the seed of the README's pictures."""
    import torch

    from gentool.cli.given import given_for
    from gentool.sampling import Samples, draw
    from gentool.scoring import sampler_of

    spec, options = sampler_of(source)
    given, n = given_for(source, spec, torch.device("cpu"), image=None, data=None, n=n, quiet=True)
    events = draw(source.model, spec, options, n, seed=1, device="cpu", given=given)
    return next(event for event in events if isinstance(event, Samples))


def samples_picture() -> None:
    """Samples of every shipped model that draws pictures of 28 pixels or more, each beside its name, in two columns."""
    from PIL import Image, ImageDraw

    from gentool.registry import registry
    from gentool.show.grid import make_grid, save_png
    from gentool.show.pixels import font
    from gentool.specs import Output

    strips = []
    for name, key, _ in cards():
        if registry().find("model", name).output != Output.IMAGE:
            continue
        source = opened(name, key)
        side = source.info.image[2]
        if side < 28:
            continue
        n = WIDE // (side * SCALE + GAP)
        images = drawn(source, n).images
        strips.append((name, key, make_grid(images, columns=n, scale=SCALE, pad=GAP).convert("RGB")))
    rows = -(-len(strips) // COLUMNS)
    columns = [strips[start : start + rows] for start in range(0, len(strips), rows)]
    tall = max(sum(strip.height for *_, strip in column) for column in columns)
    page = Image.new("RGB", (len(columns) * (LABEL + WIDE), tall), "white")
    pen = ImageDraw.Draw(page)
    for i, column in enumerate(columns):
        left, top = i * (LABEL + WIDE), 0
        for name, key, strip in column:
            middle = top + strip.height // 2
            pen.text((left + 8, middle - 19), name, fill="black", font=font(16))
            pen.text((left + 8, middle + 1), key, fill=(110, 110, 110), font=font(14))
            page.paste(strip, (left + LABEL, top))
            top += strip.height
    save_png(page, PICTURES / "samples.png")


def detections_picture() -> None:
    """What the shipped detectors find on the pictures that they carry."""
    from PIL import Image

    from gentool.show.boxes import grid_with_boxes
    from gentool.show.grid import save_png

    grids = [grid_with_boxes(drawn(opened("detect", key), n)) for key, n in DETECTIONS]
    tall = min(g.height for g in grids)
    grids = [g.resize((round(g.width * tall / g.height), tall), Image.Resampling.LANCZOS) for g in grids]
    page = Image.new("RGB", (sum(g.width for g in grids), max(g.height for g in grids)), "white")
    left = 0
    for grid in grids:
        page.paste(grid, (left, 0))
        left += grid.width
    save_png(page, PICTURES / "detections.png")


def rewritten(text: str) -> str:
    for name, block in (("help", help_block()), ("models", models_block())):
        begin, end = f"<!-- {name}: made by examples/readme.py -->", f"<!-- end of {name} -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{block}\n{end}{tail}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--no-picture", action="store_true")
    options = parser.parse_args()
    before = README.read_text("utf-8")
    after = rewritten(before)
    if options.check:
        if before != after:
            print("README.md is not up to date: run python examples/readme.py", file=sys.stderr)
            return 1
        return 0
    README.write_text(after, "utf-8")
    if not options.no_picture:
        PICTURES.mkdir(exist_ok=True)
        samples_picture()
        detections_picture()
    return 0


if __name__ == "__main__":
    sys.exit(main())
