"""gentool runs [ls|show|compare|rm|export]"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli.common import RUNS, Images, ImagesOption, JsonOption

if TYPE_CHECKING:
    from gentool.runs.reader import RunView

app = typer.Typer(
    help="List, show, compare, remove and export runs. Without a verb: list.",
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
SCREEN = 40  # runs shown on a terminal unless --limit says otherwise

RunArgument = Annotated[
    str, typer.Argument(help="Its id or the start of it, a folder, a model's name, or 'latest'.", metavar="RUN")
]
RunsArgument = Annotated[list[str], typer.Argument(help="Ids or the starts of them.", metavar="RUN...")]
Root = Annotated[Path | None, typer.Option("--runs", help="The folder of runs (default: ./runs).")]
Filter = Annotated[
    list[str] | None,
    typer.Option("--filter", help="KEY=VALUE, also : (a part) != < > <= >=; may be repeated.", metavar="K=V"),
]
Sort = Annotated[str | None, typer.Option("--sort", help="A key, a metric or a config key; -KEY falls.", metavar="KEY")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help=f"At most so many (a terminal: {SCREEN}).")]
Out = Annotated[Path | None, typer.Option("--out", help="Write the plot to FILE.png.", metavar="FILE.png")]
Metric = Annotated[list[str] | None, typer.Option("--metric", help="What to plot; may be repeated.", metavar="NAME")]


@app.callback(invoke_without_command=True)
def runs(
    ctx: typer.Context,
    filters: Filter = None,
    sort: Sort = None,
    limit: Limit = None,
    root: Root = None,
    as_json: JsonOption = False,
) -> int | None:
    """List, show, compare, remove and export runs. Without a verb: list."""
    ctx.obj = root
    if ctx.invoked_subcommand is None:
        return _list(root or RUNS, filters or [], [], sort, limit, as_json)
    return None


def _root(ctx: typer.Context, own: Path | None) -> Path:
    return own or ctx.obj or RUNS


# -- ls ----------------------------------------------------------------------------------------------------------------


@app.command()
def ls(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(help="More filters, or words to find.", metavar="[K=V]...")
    ] = None,
    filters: Filter = None,
    sort: Sort = None,
    limit: Limit = None,
    root: Root = None,
    as_json: JsonOption = False,
) -> int:
    """List runs, newest first: gentool runs ls model:gan status=done 'loss<0.3' --sort best"""
    return _list(_root(ctx, root), filters or [], words or [], sort, limit, as_json)


def _list(root: Path, filters: list[str], words: list[str], sort: str | None, limit: int | None, as_json: bool) -> int:
    import sys

    from gentool.cli.common import say
    from gentool.runs.reader import list_runs
    from gentool.runs.select import order, select
    from gentool.show.tables import print_json, print_table
    from gentool.show.text import safe_text

    found = everything = list_runs(root)
    found = select(found, filters, words)
    if sort:
        found = order(found, sort)
    matching = len(found)
    if limit is None and sys.stdout.isatty() and not as_json:
        limit = SCREEN
    found = found[:limit]
    if as_json:
        print_json([run.to_json() for run in found])
        return 0
    if not found:
        which = "No run passes the filter" if everything else f"There is no run in '{safe_text(root)}' yet"
        hint = "`gentool runs` lists all" if everything else "start one: gentool train vae"
        say(f"{which}; {hint}.")
        return 0
    print_table([_row(run) for run in found], _columns())
    if matching > len(found):
        say(f"{len(found)} of {matching:,} runs; all: --limit {matching}.")
    return 0


def _row(run: RunView) -> dict[str, Any]:
    import time

    from gentool.show import units

    step = "-" if run.step is None else units.number(run.step)
    name, figure = run.key or ("", None)
    return {
        "id": run.name,
        "model": run.model or "-",
        "data": run.data or "-",
        "status": run.status,
        "step": step if not run.total else f"{step}/{units.number(run.total)}",
        "metric": f"{units.number(figure)} {name}" if run.key else "-",
        "age": units.age(None if run.started is None else time.time() - run.started),
        "size": units.size(run.size),
    }


def _columns() -> list[Any]:
    from gentool.show.tables import Column

    colours = {"running": "cyan", "done": "green", "failed": "red", "crashed": "red", "damaged": "red"}
    return [
        Column("id", "run", shrink=True, least=22),
        Column("model", priority=3, shrink=True, least=6),
        Column("data", priority=4, shrink=True, least=6),
        Column("status", style=lambda value: colours.get(value, "yellow")),
        Column("step", align="right", priority=1),
        Column("metric", priority=2, shrink=True, least=8),
        Column("age", align="right", priority=5),
        Column("size", align="right", priority=6),
    ]


# -- show --------------------------------------------------------------------------------------------------------------


@app.command()
def show(
    ctx: typer.Context,
    run: RunArgument,
    metric: Metric = None,
    config: Annotated[bool, typer.Option("--config", help="Every config key, not only what was changed.")] = False,
    out: Out = None,
    images: ImagesOption = Images.AUTO,
    root: Root = None,
    as_json: JsonOption = False,
) -> int:
    """Show one run: what it is, its metrics, its curve, its checkpoints and what can be done next."""
    from gentool.runs.reader import resolve_run

    view = resolve_run(run, _root(ctx, root))
    if as_json:
        from gentool.show.tables import print_json

        print_json({**view.to_json(), "config": view.config, "config_problem": view.config_problem or None})
        return 0
    from gentool.runs.describe import show_run

    show_run(view, metrics=metric or [], whole_config=config, out=_png(out), images=images)
    return 0


@app.command()
def compare(
    ctx: typer.Context,
    runs: RunsArgument,
    metric: Metric = None,
    out: Out = None,
    root: Root = None,
    as_json: JsonOption = False,
) -> int:
    """Compare runs: where their configs differ, their last metrics, and their curves over each other."""
    from gentool.errors import UsageError
    from gentool.runs.describe import compare_runs
    from gentool.runs.reader import resolve_run

    views = {view.path.resolve(): view for view in (resolve_run(text, _root(ctx, root)) for text in runs)}
    if len(views) < 2:
        raise UsageError("Comparing takes two runs or more: gentool runs compare RUN RUN.")
    if len(views) > 26:
        raise UsageError(f"Comparing takes at most 26 runs, not {len(views)}.")
    compare_runs(list(views.values()), metrics=metric or [], out=_png(out), as_json=as_json)
    return 0


def _png(out: Path | None) -> Path | None:
    from gentool.cli.common import out_path

    return None if out is None else out_path(str(out), (".png",))


# -- rm and export -----------------------------------------------------------------------------------------------------


@app.command()
def rm(
    ctx: typer.Context,
    runs: RunsArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Root = None,
) -> int:
    """Remove runs with all that is in them. Asks first; never a run that is being trained."""
    import sys

    from gentool.cli.common import say
    from gentool.errors import UsageError
    from gentool.runs.find import find_run
    from gentool.runs.remove import check_removable, remove_run
    from gentool.show import units
    from gentool.show.text import safe_text

    home = _root(ctx, root)
    views = {view.path.resolve(): view for view in (find_run(text, home, exact=True) for text in runs)}
    for view in views.values():
        check_removable(view, home)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("Removing cannot be undone; without a terminal to ask on, say it with --yes.")
        for view in views.values():
            say(f"{safe_text(view.name)}  {view.status}, {units.size(view.size)}")
        if not typer.confirm(f"Remove {len(views)} run{'s' * (len(views) > 1)} for good?", err=True):
            say("Nothing was removed.")
            return 0
    for view in views.values():
        remove_run(view, home)
        print(safe_text(view.path))
    return 0


@app.command()
def export(
    ctx: typer.Context,
    run: RunArgument,
    csv: Annotated[str | None, typer.Option("--csv", help="FILE.csv, or - for stdout.", metavar="FILE")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="A folder of events.", metavar="DIR")
    ] = None,
    root: Root = None,
) -> int:
    """Write a run's metrics for other programs: --csv FILE or --tensorboard DIR."""
    import sys

    from gentool.cli.common import out_path, say
    from gentool.errors import UsageError
    from gentool.runs.export import export_csv, export_tensorboard, write_csv
    from gentool.runs.reader import resolve_run
    from gentool.show.text import safe_text

    if csv is None and tensorboard is None:
        raise UsageError("Where to? --csv FILE or --tensorboard DIR.")
    view = resolve_run(run, _root(ctx, root))
    if csv == "-":
        write_csv(view, sys.stdout)
    elif csv is not None:
        target = out_path(csv, (".csv",))
        say(f"{export_csv(view, target):,} rows.")
        print(safe_text(target))
    if tensorboard is not None:
        folder, rows = export_tensorboard(view, tensorboard)
        say(f"{rows:,} steps. Look at them with: tensorboard --logdir {safe_text(tensorboard)}")
        print(safe_text(folder))
    return 0
