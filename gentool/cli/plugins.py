"""gentool plugins: version, origin, state."""

from __future__ import annotations

import typer

from gentool.cli.common import JsonOption, PluginOption, print_json, use_plugins

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def plugins(plugin: PluginOption = None, as_json: JsonOption = False) -> int:
    """List the plugins: where each comes from, its version, and whether it could be loaded."""
    use_plugins(plugin)
    show(as_json=as_json)
    return 0


def show(*, as_json: bool) -> None:
    from gentool.registry import HOOKS, registry
    from gentool.show.text import safe_text

    reg = registry()
    rows = []
    for item in reg.plugins:
        kinds: list = list(HOOKS)  # type: ignore[type-arg]
        offers = [s.name for kind in kinds for s in reg.all(kind) if reg.owner(kind, s.name) is item]
        rows.append(
            {
                "plugin": item.name,
                "state": item.state,
                "version": item.version,
                "origin": item.origin,
                "milliseconds": round(1000 * item.seconds, 1),
                "offers": len(offers),
                "names": offers,
                "problems": item.problems,
            }
        )
    if as_json:
        print_json(rows)
        return
    from gentool.show.tables import print_table

    print_table([{k: safe_text(str(v)) for k, v in row.items() if k not in ("names", "problems")} for row in rows])
    for row in rows:
        for problem in row["problems"]:  # type: ignore[attr-defined]
            print(f"{safe_text(str(row['plugin']))}: {safe_text(problem)}")
