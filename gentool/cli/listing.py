"""gentool list [models|losses|samplers|evaluators|datasets|plugins]"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from gentool.cli import LISTED
from gentool.cli.common import JsonOption, PluginOption, print_json, use_plugins

app = typer.Typer(rich_markup_mode=None, add_completion=False)


What = StrEnum("What", [(word.upper(), word) for word in LISTED])  # type: ignore[misc]
KIND = {"models": "model", "losses": "loss", "samplers": "sampler", "evaluators": "evaluator", "datasets": "dataset"}


@app.command()
def list_(
    what: Annotated[What | None, typer.Argument(help="One kind; all the models and more without.")] = None,
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> int:
    """List what there is."""
    use_plugins(plugin)
    return show(what.value if what else None, as_json)


def show(what: str | None, as_json: bool) -> int:
    """Print one kind (a word of `LISTED`) or all; gives the exit code."""
    from gentool.registry import registry

    reg = registry()
    if what == "plugins":
        from gentool.cli import plugins

        plugins.show(as_json=as_json)
        return 0
    kinds: list[Any] = [KIND[what]] if what else list(KIND.values())
    if as_json:
        print_json({kind: [_json(reg, kind, spec) for spec in reg.all(kind)] for kind in kinds})
        return 0
    for kind in kinds:
        specs = reg.all(kind)
        if what is None:
            print(f"{next(plural for plural, k in KIND.items() if k == kind)}:")
        width = max((len(spec.name) for spec in specs), default=0)
        for spec in specs:
            name = spec.name + (":" if kind == "dataset" and spec.prefix else "")
            print(_line(f"  {name:{width + 1}} ", spec.summary))
        if what is None:
            print()
    _warn(reg)
    return 0


def _line(head: str, text: str, width: int = 80) -> str:
    """One line a name, cut at 80 columns rather than wrapped."""
    from gentool.show.text import safe_text

    room = width - len(head)
    clean = safe_text(text)
    return head + (clean if len(clean) <= room else clean[: room - 1] + "…")


def _json(reg: Any, kind: str, spec: Any) -> dict[str, Any]:
    facts = {"name": spec.name, "summary": spec.summary, "plugin": reg.owner(kind, spec.name).name}
    for extra in ("paper", "needs", "offers", "phases", "licence", "kind", "fields", "loss", "sampler", "dataset"):
        if getattr(spec, extra, None):
            facts[extra] = getattr(spec, extra)
    if kind == "model":
        facts["presets"] = sorted(spec.presets)
        facts["checkpoints"] = list(spec.checkpoints)
    return facts


def _warn(reg: Any) -> None:
    from gentool.cli.common import say
    from gentool.show.text import safe_text

    for item in reg.plugins:
        if item.problems and item.state != "disabled":
            say(
                f"Plugin {safe_text(item.name)} is {item.state}: {safe_text('; '.join(item.problems))}. See `gentool plugins`."
            )
