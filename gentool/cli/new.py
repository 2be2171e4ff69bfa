"""gentool new plugin NAME"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from gentool.cli.common import QuietOption, say

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "__init__.py.txt": "{package}/__init__.py",
    "model.py.txt": "{package}/model.py",
    "loss.py.txt": "{package}/loss.py",
    "sampler.py.txt": "{package}/sampler.py",
    "evaluate.py.txt": "{package}/evaluate.py",
    "kernels.py.txt": "{package}/kernels.py",
    "test_plugin.py.txt": "tests/test_{package}.py",
}


@app.callback()
def new() -> None:
    """Start something of your own."""


@app.command()
def plugin(
    name: Annotated[str, typer.Argument(help="Its model's name: lower-case words joined by '-'.")],
    folder: Annotated[
        str | None, typer.Option("--out", help="Where; default ./gentool-NAME.", metavar="FOLDER")
    ] = None,
    quiet: QuietOption = False,
) -> int:
    """Write a small package with a model, loss, sampler, evaluator, kernel and tests, which installs and trains as it is."""
    import importlib.resources
    from string import Template

    from gentool.errors import UsageError
    from gentool.registry import HOOKS, registry
    from gentool.show.text import safe_text

    shown = safe_text(name)[:60]
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 30:
        raise UsageError(f"'{shown}' is not a plugin's name: lower-case words joined by '-', such as 'my-model'.")
    kinds: list = list(HOOKS)  # type: ignore[type-arg]
    if any(name in registry().names(kind) for kind in kinds):
        raise UsageError(f"The name '{shown}' is taken (`gentool info {shown}`); choose another.")
    package = "gentool_" + name.replace("-", "_")
    root = Path(folder or f"gentool-{name}")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"'{safe_text(str(root))}' exists and is not empty; name another folder with --out.")
    templates = importlib.resources.files("gentool") / "templates" / "plugin"
    for source, target in FILES.items():
        path = root / target.format(package=package)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (templates / source).read_text("utf-8")
            path.write_text(Template(text).substitute(name=name, package=package), "utf-8")
        except OSError as error:
            raise UsageError(f"'{safe_text(str(path))}' cannot be written: {error.strerror}.") from None
    say(f"Wrote {root}/. Next:\n  pip install -e '{root}[test]' && pytest {root}\n  gentool train {name}", quiet=quiet)
    print(root)
    return 0
