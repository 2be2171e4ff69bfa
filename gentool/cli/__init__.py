"""The command line: one verb a file, each imported when it is used. `--help` needs none of them."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

# verb -> (module, what `gentool --help` says of it)
VERBS = {
    "train": ("train", "Train a model: gentool train vqvae"),
    "resume": ("resume", "Go on with a stopped run, bit for bit as if it had not stopped"),
    "sample": ("sample", "Draw from a trained model: gentool sample gan -n 16"),
    "eval": ("eval", "Score a trained model: gentool eval vae --elbo --fid"),
    "viz": ("viz", "Look at a trained model: gentool viz vae --interpolate"),
    "runs": ("runs", "List, show, compare, remove and export runs"),
    "list": ("listing", "What there is: models, losses, samplers, evaluators, data sets, plugins"),
    "info": ("info", "Everything about one name"),
    "config": ("config", "Print a model's config as a commented TOML file"),
    "tui": ("tui", "Browse runs in a terminal application, while they train"),
    "data": ("data", "List, check, preview and fetch data sets"),
    "export": ("export", "Write a run's weights as one small safetensors file with its card"),
    "bench": ("bench", "Measure the kernels on this device"),
    "doctor": ("doctor", "Check this installation, and say what was chosen and why"),
    "plugins": ("plugins", "The plugins: version, origin, state"),
    "new": ("new", "Start a plugin of your own: gentool new plugin mine"),
}

LISTED = ("models", "losses", "samplers", "evaluators", "datasets", "plugins")


class LazyGroup(TyperGroup):
    """Imports a verb's module when the verb is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            module = importlib.import_module(f"gentool.cli.{VERBS[cmd_name][0]}")
            self.commands[cmd_name] = _command(module, cmd_name)
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, about) for verb, (_, about) in VERBS.items()])


def _command(module: Any, name: str) -> Any:
    command = typer.main.get_command(module.app)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    help="Train, sample and score the classic deep models from a terminal.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from gentool import __version__

        typer.echo(f"gentool {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    no_plugins: bool = typer.Option(False, "--no-plugins", help="Load no plugin but what is built in."),
) -> None:
    if no_plugins:
        os.environ["GENTOOL_PLUGINS"] = "built-in"


def main() -> None:
    """The entry point: exit codes 0 done, 1 the run failed, 2 the call was wrong, 130 interrupted; no traceback."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """`gentool ARGUMENTS` in this process; gives the exit code."""
    from typer._click import exceptions as click

    from gentool.errors import GentoolError

    try:
        if arguments[:1] == ["list"] and (asked := plain(arguments[1:])) is not None:
            result = importlib.import_module("gentool.cli.listing").show(*asked)
        else:
            command = typer.main.get_command(app)
            result = command.main(arguments, prog_name="gentool", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.ClickException as error:
        say_error(_sentence(error))
        return 2
    except GentoolError as error:
        if os.environ.get("GENTOOL_DEBUG"):
            raise
        say_error(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone (| head): leave quietly, and keep the interpreter from flushing into the void.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if os.environ.get("GENTOOL_DEBUG"):
            raise
        say_error(
            f"The system refused ({error.strerror or error}): check the disk, the permissions and where output goes."
        )
        return 1
    except Exception as error:
        if os.environ.get("GENTOOL_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        say_error(f"Something went wrong inside gentool ({what}). GENTOOL_DEBUG=1 shows where; please report it.")
        return 1


def plain(words: list[str]) -> tuple[str | None, bool] | None:
    """(kind, json) of a plain `gentool list [KIND] [--json]`; None for anything else, which typer parses.

    The listing is what one types most while exploring, and typer imports pydantic for the first option it converts:
    more than half of the time it took.
    """
    kinds = [word for word in words if word != "--json"]
    if len(kinds) > 1 or any(kind not in LISTED for kind in kinds) or words.count("--json") > 1:
        return None
    return (kinds[0] if kinds else None, "--json" in words)


def _sentence(error: Any) -> str:
    """A click error as one sentence with a remedy."""
    from gentool.errors import did_you_mean

    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "gentool"
    text = " ".join(str(error.format_message()).split())
    if "No such command" in text:
        word = text.partition("'")[2].partition("'")[0] or text.partition('"')[2].partition('"')[0]
        known = list(VERBS) if path == "gentool" else list(getattr(context.command, "commands", {}))
        return f"There is no command '{word}'.{did_you_mean(word, known)} `{path} --help` lists them."
    return f"{text.rstrip('.')}. See `{path} --help`."


def say_error(text: str) -> None:
    """One line on stderr."""
    from gentool.show.text import safe_text

    # Where even stderr cannot be written, the exit code alone tells.
    with contextlib.suppress(OSError):
        print(f"gentool: {safe_text(text)}", file=sys.stderr)
