"""gentool eval MODEL|RUN|CHECKPOINT --EVALUATOR ..."""

from __future__ import annotations

import sys
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
    print_json,
    say,
    use_plugins,
)

if TYPE_CHECKING:
    from gentool.evaluating import Report
    from gentool.runs.source import Source

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def evaluate(
    ctx: typer.Context,
    source: SourceArgument,
    data: Annotated[str | None, typer.Option("--data", help="A data set, or SET:SPLIT.", metavar="D[:SPLIT]")] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="Score a file of results instead of a model.", metavar="FILE"),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many examples.")] = None,
    seed: SeedOption = 0,
    sampler: Annotated[
        str | None, typer.Option("--sampler", help="Draw samples by another sampler that fits.", metavar="NAME")
    ] = None,
    sets: SetOption = None,
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
    """Score a trained model. Each evaluator that fits is a flag: --elbo, --fid, ... (`gentool info MODEL`)."""
    use_plugins(plugin)
    names = flags(ctx.args, "eval")
    if predictions is not None:
        refused = {
            "--pretrained": pretrained,
            "--checkpoint": checkpoint is not None,
            "--at": at != "last",
            "--sampler": sampler is not None,
        }
        return _score_file(source, names, predictions, data, limit, sets, images, refused, quiet=quiet, as_json=as_json)
    opened, where = open_source(source, runs, device, pretrained=pretrained, shipped=checkpoint, at=at, quiet=quiet)
    from gentool.errors import UsageError
    from gentool.scoring import choose

    chosen = choose(opened, names)
    if not chosen:
        raise UsageError(
            f"'{opened.spec.name}' names no evaluators of its own; `gentool info {opened.spec.name}` shows which fit."
        )
    scorer = make_scorer(opened, where, data, limit, seed, sets, chosen, sampler=sampler, quiet=quiet)
    reports = []
    for spec in chosen:
        report = scorer.run(spec, scorer_options(sets, spec.name))
        reports.append(report)
        if not as_json:
            show_report(report, folder_of(opened), images, quiet=quiet)
    if (sampler or scorer.sampler_changes) and not scorer.drew:
        say("No samples were drawn for this, so that the sampler's settings changed nothing.", quiet=quiet)
    if as_json:
        drawn = {"sampler": sampler, "sampler_changes": scorer.sampler_changes}
        drawn = {key: value for key, value in drawn.items() if value}
        print_json(
            {"source": opened.origin, "model": opened.spec.name, **drawn, "reports": [r.to_json() for r in reports]}
        )
    return 0


def _score_file(
    source: str,
    names: list[str],
    path: Path,
    data: str | None,
    limit: int | None,
    sets: list[str] | None,
    images: Images,
    refused: dict[str, bool],
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    """`--predictions FILE`: scores a file by the family's evaluators; no model is opened."""
    from gentool.errors import UsageError
    from gentool.predictions import choose, score_file

    for flag, given in refused.items():
        if given:
            raise UsageError(f"{flag} chooses a model, but --predictions scores a file: give one of the two.")
    model, chosen = choose(source, names)
    name, split = split_of(data)
    options = set_options(sets, [spec.name for spec in chosen])
    reports = []
    for spec in chosen:
        report = score_file(model, spec, options[spec.name], path, name, split, limit, options["data"])
        reports.append(report)
        if not as_json:
            show_report(report, Path(), images, quiet=quiet)
    if as_json:
        print_json({"source": str(path), "model": model.name, "reports": [r.to_json() for r in reports]})
    return 0


def flags(arguments: list[str], verb: str) -> list[str]:
    """``["--elbo", "--fid"]`` -> names; anything else is refused with one sentence."""
    from gentool.errors import UsageError, did_you_mean
    from gentool.registry import registry
    from gentool.show.text import safe_text

    names = []
    for word in arguments:
        if not word.startswith("--") or len(word) < 3:
            raise UsageError(
                f"gentool {verb} does not understand '{safe_text(word)[:60]}'. See `gentool {verb} --help`."
            )
        name = word[2:]
        if "=" in name:
            raise UsageError(
                f"--{safe_text(name)[:60]} takes no value; set options with --set {name.partition('=')[0]}.KEY=VALUE."
            )
        known = registry().names("evaluator") + (registry().names("sampler") if verb == "viz" else [])
        own = [
            "data",
            "predictions",
            "limit",
            "seed",
            "sampler",
            "set",
            "pretrained",
            "checkpoint",
            "at",
            "device",
            "runs",
            "images",
            "quiet",
            "json",
        ]
        if name not in known:
            raise UsageError(
                f"gentool {verb} has no option '--{safe_text(name)[:60]}'.{did_you_mean(name, known + own)}"
            )
        names.append(name)
    return names


def make_scorer(
    opened: Source,
    where: Any,
    data: str | None,
    limit: int | None,
    seed: int,
    sets: list[str] | None,
    chosen: Any,
    *,
    sampler: str | None = None,
    quiet: bool,
) -> Any:
    """The scorer of a call, with its bar, its sampler and its `--set data.*`, `--set sampler.*`."""
    from gentool.scoring import Scorer, sampler_of

    name, split = split_of(data)
    options = set_options(sets, ["sampler", *(spec.name for spec in chosen)])
    changes = options["sampler"]
    if sampler or changes:  # refused before anything is scored, and said beside the figures
        spec, settings = sampler_of(opened, sampler, changes)
        words = ", ".join(f"{key} {settings[key]}" for key in changes)
        say(f"Samples by {spec.name}{': ' + words if words else ''}.", quiet=quiet)
    return Scorer(
        opened,
        where,
        seed=seed,
        data=name,
        split=split,
        limit=limit,
        data_changes=options["data"],
        sampler=sampler,
        sampler_changes=changes,
        on_progress=_bar(quiet),
    )


def set_options(sets: list[str] | None, evaluators: list[str]) -> dict[str, dict[str, Any]]:
    """What `--set` says of each evaluator, and of "data"; a key of anything else is refused."""
    from gentool.config import parse_set
    from gentool.errors import UsageError, did_you_mean

    options: dict[str, dict[str, Any]] = {name: {} for name in ("data", *evaluators)}
    for key, value in parse_set(sets or []).items():
        prefix, _, rest = key.partition(".")
        if prefix not in options or not rest:
            kinds = ["EVALUATOR.KEY=VALUE", "data.KEY=VALUE", *(["sampler.KEY=VALUE"] if "sampler" in options else [])]
            raise UsageError(f"--set {key}: here it is {' or '.join(kinds)}.{did_you_mean(prefix, options)}")
        options[prefix][rest] = value
    return options


def scorer_options(sets: list[str] | None, name: str) -> dict[str, Any]:
    from gentool.config import parse_set

    return {
        key.partition(".")[2]: value for key, value in parse_set(sets or []).items() if key.partition(".")[0] == name
    }


def split_of(data: str | None) -> tuple[str | None, str | None]:
    """``mnist:test`` -> ("mnist", "test"); ``folder:pics:train`` -> ("folder:pics", "train"); ``:train`` -> (None, "train")."""
    if data is None:
        return None, None
    name, colon, split = data.rpartition(":")
    if colon and split in ("train", "validation", "test"):
        return name or None, split
    return data, None


def _bar(quiet: bool) -> Any:
    if quiet or not sys.stderr.isatty():
        return lambda name, done, total: None
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def update(name: str, done: int, total: int) -> None:
        bar = bars.get(name)
        if bar is None or done < bar.n:
            bar = bars[name] = tqdm(total=total, desc=name, leave=False, unit="ex")
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
            bars.pop(name)

    return update


def folder_of(opened: Source) -> Path:
    return opened.run / "samples" if opened.run else Path()


def show_report(report: Report, folder: Path, images: Images, *, quiet: bool, out: Path | None = None) -> None:
    """A report as text on stdout; its pictures and plots as files, and in the terminal where there is one.

    The files lie in `folder` by their names, or are FILE.png, FILE-2.png, ... where `out` names a file.
    """
    from gentool.show.grid import make_grid, save_png
    from gentool.show.heatmap import heatmap_png, heatmap_terminal
    from gentool.show.plots import plot_png, plot_terminal
    from gentool.show.tables import print_table
    from gentool.show.terminal import show_image
    from gentool.show.text import safe_text

    print(report.name + (f"  ({safe_text(report.protocol)})" if report.protocol else ""))
    made = 0

    def file(name: str) -> Path:
        nonlocal made
        made += 1
        if out is None:
            return folder / f"{name}.png".replace(" ", "-")
        return out if made == 1 else out.with_stem(f"{out.stem}-{made}")

    width = max((len(s.name) for s in report.scalars), default=0)
    for scalar in report.scalars:
        print(f"  {safe_text(scalar.name):{width}}  {safe_text(scalar.text())}")
    if report.table:
        print_table(report.table)
    if report.curves:
        path = file(report.name)
        save_png(plot_png(report.curves, report.axes, log_y=report.log_y, title=report.name), path)
        if not quiet and sys.stderr.isatty():
            plot_terminal(report.curves, report.axes, log_y=report.log_y, title=report.name)
        print(path)
    for heat in report.heatmaps:
        path = file(f"{report.name}-{heat.name}")
        save_png(heatmap_png(heat), path)
        if not quiet and images != Images.OFF:
            heatmap_terminal(heat)
        print(path)
    for item in report.pictures:
        path = file(f"{report.name}-{item.name}")
        save_png(make_grid(item.images, columns=item.columns), path)
        if not quiet:
            show_image(item.images, images, columns=item.columns, title=item.name)
        print(path)
    say("", quiet=True)
