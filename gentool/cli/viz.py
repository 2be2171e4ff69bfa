"""gentool viz MODEL|RUN --WHAT: the views that fit a model are samplers and evaluators that say they are views."""

from __future__ import annotations

from typing import Annotated

import typer

from gentool.cli.common import (
    RUNS,
    AtOption,
    DeviceOption,
    Images,
    ImagesOption,
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
    use_plugins,
)

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def viz(
    ctx: typer.Context,
    source: SourceArgument,
    n: Annotated[int, typer.Option("-n", min=1, max=4096, help="How many, where a view draws several.")] = 16,
    label: Annotated[str | None, typer.Option("--class", help="A class, by number or name.", metavar="C")] = None,
    data: Annotated[str | None, typer.Option("--data", help="A data set, or SET:SPLIT.", metavar="D[:SPLIT]")] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", help="A picture for a view that starts from one.", metavar="FILE")
    ] = None,
    seed: SeedOption = 0,
    sets: SetOption = None,
    out: Annotated[str | None, typer.Option("--out", help="FILE.png, or .txt and .json of a text.")] = None,
    pretrained: PretrainedOption = False,
    checkpoint: ShippedOption = None,
    at: AtOption = "last",
    device: DeviceOption = "auto",
    runs: RunsOption = RUNS,
    plugin: PluginOption = None,
    images: ImagesOption = Images.AUTO,
    quiet: QuietOption = False,
) -> int:
    """Look at a trained model: gentool viz MODEL --VIEW [TEXT]. Each view that fits is a flag: --interpolate, --traverse,
    ... (`gentool info MODEL`); some start from a text."""
    use_plugins(plugin)
    from gentool.cli.eval import flags, folder_of, make_scorer, scorer_options, show_report
    from gentool.cli.given import given_for
    from gentool.cli.sample import (
        ENDINGS,
        PICTURES,
        TEXTS,
        check_ending,
        class_index,
        picture,
        sampler_changes,
        with_bar,
        with_prompt,
    )
    from gentool.errors import UsageError
    from gentool.registry import registry
    from gentool.sampling import draw
    from gentool.scoring import sampler_of
    from gentool.show.samples import joined, write_samples
    from gentool.show.text import safe_text
    from gentool.show.words import print_texts

    names = flags([word for word in ctx.args if word.startswith("-")], "viz")
    prompt = text_of([word for word in ctx.args if not word.startswith("-")])
    path = out_path(out, ENDINGS) if out else None
    reg = registry()
    opened, where = open_source(source, runs, device, pretrained=pretrained, shipped=checkpoint, at=at, quiet=quiet)
    views = {s.name: s for kind in ("sampler", "evaluator") for s in reg.fitting(kind, opened.spec) if s.view}
    if not names:
        there = ", ".join(f"--{name}" for name in sorted(views)) or "none"
        raise UsageError(f"What of '{opened.spec.name}' is to be seen? There is: {there}.")
    for name in names:
        kind = "sampler" if name in reg.names("sampler") else "evaluator"
        spec = reg.find_fitting(kind, name, opened.spec)
        if kind == "evaluator":
            options = scorer_options(sets, name)
            options = options if prompt is None else with_prompt(spec, options, prompt)
            scorer = make_scorer(opened, where, data, None, seed, sets, [spec], quiet=quiet)
            if path is not None and path.suffix.lower() != ".png":
                raise UsageError(f"--out {safe_text(str(path))}: --{name} gives pictures; name a .png file.")
            show_report(scorer.run(spec, options), folder_of(opened), images, quiet=quiet, out=path)
            continue
        index = class_index(opened, label)
        _, options = sampler_of(opened, name, sampler_changes(sets))
        options = options if prompt is None else with_prompt(spec, options, prompt)
        given, count = given_for(opened, spec, where, image=image, data=data, n=1 if spec.pictures else n, quiet=quiet)
        events = draw(
            opened.model, spec, options, count or n, seed=seed, device=where, label=index, stream="view", given=given
        )
        shown = joined(with_bar(events, n, quiet=quiet))
        if shown is None:
            continue
        words = shown.images is None
        check_ending(path, name, fitting=TEXTS if words else PICTURES)
        if words and path is None:
            print_texts(shown.text or (), shown.captions)
            continue
        file = path or folder_of(opened) / f"{opened.spec.name}-{name}.png"
        write_samples(file, iter([shown]), len(shown), len(shown))
        if not words:
            if not quiet:
                picture(shown, images)
            if shown.text:
                print_texts(shown.text, shown.captions)
        print(file)
    return 0


def text_of(words: list[str]) -> str | None:
    """The text that a view is to start from, if one was given."""
    from gentool.errors import UsageError
    from gentool.show.text import safe_text

    if len(words) > 1:
        raise UsageError(f"gentool viz takes one text; put it in quotes: '{safe_text(' '.join(words))[:60]}'.")
    return words[0] if words else None
