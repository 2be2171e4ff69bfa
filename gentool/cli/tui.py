"""gentool tui [RUNS]"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gentool.cli.common import RUNS, Images, ImagesOption, PluginOption, use_plugins

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def tui(
    runs: Annotated[Path | None, typer.Argument(help="The folder of runs (default: ./runs).", metavar="RUNS")] = None,
    theme: Annotated[
        str | None, typer.Option("--theme", help="gentool-dark, gentool-light, gentool-16 or one of Textual's.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="In a browser on this machine, behind a token that is new every time.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Of --serve.")] = 8000,
    network: Annotated[
        str | None,
        typer.Option(
            "--open-to-network",
            help="--serve on this address of yours, so that other machines reach it: whoever has the token can start "
            "programs as you.",
            metavar="ADDRESS",
        ),
    ] = None,
    images: ImagesOption = Images.AUTO,
    plugin: PluginOption = None,
) -> int:
    """Browse runs while they train: curves, samples, logs; compare them; play with what they learnt."""
    import os
    import sys

    from gentool.errors import UsageError

    use_plugins(plugin)
    root = runs or RUNS
    if root.exists() and not root.is_dir():
        raise UsageError(f"'{root}' is not a folder of runs.")
    if (root / "run.json").is_file():
        raise UsageError(f"'{root}' is one run; name the folder it lies in: gentool tui {root.parent}.")
    if network is not None and not serve:
        raise UsageError("--open-to-network is for --serve; give both, or neither.")
    if serve:
        from gentool.tui.serve import LOOPBACK
        from gentool.tui.serve import serve as serving

        serving(root, port=port, address=network or LOOPBACK, theme=theme)
        return 0
    served = "TEXTUAL_DRIVER" in os.environ  # by --serve: then the terminal is in a browser
    if not served and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("The terminal application needs a terminal; `gentool runs` lists runs without one.")

    from gentool.tui.store import RunStore

    store = RunStore(root)
    store.start()  # reads the newest runs while Textual is imported
    from gentool.tui.app import GentoolApp

    made = GentoolApp(root, store, theme)
    made.images = str(images)
    if theme is not None and theme not in made.available_themes:
        from gentool.errors import did_you_mean

        raise UsageError(f"There is no theme '{theme[:40]}'.{did_you_mean(theme[:40], made.available_themes)}")
    made.run()
    return made.return_code or 0
