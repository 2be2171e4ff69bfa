"""What several verbs share: their options, spelled once, and how they talk."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import torch

    from gentool.runs.source import Source


class Images(StrEnum):
    """How pictures are shown in the terminal; a PNG is written in any case."""

    AUTO = "auto"
    HALF = "half"
    SIXEL = "sixel"
    KITTY = "kitty"
    OFF = "off"


RunsOption = Annotated[Path, typer.Option("--runs", help="The folder of runs.", show_default=True)]
PluginOption = Annotated[list[str] | None, typer.Option("--plugin", help="A plugin in a single file; may be repeated.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE; may be repeated.", metavar="K=V")]


def _able(mode: Images) -> Images:
    """Refuse at once what needs an extra that is not installed."""
    if mode in (Images.SIXEL, Images.KITTY):
        from gentool.show.terminal import check_mode

        check_mode(mode)
    return mode


ImagesOption = Annotated[Images, typer.Option("--images", help="Pictures in the terminal.", callback=_able)]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Results only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:i.")]
SourceArgument = Annotated[
    str, typer.Argument(help="A model's name, a run or a checkpoint file.", metavar="MODEL|RUN|CHECKPOINT")
]
PretrainedOption = Annotated[bool, typer.Option("--pretrained", help="Insist on the checkpoint that ships.")]
ShippedOption = Annotated[
    str | None, typer.Option("--checkpoint", help="Which of the shipped checkpoints.", metavar="NAME")
]
AtOption = Annotated[str, typer.Option("--at", help="Which checkpoint of a run: last, best or a step.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**62, help="Of everything random.")]

RUNS = Path("runs")


def say(text: str, *, quiet: bool = False) -> None:
    """Talk goes to stderr."""
    if not quiet:
        print(text, file=sys.stderr)


def print_json(data: Any) -> None:
    """A result on stdout, NaN and infinities as null."""
    from gentool.show.tables import print_json as printer

    printer(data)


def use_plugins(files: list[str] | None) -> None:
    from gentool.registry import use_plugin_files

    use_plugin_files(files or [])


def open_source(
    text: str, runs: Path, device: str, *, pretrained: bool, shipped: str | None, at: str, quiet: bool
) -> tuple[Source, torch.device]:
    """The trained model that a verb works on; which one was taken is said."""
    from gentool.runs.source import open_source as opener
    from gentool.training.devices import pick_device

    where = pick_device(device)
    source = opener(text, runs, where, pretrained=pretrained, shipped=shipped, at=at)
    for notice in source.notices:
        say(notice)
    say(f"Using {source.origin}.", quiet=quiet)
    return source, where


def out_path(text: str, suffixes: tuple[str, ...]) -> Path:
    """Where a result goes; refused before any work when it cannot be written there."""
    import os

    from gentool.errors import UsageError
    from gentool.show.text import safe_text

    path = Path(text)
    shown = safe_text(text)
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"--out {shown}: the ending has to be one of {', '.join(suffixes)}.")
    if path.is_dir():
        raise UsageError(f"--out {shown} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"--out {shown}: there is no folder '{safe_text(str(path.parent))}'.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"--out {shown}: the folder '{safe_text(str(path.parent))}' cannot be written.")
    return path
