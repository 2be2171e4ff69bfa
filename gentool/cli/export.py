"""gentool export RUN --out FILE.safetensors [--EVALUATOR ...]"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gentool.cli.common import (
    RUNS,
    AtOption,
    DeviceOption,
    PluginOption,
    QuietOption,
    RunsOption,
    SetOption,
    out_path,
    say,
    use_plugins,
)

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def export(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="A run: its folder, its name or the start of it, or 'latest'.")],
    out: Annotated[str, typer.Option("--out", help="FILE.safetensors; a card FILE.json is written beside it.")],
    half: Annotated[bool, typer.Option("--half", help="fp16 weights: half the size.")] = False,
    at: AtOption = "last",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Score at most so many examples.")] = None,
    sets: SetOption = None,
    device: DeviceOption = "auto",
    runs: RunsOption = RUNS,
    plugin: PluginOption = None,
    quiet: QuietOption = False,
) -> int:
    """Write a run's (averaged) weights as one file that `sample` and `eval` take, with a card of how they were made.

    Evaluators named as flags (--elbo --fid) score the written file, and the figures go into the card.
    """
    use_plugins(plugin)
    from gentool.cli.eval import flags, make_scorer, scorer_options
    from gentool.runs.export_weights import export_run, write_card
    from gentool.runs.reader import resolve_run
    from gentool.runs.source import open_source
    from gentool.scoring import choose
    from gentool.training.devices import pick_device

    names = flags(ctx.args, "export")
    path = out_path(out, (".safetensors",))
    where = pick_device(device)
    size, card = export_run(Path(resolve_run(run, runs).path), path, where, half=half, at=at)
    if names:
        source = open_source(str(path), runs, where)  # what is scored is the file, after rounding
        chosen = choose(source, names)
        scorer = make_scorer(source, where, None, limit, 0, sets, chosen, quiet=quiet)
        for spec in chosen:
            report = scorer.run(spec, scorer_options(sets, spec.name))
            card["scores"].update(
                {s.name: f"{s.value:.4g} {s.unit}".strip() for s in report.scalars if s.value == s.value}
            )
            card["protocols"][spec.name] = report.protocol
        words = [*(f"--{name}" for name in names), *(["--limit", str(limit)] if limit else [])]
        words += [word for pair in sets or [] for word in ("--set", pair)]
        card["scored"] = " ".join(["gentool eval FILE", *words])
    write_card(path, card)
    say(f"{size / 1e6:.2f} MB, with its card {path.with_suffix('.json')}.", quiet=quiet)
    print(path)
    return 0
