"""gentool train MODEL"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gentool.cli.common import (
    RUNS,
    Images,
    ImagesOption,
    JsonOption,
    PluginOption,
    QuietOption,
    RunsOption,
    SetOption,
    print_json,
    say,
    use_plugins,
)

if TYPE_CHECKING:
    from gentool.config import Layer
    from gentool.runs.checkpoint import Checkpoint
    from gentool.runs.folder import RunFolder
    from gentool.sampling import Samples
    from gentool.training.session import Plan

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="Which model: see `gentool list`.")],
    data: Annotated[str | None, typer.Option("--data", help="A data set's name, or folder:PATH.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="A named set of settings.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="Another objective that fits.")] = None,
    config: Annotated[str | None, typer.Option("--config", help="Settings from a TOML file.", metavar="FILE")] = None,
    sets: SetOption = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Optimiser steps in all.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="A budget of time instead.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Examples a step.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything random.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:i.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="fp32 or bf16.")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the model.")] = False,
    data_dir: Annotated[str | None, typer.Option("--data-dir", help="Where data sets lie.", metavar="DIR")] = None,
    runs: RunsOption = RUNS,
    name: Annotated[str | None, typer.Option("--name", help="A name for the run's folder.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    plugin: PluginOption = None,
    images: ImagesOption = Images.AUTO,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train a model; the run goes to a folder of its own and can be resumed at any time."""
    use_plugins(plugin)
    from gentool.config import Layer, parse_set, read_file, resolve
    from gentool.runs.folder import check_name

    if name is not None:
        check_name(name)
    layers: list[Layer] = []
    if config is not None:
        layers.append(Layer(f"file {config}", read_file(config)))
    layers.append(Layer("--set", parse_set(sets or [])))
    given = {
        "data.name": ("--data", data),
        "data.dir": ("--data-dir", data_dir),
        "loss.name": ("--loss", loss),
        "train.steps": ("--steps", steps),
        "train.minutes": ("--minutes", minutes),
        "train.batch_size": ("--batch-size", batch_size),
        "train.seed": ("--seed", seed),
        "train.device": ("--device", device),
        "train.precision": ("--precision", precision),
        "train.compile": ("--compile", compile or None),
    }
    layers += [Layer(flag, {key: value}) for key, (flag, value) in given.items() if value is not None]
    if minutes is not None and steps is None and not any("train.steps" in layer.values for layer in layers):
        layers.append(Layer("--minutes", {"train.steps": 0}))
    resolved = resolve(model, layers, preset)

    from gentool.training import session

    made = session.plan(resolved)
    if dry_run:
        from gentool.cli.dryrun import report

        report(made, runs, as_json=as_json)
        return 0
    run = session.begin(made, runs, name, preset)
    return carry_out(made, run, None, images=images, quiet=quiet, as_json=as_json)


def carry_out(
    made: Plan, run: RunFolder, found: Checkpoint | None, *, images: Images, quiet: bool, as_json: bool
) -> int:
    """Train to the end (from a checkpoint if one is given), show what came of it, and say what can be done next."""
    from gentool.cli.progress import Bar, made_by, preview, reconstructions
    from gentool.runs import checkpoint
    from gentool.specs import Output
    from gentool.training import session
    from gentool.training.devices import peak_memory
    from gentool.training.trainer import Hooks

    train = made.config["train"]
    hooks = Hooks(notice=say)
    with session.opened(run):
        checkpoint.sweep(run.path / "checkpoints")
        trainer = session.trainer(made, run, hooks)
        if found is not None:
            trainer.load(found)
            run.begin(total_steps=train.steps, minutes=train.minutes)
        else:
            trainer.begin()
        say(
            f"Training {made.config.model_spec.name} on {made.config['data'].name}: {made.parameters:,} parameters, "
            f"{made.device}, {made.config['train'].precision}. Run: {run.path}",
            quiet=quiet,
        )
        bar = Bar(train.steps, trainer.progress.step, train.minutes, quiet=quiet)
        hooks.on_step = bar
        hooks.preview = lambda step: void(preview(made, trainer, step, quiet=quiet))
        try:
            outcome = trainer.fit()
        finally:
            bar.close()
        run.update(
            status=outcome,
            reason="",
            step=trainer.progress.step,
            **trainer.spent_time(),
            peak_bytes=peak_memory(made.device),
        )
        run.log(f"{outcome} at step {trainer.progress.step}")

        if outcome == "done" and made.config["preview"].n:
            step = trainer.progress.step
            last = reconstructions(made, trainer, 8)
            _show(run, "reconstructions (originals above)", last, step, images, quiet=quiet)
            n = 16 if made.config.model_spec.output != Output.TEXT else 1
            columns = None if made.config.model_spec.output == Output.BOXES else 8
            _show(run, "samples", made_by(made, trainer, n, columns=columns), step, images, quiet=quiet)
    if as_json:
        best = trainer.progress.best
        print_json(
            {
                "run": str(run.path),
                "status": outcome,
                "step": trainer.progress.step,
                "seconds": trainer.progress.seconds,
                "cpu_seconds": trainer.progress.cpu_seconds,
                "best": best,
                "losses": bar.losses,
                "digest": session.weights_digest(trainer.model),
            }
        )
    else:
        print(run.path)
    if outcome == "interrupted":
        say(f"Stopped at step {trainer.progress.step}, all saved. Go on with:\n  gentool resume {run.path}")
        return 130
    from gentool.show.units import duration

    model = made.config.model_spec
    verb = f"gentool eval {run.path}" if model.evaluators else f"gentool info {model.name}"
    again = [f"gentool sample {run.path}"] if made.config.sampler_spec else []
    say(
        f"Done: {trainer.progress.step} steps in {trainer.progress.seconds:.0f} s "
        f"({duration(trainer.progress.cpu_seconds)} of CPU time). The run lies in {run.path}. Next:\n"
        + "\n".join(f"  {line}" for line in [*again, verb, f"gentool runs show {run.name}"]),
        quiet=quiet,
    )
    return 0


def void(result: object) -> None:
    """For callbacks whose result nobody wants."""


def _show(run: RunFolder, title: str, samples: Samples | None, step: int, images: Images, *, quiet: bool) -> None:
    """What came of it, as a file of the run and in the terminal."""
    from gentool.cli.progress import keep, show

    if samples is None:
        return
    keep(samples, run.path / "samples" / f"{step:06d}-{title.split()[0]}")
    if not quiet:
        show(samples, title, images)
