"""gentool sample MODEL|RUN|CHECKPOINT"""

from __future__ import annotations

import sys
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
PICTURES, TEXTS = (".png", ".npy", ".safetensors"), (".txt", ".json")
ENDINGS = (*PICTURES, *TEXTS)
BOXES = (".png", ".json")
MOST_PROMPT = 1 << 20
GRID = 256  # a picture of more would show nothing


@app.command()
def sample(
    source: SourceArgument,
    n: Annotated[
        int | None, typer.Option("-n", min=1, max=10_000_000, help="How many; 16 pictures or one text without.")
    ] = None,
    seed: SeedOption = 0,
    label: Annotated[str | None, typer.Option("--class", help="A class, by number or name.", metavar="C")] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Text to start from; - reads stdin.", metavar="TEXT")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", help="A picture to start from, or a folder; may be repeated.", metavar="FILE"),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Pictures of a data set to start from.", metavar="D[:SPLIT]")
    ] = None,
    complete: Annotated[
        str | None,
        typer.Option("--complete", help="A picture whose upper rows are kept; the rest is drawn.", metavar="FILE"),
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, help="How many rows --complete keeps; half without.")
    ] = None,
    score: Annotated[
        float, typer.Option("--score", min=0, max=1, help="Draw boxes of at least this score.", metavar="S")
    ] = 0.3,
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
    """Draw samples: pictures into a file (and the terminal), text to stdout as it is drawn."""
    use_plugins(plugin)
    path = out_path(out, ENDINGS) if out else None
    from gentool.cli import complete as completing

    completing.check_options(complete, rows, image, data)
    if complete is not None:
        sampler, image, n = sampler or completing.SAMPLER, [complete], n or completing.TIMES
        sets = [*(sets or []), *([] if rows is None else [f"rows={rows}"])]
    opened, where = open_source(source, runs, device, pretrained=pretrained, shipped=checkpoint, at=at, quiet=quiet)
    from gentool.scoring import sampler_of
    from gentool.specs import Output

    spec, options = sampler_of(opened, sampler, sampler_changes(sets))
    if prompt is not None:
        options = with_prompt(spec, options, read_prompt(prompt))
    index = class_index(opened, label)
    words, boxes = spec.output == Output.TEXT, spec.output == Output.BOXES
    check_ending(path, opened.spec.name, fitting=TEXTS if words else BOXES if boxes else PICTURES)
    from gentool.cli.given import given_for
    from gentool.sampling import draw

    given, n = given_for(opened, spec, where, image=image, data=data, n=n, quiet=quiet)
    n = n or (1 if words else 16)
    first = None
    if complete is not None and given is not None:
        first, given = completing.peek(given)
    events = draw(
        opened.model,
        spec,
        options,
        n,
        seed=seed,
        device=where,
        label=index,
        chunk=batch_size,
        stream="sample",
        given=given,
    )
    if boxes:
        events = drawn_from(events, score)
    if first is not None and (path is None or path.suffix.lower() == ".png"):
        events = completing.with_original(events, first, options)
    facts = {"n": n, "source": opened.origin, "sampler": spec.name, "seed": seed}
    if words and path is None:
        if as_json:
            texts = [text for chunk in with_bar(events, n, quiet=quiet) for text in chunk.text or ()]
            print_json({"text": texts, **facts})
        else:
            print_words(events, n, quiet=quiet)
        return 0
    if boxes and path is None and as_json:
        from gentool.detections import coco_results

        print_json([entry for chunk in with_bar(events, n, quiet=quiet) for entry in coco_results(chunk)])
        return 0
    if path is None:
        folder = opened.run / "samples" if opened.run else Path()
        path = folder / f"{opened.spec.name}-{spec.name}-seed{seed}.png"
        out_path(str(path), ENDINGS)
    from gentool.show.samples import write_samples

    shown = write_samples(path, with_bar(events, n, quiet=quiet), n, GRID)
    if out is None and opened.run and shown is not None and shown.detections is not None:
        from gentool.detections import sidecar_of, write_sidecar

        write_sidecar(sidecar_of(path), shown)
    if shown is not None and shown.images is not None and not quiet:
        picture(shown, images)
    if as_json:
        print_json({"file": str(path), **facts})
    else:
        print(path)
    return 0


def check_ending(path: Path | None, name: str, *, fitting: tuple[str, ...]) -> None:
    """Refuse a picture's file for a text, and the other way round, before anything is drawn."""
    from gentool.errors import UsageError
    from gentool.show.text import safe_text

    if path is not None and path.suffix.lower() not in fitting:
        ending = path.suffix.lower()
        what = "gives boxes" if fitting == BOXES else f"gives no {'text' if ending in TEXTS else 'pictures'}"
        raise UsageError(
            f"--out {safe_text(str(path))}: '{safe_text(name)}' {what}; name a {' or '.join(fitting)} file."
        )


def with_prompt(spec: Any, options: dict[str, Any], prompt: str) -> dict[str, Any]:
    """A sampler's or view's options with its text to start from; refused where it takes none."""
    from gentool.config import check
    from gentool.errors import UsageError
    from gentool.specs import config_fields

    if "prompt" not in config_fields(spec.config):
        raise UsageError(f"'{spec.name}' takes no text to start from; leave it out.")
    return {**options, "prompt": check(spec.config, "prompt", "the prompt", prompt, "the command line")}


def read_prompt(text: str) -> str:
    """The prompt itself, or stdin's text for "-"; what is no UTF-8 is refused."""
    from gentool.data.texts import decode
    from gentool.errors import UsageError

    if text == "-":
        data = sys.stdin.buffer.read(MOST_PROMPT + 1)
        if len(data) > MOST_PROMPT:
            raise UsageError(f"The prompt on stdin is longer than {MOST_PROMPT:,} bytes; give less.")
        return decode(data, "stdin").removesuffix("\n")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("The prompt is not UTF-8; type it again, or give it on stdin with --prompt -.") from None
    return text


def print_words(events: Iterator[Partial | Samples], n: int, *, quiet: bool) -> None:
    """Drawn text on stdout: one as it grows, several one after the other as they are finished."""
    from gentool.sampling import Samples
    from gentool.show.words import TextStream, print_texts

    if n == 1:
        stream = TextStream()
        for event in events:
            for text in event.text or ():
                stream.end(text) if isinstance(event, Samples) else stream.show(text)
        return
    first = True
    for chunk in with_bar(events, n, quiet=quiet):
        print_texts(chunk.text or (), chunk.captions, first=first)
        first = False


def sampler_changes(sets: list[str] | None) -> dict[str, Any]:
    """What `--set KEY=VALUE` (or `--set sampler.KEY=VALUE`) says of the sampler."""
    from gentool.config import parse_set

    return {key.removeprefix("sampler."): value for key, value in parse_set(sets or []).items()}


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
    from tqdm import tqdm

    from gentool.sampling import Partial

    with tqdm(total=n, unit="sample", disable=quiet or not sys.stderr.isatty(), leave=False) as bar:
        for event in events:
            if isinstance(event, Partial):
                bar.set_postfix_str(f"{event.done}/{event.total}", refresh=True)
            else:
                bar.update(len(event))
                yield event


def drawn_from(events: Iterator[Partial | Samples], score: float) -> Iterator[Partial | Samples]:
    """The same, with the score from which on boxes are drawn."""
    from gentool.sampling import Samples

    for event in events:
        if isinstance(event, Samples):
            event.least = score
        yield event


def picture(samples: Samples, mode: Images) -> None:
    """Samples in the terminal, in their own layout."""
    from gentool.show.terminal import show_image

    assert samples.images is not None
    if samples.detections is not None:
        from gentool.show.boxes import show_boxes

        show_boxes(samples, mode)
        return
    show_image(samples.images[:64], mode, columns=samples.columns, title=samples.title)
