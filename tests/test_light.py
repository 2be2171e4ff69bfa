"""The front stays light: which modules each quick command imports, asserted in a process of its own."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numpy", "PIL", "textual", "pydantic", "rich", "sklearn", "scipy", "triton")


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys, json, io, contextlib\n"
        "from gentool.cli import run\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        f"    code = run({list(arguments)!r})\n"
        "print(json.dumps([code, sorted({m.partition('.')[0] for m in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    status, names = json.loads(done.stdout.splitlines()[-1])
    assert status in (0, 2)
    return set(names)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("list",), ("list", "models"), ("plugins",), ("trian",)]
)
def test_quick_commands_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    # typer itself validates the options of a verb with pydantic (a plain `list` goes past it); `plugins` draws a table.
    allowed = set() if arguments[0].startswith("--") or arguments[0] == "list" else {"pydantic"}
    allowed |= {"rich"} if arguments[0] == "plugins" else set()
    assert modules_after(*arguments) & set(HEAVY) - allowed == set()


def test_completion_imports_nothing_heavy() -> None:
    import os

    env = {**os.environ, "_GENTOOL_COMPLETE": "complete_bash", "COMP_WORDS": "gentool tr", "COMP_CWORD": "1"}
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('MODULES', sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr))\n"
        "sys.argv = ['gentool']\n"
        "from gentool.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "train" in done.stdout
    loaded = done.stderr.partition("MODULES")[2]
    assert loaded
    for name in ("torch", "numpy", "PIL", "textual"):
        assert f"'{name}'" not in loaded


def test_every_plugin_front_is_light() -> None:
    """A specs-only look at all plugins is what `list` costs; each is light alone too."""
    code = (
        "import sys, importlib, importlib.metadata as m\n"
        "for p in m.entry_points(group='gentool.plugins'):\n"
        "    if p.dist.name == 'gentool':\n"
        "        importlib.import_module(p.value)\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    for name in HEAVY:
        assert f"'{name}'" not in done.stdout


@pytest.mark.parametrize(("word", "heavy"), [("Light", HEAVY), ("No torch", ("torch",))])
def test_modules_that_say_they_are_light_are(word: str, heavy: tuple[str, ...]) -> None:
    root = Path(__file__).parents[1]
    names = [
        ".".join(file.relative_to(root).with_suffix("").parts)
        for file in sorted((root / "gentool").rglob("*.py"))
        if f"{word}." in (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "")
    ]
    assert len(names) > 2
    code = f"import sys, {', '.join(names)}\nprint(sorted({{n.partition('.')[0] for n in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    for name in heavy:
        assert f"'{name}'" not in done.stdout
