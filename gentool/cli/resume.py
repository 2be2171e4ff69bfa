"""gentool resume RUN"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gentool.cli.common import (
    RUNS,
    Images,
    ImagesOption,
    JsonOption,
    PluginOption,
    QuietOption,
    RunsOption,
    say,
    use_plugins,
)

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="A run: its folder, its name or the start of it, or 'latest'.")],
    steps: Annotated[int | None, typer.Option("--steps", help="A new total of steps.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="A new total of minutes.", min=0)] = None,
    device: Annotated[str | None, typer.Option("--device", help="Another device.")] = None,
    runs: RunsOption = RUNS,
    plugin: PluginOption = None,
    images: ImagesOption = Images.AUTO,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Go on with a run in its folder, from its newest whole checkpoint."""
    use_plugins(plugin)
    from gentool.cli.train import carry_out
    from gentool.errors import UsageError
    from gentool.runs import checkpoint
    from gentool.runs.lock import RunLock
    from gentool.runs.reader import resolve_run
    from gentool.training import session

    path = Path(resolve_run(run, runs).path)
    overrides: dict[str, object] = {}
    if minutes is not None:
        overrides["train.minutes"] = minutes
    if device is not None:
        overrides["train.device"] = device
    RunLock(path).probe()
    made, folder, found = session.reopen(path, steps, overrides)
    if found is None:
        say(f"{path.name} has no checkpoint yet: it begins again.", quiet=quiet)
        return carry_out(made, folder, None, images=images, quiet=quiet, as_json=as_json)
    for why in found.skipped:
        say(f"Skipped: {why}.")
    train = made.config["train"]
    seconds = float(found.state.get("seconds", 0))
    if (train.steps and found.step >= train.steps) or (train.minutes and seconds >= 60 * train.minutes):
        with RunLock(path):  # it may have been killed between its last checkpoint and its last word
            checkpoint.sweep(path / "checkpoints")
            folder.update(status="done", reason="", step=found.step)
        raise UsageError(
            f"The run {path.name} is complete: {found.step} steps. To train longer: gentool resume {path.name} "
            f"--steps {2 * found.step}."
        )
    say(f"Resuming {path.name} from step {found.step}.", quiet=quiet)
    return carry_out(made, folder, found, images=images, quiet=quiet, as_json=as_json)
