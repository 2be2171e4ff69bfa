"""gentool config MODEL"""

from __future__ import annotations

from typing import Annotated

import typer

from gentool.cli.common import PluginOption, SetOption, use_plugins

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def config(
    model: Annotated[str, typer.Argument(help="Which model.")],
    preset: Annotated[str | None, typer.Option("--preset", help="With a preset's settings.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="With another objective.")] = None,
    sets: SetOption = None,
    plugin: PluginOption = None,
) -> int:
    """Print every setting as a commented TOML file: gentool config vqvae > my.toml"""
    use_plugins(plugin)
    from gentool.config import Layer, parse_set, resolve, to_toml

    layers = [Layer("--set", parse_set(sets or []))]
    if loss is not None:
        layers.append(Layer("--loss", {"loss.name": loss}))
    resolved = resolve(model, layers, preset)
    print(f"# Settings of {resolved.model_spec.name}: {resolved.model_spec.summary}.")
    print(f"# Use: gentool train {resolved.model_spec.name} --config my.toml\n")
    print(to_toml(resolved, documented=True))
    return 0
