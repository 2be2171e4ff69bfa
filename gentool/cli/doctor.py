"""gentool doctor: what this installation has, what was chosen on this machine, and why."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer

from gentool.cli.common import RUNS, JsonOption, PluginOption, RunsOption, print_json, use_plugins

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def doctor(runs: RunsOption = RUNS, plugin: PluginOption = None, as_json: JsonOption = False) -> int:
    """Check this installation: versions, device, kernels, terminal, plugins, data, permissions."""
    use_plugins(plugin)
    facts = gather(runs)
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    return 1 if facts["problems"] else 0


def gather(runs: Path) -> dict[str, Any]:
    """Everything doctor knows, by section; "problems" lists what should be mended."""
    problems: list[str] = []
    facts: dict[str, Any] = {
        "versions": _versions(),
        "device": _device(),
        "kernels": _kernels(),
        "terminal": _terminal(),
        "plugins": _plugins(problems),
        "data": _data(),
        "folders": _folders(runs, problems),
    }
    facts["problems"] = problems
    return facts


def _versions() -> dict[str, str]:
    import importlib.metadata as metadata

    found = {"gentool": metadata.version("gentool"), "python": platform.python_version()}
    for name in (
        "torch",
        "triton",
        "safetensors",
        "numpy",
        "pydantic",
        "typer",
        "textual",
        "rich",
        "Pillow",
        "scikit-learn",
    ):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed" + (" (kernels run as their reference)" if name == "triton" else "")
    return found


def _device() -> dict[str, str]:
    import torch

    from gentool.training.devices import measure, pick_device
    from gentool.training.session import device_name

    device = pick_device("auto")
    measured = measure(device)
    facts = {"device": f"{device}: {device_name(device)}"}
    if device.type == "cuda":
        facts["memory"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
    facts["precision"] = f"{measured.precision.value}: {measured.precision.reason}"
    facts["channels_last"] = f"{measured.channels_last.value}: {measured.channels_last.reason}"
    facts["cuda graphs"] = (
        "no: not timed on a GPU yet; --set train.cuda_graph=yes records a step's launches and replays them"
        if device.type == "cuda"
        else "no: there is no GPU"
    )
    return facts


def _kernels() -> list[dict[str, str]]:
    from gentool.kernels import choices

    return [{key: str(value) for key, value in row.items()} for row in choices()]


def _terminal() -> dict[str, str]:
    from gentool.show.terminal import color_depth

    size = shutil.get_terminal_size()
    depth = color_depth() or "none: pictures are drawn in shades of grey text"
    facts = {
        "TERM": os.environ.get("TERM", "not set"),
        "size": f"{size.columns}x{size.lines}" if sys.stderr.isatty() else "no terminal",
        "colours": depth,
    }
    if os.environ.get("TMUX") and "256" in depth:
        facts["hint"] = (
            "tmux shows 256 colours; for more put `set -as terminal-features ',*:RGB'` in ~/.tmux.conf "
            "and export COLORTERM=truecolor"
        )
    return facts


def _plugins(problems: list[str]) -> list[dict[str, str]]:
    from gentool.registry import registry

    rows = []
    for item in registry().plugins:
        rows.append(
            {
                "plugin": item.name,
                "state": item.state,
                "origin": item.origin,
                "import": f"{1000 * item.seconds:.0f} ms",
            }
        )
        if item.state != "disabled":
            problems += [f"plugin {item.name}: {problem}" for problem in item.problems]
    return rows


def _data() -> list[dict[str, str]]:
    from gentool.cli.data import places

    return [{"set": row["name"], "found": row["found"], "where": row["where"]} for row in places()]


def _folders(runs: Path, problems: list[str]) -> dict[str, str]:
    import platformdirs

    facts = {}
    for name, path in (("runs", runs), ("cache", Path(platformdirs.user_cache_dir("gentool")))):
        where = next(p for p in (path, *path.absolute().parents) if p.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=where, prefix=".gentool-doctor-"):
                pass
            free = shutil.disk_usage(where).free / 1e9
            facts[name] = f"{path} can be written, {free:.0f} GB free"
        except OSError as error:
            facts[name] = f"{path} cannot be written: {error.strerror}"
            problems.append(f"the {name} folder {path} cannot be written")
    return facts


def _print(facts: dict[str, Any]) -> None:
    import textwrap

    from gentool.show.tables import print_table
    from gentool.show.text import safe_text

    for section, content in facts.items():
        if section == "problems":
            continue
        print(section)
        if isinstance(content, dict):
            for key, value in content.items():
                line = safe_text(f"{value}")
                print(textwrap.fill(line, 80, initial_indent=f"  {key:14} ", subsequent_indent=" " * 17))
        elif content and section == "kernels":
            for row in content:
                line = safe_text(f"{row['use']}: {row['why']}")
                print(f"  {safe_text(row['kernel'])}")
                print(textwrap.fill(line, 80, initial_indent="    ", subsequent_indent="    "))
        elif content:
            print_table([{key: safe_text(str(value)) for key, value in row.items()} for row in content])
        else:
            print("  none")
        print()
    if facts["problems"]:
        print("problems")
        for problem in facts["problems"]:
            print(f"  {safe_text(problem)}")
    else:
        print("Nothing is wrong.")
