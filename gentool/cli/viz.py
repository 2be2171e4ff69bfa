"""gentool viz MODEL|RUN --WHAT: the views that fit a model are samplers and evaluators that say they are views."""

from __future__ import annotations

from pathlib import Path
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
    seed: SeedOption = 0,
    sets: SetOption = None,
    out: Annotated[str | None, typer.Option("--out", help="FILE.png.")] = None,
    pretrained: PretrainedOption = False,
    checkpoint: ShippedOption = None,
    at: AtOption = "last",
    device: DeviceOption = "auto",
    runs: RunsOption = RUNS,
    plugin: PluginOption = None,
    images: ImagesOption = Images.AUTO,
    quiet: QuietOption = False,
) -> int:
    """Look at a trained model. Each view that fits is a flag: --interpolate, --traverse, ... (`gentool info MODEL`)."""
    use_plugins(plugin)
    from gentool.cli.eval import flags, folder_of, make_scorer, scorer_options, show_report
    from gentool.cli.sample import changed, class_index, picture, with_bar
    from gentool.errors import UsageError
    from gentool.registry import registry
    from gentool.sampling import draw
    from gentool.scoring import sampler_of
    from gentool.show.samples import write_samples

    names = flags(ctx.args, "viz")
    path = out_path_png(out)
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
            scorer = make_scorer(opened, where, data, None, seed, sets, [spec], quiet=quiet)
            show_report(scorer.run(spec, scorer_options(sets, name)), folder_of(opened), images, quiet=quiet)
            continue
        index = class_index(opened, label)
        _, options = sampler_of(opened, name)
        events = draw(
            opened.model, spec, changed(spec, options, sets), n, seed=seed, device=where, label=index, stream="view"
        )
        file = path or folder_of(opened) / f"{opened.spec.name}-{name}.png"
        shown = write_samples(file, with_bar(events, n, quiet=quiet), n, 4096)
        if shown is not None and shown.images is not None and not quiet:
            picture(shown, images)
        print(file)
    return 0


def out_path_png(out: str | None) -> Path | None:
    from gentool.cli.common import out_path

    return out_path(out, (".png",)) if out else None
