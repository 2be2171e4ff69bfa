"""gentool info NAME"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gentool.cli.common import JsonOption, PluginOption, print_json, use_plugins

SPENT = ("steps", "seconds", "cpu_seconds")

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A model, loss, sampler, evaluator or data set.")],
    plugin: PluginOption = None,
    as_json: JsonOption = False,
) -> int:
    """Everything about one name: what it is, which paper, what fits it, its settings and its shipped checkpoints."""
    use_plugins(plugin)
    from gentool.errors import UsageError, did_you_mean
    from gentool.registry import HOOKS, registry
    from gentool.show.text import safe_text

    reg = registry()
    kinds: list[Any] = list(HOOKS)
    found = []
    for kind in kinds:
        for spec in reg.all(kind):
            if name == spec.name or name in spec.aliases:
                found.append((kind, spec))
    if not found:
        every = [n for kind in kinds for n in reg.names(kind)]
        raise UsageError(
            f"There is nothing called '{safe_text(name)[:80]}'.{did_you_mean(name, every)} See `gentool list`."
        )
    facts = [gather(kind, spec) for kind, spec in found]
    if as_json:
        print_json(facts)
        return 0
    for fact in facts:
        show(fact)
    return 0


def gather(kind: str, spec: Any) -> dict[str, Any]:
    """What is known of one spec."""
    from gentool.config import config_table
    from gentool.data.kinds import kind_named
    from gentool.registry import registry
    from gentool.runs.shipped import card

    reg = registry()
    owner = reg.owner(kind, spec.name)
    facts: dict[str, Any] = {
        "kind": kind,
        "name": spec.name,
        "summary": spec.summary,
        "plugin": owner.name,
        "version": owner.version,
    }
    for item in ("paper", "aliases", "needs", "offers", "licence", "size", "origin", "fields", "monitor", "split"):
        value = getattr(spec, item, None)
        if value:
            facts[item] = list(value) if isinstance(value, tuple) else value
    if kind == "model":
        facts["loss"], facts["sampler"], facts["data"] = spec.loss, spec.sampler, spec.dataset
        facts["phases"] = list(spec.phases)
        for part, key in (("loss", "losses"), ("sampler", "samplers"), ("evaluator", "evaluators")):
            fitting = reg.fitting(part, spec)
            facts[key] = sorted(s.name for s in fitting if not getattr(s, "view", False))
        facts["views"] = sorted(s.name for p in ("sampler", "evaluator") for s in reg.fitting(p, spec) if s.view)
        facts["presets"] = {key: dict(value) for key, value in spec.presets.items()}
        facts["checkpoints"] = {key: card(spec, key) for key in spec.checkpoints}
    config = getattr(spec, "config", None)
    if kind == "dataset":
        facts["holds"], config = spec.kind, kind_named(spec.kind).config
    if config:
        facts["settings"] = config_table(config)
    if kind == "dataset":
        facts["settings"][0]["default"] = spec.name + (":PATH" if spec.prefix else "")  # data.name is the first
    return facts


def show(fact: dict[str, Any]) -> None:
    from gentool.show.text import safe_text

    print(f"{fact['name']}: {safe_text(fact['summary'])} ({fact['kind']}, plugin {fact['plugin']})")
    for key in (
        "paper",
        "aliases",
        "holds",
        "licence",
        "size",
        "needs",
        "offers",
        "data",
        "loss",
        "losses",
        "sampler",
        "samplers",
    ):
        _field(key, fact.get(key))
    for key in ("evaluators", "views", "phases", "monitor", "split"):
        _field(key, fact.get(key))
    if fact.get("presets"):
        _field("presets", list(fact["presets"]))
    for name, found in (fact.get("checkpoints") or {}).items():
        _field("checkpoint", f"{name}: {_card_line(found)}")
    if fact.get("settings"):
        print("  settings")
        for row in fact["settings"]:
            print(f"    {row['name']} = {row['default']}: {safe_text(row['help'])} ({row['allowed']})")


def _card_line(found: dict[str, Any]) -> str:
    scores = ", ".join(f"{key} {value}" for key, value in (found.get("scores") or {}).items())
    parts = [f"{found[key]} {key.replace('_', ' ').replace('cpu', 'CPU')}" for key in SPENT if key in found]
    return "; ".join([*parts, scores]) if found else "no card"


def _field(key: str, value: Any) -> None:
    import textwrap

    from gentool.show.text import safe_text

    if value:
        text = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
        print(textwrap.fill(safe_text(text), 80, initial_indent=f"  {key:13} ", subsequent_indent=" " * 16))
