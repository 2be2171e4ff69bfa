"""gentool sample MODEL|RUN|CHECKPOINT"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli.common import (
    RUNS,
    AtOption,
    DeviceOption,
    Images,
    ImagesOption,
    JsonOption,
    PluginOption,
    PretrainedOption,
    QuietOption,
    RunsOption,
    SeedOption,
    SetOption,
    ShippedOption,
    SourceArgument,
    open_source,
    out_path,
    print_json,
    use_plugins,
)

if TYPE_CHECKING:
    from gentool.runs.source import Source
    from gentool.sampling import Partial, Samples

app = typer.Typer(rich_markup_mode=None, add_completion=False)
ENDINGS = (".png", ".npy", ".safetensors", ".json", ".txt")
GRID = 256  # a picture of more would show nothing


@app.command()
def sample(
    source: SourceArgument,
    n: Annotated[int, typer.Option("-n", min=1, max=10_000_000, help="How many.")] = 16,
    seed: SeedOption = 0,
    label: Annotated[str | None, typer.Option("--class", help="A class, by number or name.", metavar="C")] = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="Another sampler that fits.")] = None,
    sets: SetOption = None,
    out: Annotated[str | None, typer.Option("--out", help="FILE.png, .npy, .safetensors, .json or .txt.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=100_000, help="Drawn at once.")] = 250,
    pretrained: PretrainedOption = False,
    checkpoint: ShippedOption = None,
    at: AtOption = "last",
    device: DeviceOption = "auto",
    runs: RunsOption = RUNS,
    plugin: PluginOption = None,
    images: ImagesOption = Images.AUTO,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Draw samples: a picture in the terminal and a file."""
    use_plugins(plugin)
    path = out_path(out, ENDINGS) if out else None
    opened, where = open_source(source, runs, device, pretrained=pretrained, shipped=checkpoint, at=at, quiet=quiet)
    from gentool.scoring import sampler_of

    spec, options = sampler_of(opened, sampler)
    options = changed(spec, options, sets)
    index = class_index(opened, label)
    from gentool.sampling import draw

    events = draw(
        opened.model, spec, options, n, seed=seed, device=where, label=index, chunk=batch_size, stream="sample"
    )
    if path is None:
        folder = opened.run / "samples" if opened.run else Path()
        path = folder / f"{opened.spec.name}-{spec.name}-seed{seed}.png"
        out_path(str(path), ENDINGS)
    from gentool.show.samples import write_samples

    shown = write_samples(path, with_bar(events, n, quiet=quiet), n, GRID)
    if shown is not None and shown.images is not None and not quiet:
        picture(shown, images)
    if as_json:
        print_json({"file": str(path), "n": n, "source": opened.origin, "sampler": spec.name, "seed": seed})
    else:
        print(path)
    return 0


def changed(spec: Any, options: dict[str, Any], sets: list[str] | None) -> dict[str, Any]:
    """A sampler's options after `--set KEY=VALUE` (or `--set sampler.KEY=VALUE`)."""
    from gentool.config import build_dataclass, parse_set

    given = {key.removeprefix("sampler."): value for key, value in parse_set(sets or []).items()}
    return dataclasses.asdict(build_dataclass(spec.config, {**options, **given}, f"--set of sampler {spec.name}"))


def class_index(source: Source, text: str | None) -> int | None:
    """`--class 3` or `--class sneaker` as an index; refused for a model that takes no class."""
    from gentool.errors import UsageError, did_you_mean
    from gentool.show.text import safe_text

    if text is None:
        return None
    names = source.info.classes
    if not getattr(source.model, "conditional", False):
        hint = ""
        if "conditional" in source.spec.presets:
            hint = f" Train one that does: gentool train {source.spec.name} --preset conditional."
        raise UsageError(f"This '{source.spec.name}' was trained without classes, so --class has no meaning.{hint}")
    lowered = [name.lower() for name in names]
    if text.lower() in lowered:
        return lowered.index(text.lower())
    if text.isascii() and text.isdigit() and int(text[:6]) < len(names):
        return int(text)
    raise UsageError(
        f"There is no class '{safe_text(text)[:40]}': 0 to {len(names) - 1}, or a name.{did_you_mean(text, names)}"
    )


def with_bar(events: Iterator[Partial | Samples], n: int, *, quiet: bool) -> Iterator[Samples]:
    """The finished samples of a stream of events, with a bar on a terminal."""
    import sys

    from tqdm import tqdm

    from gentool.sampling import Partial

    with tqdm(total=n, unit="sample", disable=quiet or not sys.stderr.isatty(), leave=False) as bar:
        for event in events:
            if isinstance(event, Partial):
                bar.set_postfix_str(f"{event.done}/{event.total}", refresh=True)
            else:
                bar.update(len(event))
                yield event


def picture(samples: Samples, mode: Images) -> None:
    """Samples in the terminal, in their own layout."""
    from gentool.show.terminal import show_image

    assert samples.images is not None
    show_image(samples.images[:64], mode, columns=samples.columns, title=samples.title)


def metadata(source: Source, **facts: Any) -> str:
    return json.dumps({"model": source.spec.name, "origin": source.origin, **facts})
