"""gentool export RUN"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gentool.cli.common import RUNS, AtOption, PluginOption, QuietOption, RunsOption, out_path, say, use_plugins

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A run: its folder, its name or the start of it, or 'latest'.")],
    out: Annotated[str, typer.Option("--out", help="FILE.safetensors; a card FILE.json is written beside it.")],
    half: Annotated[bool, typer.Option("--half", help="fp16 weights: half the size.")] = False,
    at: AtOption = "last",
    score: Annotated[
        bool, typer.Option("--score", help="Run the model's evaluators and put the figures in the card.")
    ] = False,
    runs: RunsOption = RUNS,
    plugin: PluginOption = None,
    quiet: QuietOption = False,
) -> int:
    """Write a run's (averaged) weights as one file that `sample` and `eval` take, with a card of how they were made."""
    use_plugins(plugin)
    import torch

    from gentool.runs.export_weights import export_run
    from gentool.runs.reader import resolve_run

    path = out_path(out, (".safetensors",))
    where = Path(resolve_run(run, runs).path)
    size = export_run(where, path, torch.device("cpu"), half=half, at=at, score=score)
    say(f"{size / 1e6:.2f} MB, with its card {path.with_suffix('.json')}.", quiet=quiet)
    print(path)
    return 0
