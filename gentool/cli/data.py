"""gentool data [ls|check|preview|fetch]"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli.common import (
    Images,
    ImagesOption,
    JsonOption,
    PluginOption,
    QuietOption,
    SeedOption,
    SetOption,
    print_json,
    say,
    use_plugins,
)

if TYPE_CHECKING:
    from pathlib import Path

    from gentool.data.check import Facts
    from gentool.data.config import AnyData
    from gentool.data.find import Where
    from gentool.specs import DatasetSpec

app = typer.Typer(
    help="List, check, preview and fetch data sets.", rich_markup_mode=None, add_completion=False, no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(help="A data set's name, or PREFIX:PATH for your own.", metavar="NAME")]
FolderOption = Annotated[str, typer.Option("--data-dir", help="Where data sets lie.", metavar="DIR")]


@app.command("ls")
def ls(data_dir: FolderOption = "", plugin: PluginOption = None, as_json: JsonOption = False) -> int:
    """The data sets: where each was found, how much there is, and its licence."""
    use_plugins(plugin)
    rows = places(data_dir)
    if as_json:
        print_json(rows)
        return 0
    from gentool.show.tables import Column, print_table

    print_table(
        rows,
        [
            "name",
            Column("kind", priority=2),
            "found",
            Column("size", priority=1, shrink=True),
            Column("licence", priority=3, shrink=True),
        ],
    )
    from gentool.data.known import KNOWN
    from gentool.show.text import safe_text

    for row in rows:
        if row["where"]:
            say(f"{row['name']}: {safe_text(row['where'])}")
    missing = [str(row["name"]) for row in rows if row["found"] == "no" and KNOWN[str(row["name"])].fetched]
    if missing:
        say(f"`gentool data fetch NAME` downloads: {', '.join(missing)}.")
    return 0


def places(data_dir: str = "") -> list[dict[str, Any]]:
    """Every data set with where it was found, its size and its licence."""
    from gentool.data.find import Where, data_folders
    from gentool.registry import registry

    where = Where(folders=data_folders(data_dir))
    rows = []
    for spec in registry().all("dataset"):
        path = _place(spec, where)
        rows.append(
            {
                "name": spec.name + (":" if spec.prefix else ""),
                "kind": spec.kind,
                "found": _found(spec, path),
                "where": str(path) if path else "",
                "size": spec.size,
                "licence": spec.licence,
                "summary": spec.summary,
                "fields": list(spec.fields),
                "plugin": registry().owner("dataset", spec.name).name,
            }
        )
    return rows


def _found(spec: DatasetSpec, path: Path | None) -> str:
    from gentool.data.known import KNOWN

    if spec.origin != "named":
        return {"embedded": "embedded", "own": "your own"}.get(spec.origin, spec.origin)
    if spec.name not in KNOWN:
        return "see its plugin"
    return "yes" if path else "no"


def _place(spec: DatasetSpec, where: Where) -> Path | None:
    """The folder in which a named set was found."""
    from gentool.data.find import folder_of, locate
    from gentool.data.known import KNOWN

    found = locate(KNOWN[spec.name], where) if spec.name in KNOWN else None
    return folder_of(found) if found else None


@app.command("check")
def check(
    name: NameArgument, data_dir: FolderOption = "", plugin: PluginOption = None, as_json: JsonOption = False
) -> int:
    """Read all of a data set: what there is of each split, duplicates, and what cannot be used."""
    use_plugins(plugin)
    from gentool.data.check import check_dataset
    from gentool.data.find import Where, data_folders
    from gentool.registry import registry

    registry().find_dataset(name)
    facts = check_dataset(name, Where(folders=data_folders(data_dir), say=_quiet_about_bad))
    if as_json:
        print_json(facts.to_json())
    else:
        _print_facts(facts)
    return 1 if facts.bad else 0


def _quiet_about_bad(text: str) -> None:
    if not text.startswith("Left out"):  # the report lists them
        say(text)


def _print_facts(facts: Facts) -> None:
    from gentool.show.tables import Column, print_table
    from gentool.show.text import safe_text

    for rows in filter(None, facts.tables):
        first, *others = rows[0]
        worded = {key for row in rows for key, value in row.items() if not str(value)[:1].isdigit()}
        print_table(
            rows, [Column(first, shrink=True), *(Column(k, align="left" if k in worded else "right") for k in others)]
        )
    for sentence in facts.sentences:
        print(safe_text(sentence))
    if facts.listed:
        return
    for line in facts.bad[:20]:
        print(f"cannot be used: {safe_text(line)}")
    if len(facts.bad) > 20:
        print(f"and {len(facts.bad) - 20:,} more (--json lists them)")


@app.command("preview")
def preview(
    name: NameArgument,
    n: Annotated[
        int | None, typer.Option("-n", min=1, max=1024, help="How many; 32 pictures or 8 texts without.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    sets: SetOption = None,
    seed: SeedOption = 0,
    out: Annotated[str | None, typer.Option("--out", help="FILE.png (NAME-SPLIT.png without), or .txt.")] = None,
    data_dir: FolderOption = "",
    plugin: PluginOption = None,
    images: ImagesOption = Images.AUTO,
    quiet: QuietOption = False,
) -> int:
    """Examples of a data set as a model sees them, transforms included: pictures as a PNG and in the terminal, text on
    stdout.

    Of the training split this is the first batch a run of that seed would train on.
    """
    use_plugins(plugin)
    from gentool.cli.common import out_path
    from gentool.cli.sample import ENDINGS, PICTURES, TEXTS, check_ending
    from gentool.data.kinds import kind_of
    from gentool.data.pipeline import Pipeline, open_pipeline
    from gentool.data.sets import check_split
    from gentool.errors import UsageError
    from gentool.show.text import safe_text

    check_split(split)
    config = _data_config(name, data_dir, sets)
    words = kind_of(name).words
    path = out_path(out, ENDINGS) if out else None
    check_ending(path, name, fitting=TEXTS if words else PICTURES)
    if path is None and not words:
        path = out_path(f"{_file_name(name)}-{split}.png", ENDINGS)
    pipeline: Pipeline = open_pipeline(config, "cpu", seed, fetch=True, say=lambda text: say(text, quiet=quiet))
    if not pipeline.has(split):
        raise UsageError(f"The split '{split}' of '{safe_text(name)}' is empty.")
    samples = pipeline.preview(split, n or (8 if words else 32))
    say(f"{safe_text(name)}, {split}: {safe_text(pipeline.summary)}.", quiet=quiet or not words)
    if path is None:
        from gentool.show.words import print_texts

        print_texts(samples.text or ())
        return 0
    from gentool.show.samples import write_samples

    write_samples(path, iter([samples]), len(samples), len(samples))
    if not quiet and not words:
        from gentool.cli.progress import show

        show(samples, f"{safe_text(name)}, {split}", images)
    print(path)
    return 0


def _data_config(name: str, data_dir: str, sets: list[str] | None) -> AnyData:
    """`data.*` from the flags of this verb."""
    from gentool.config import build_dataclass, parse_set
    from gentool.data.kinds import kind_of
    from gentool.errors import UsageError
    from gentool.show.text import safe_text

    values: dict[str, Any] = {}
    for key, value in parse_set(sets or []).items():
        if not key.startswith("data."):
            raise UsageError(f"'{safe_text(key)[:80]}' (from --set) is not a data setting; they start with 'data.'.")
        values[key.removeprefix("data.")] = value
    given = {"name": name, **({"dir": data_dir} if data_dir else {})}
    made: AnyData = build_dataclass(kind_of(name).config, {**values, **given}, "--set")
    return made


def _file_name(name: str) -> str:
    """``folder:./my-pictures`` as part of a file's name."""
    word = name.rstrip("/").rpartition("/")[2].rpartition(":")[2] or "pictures"
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in word.removesuffix(".npy"))
    return kept.strip("-")[:60] or "pictures"


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A named data set.", metavar="NAME")],
    data_dir: FolderOption = "",
    plugin: PluginOption = None,
    quiet: QuietOption = False,
) -> int:
    """Download a named data set into the user's cache, its checksum verified; prints the folder it lies in."""
    use_plugins(plugin)
    from gentool.data.find import Where, data_folders, folder_of, locate
    from gentool.data.find import fetch as download
    from gentool.data.known import KNOWN
    from gentool.errors import UsageError
    from gentool.registry import registry
    from gentool.show.text import safe_text

    spec, _ = registry().find_dataset(name)
    if spec.name not in KNOWN:
        fetched = ", ".join(sorted(KNOWN))
        raise UsageError(f"For '{spec.name}' there is nothing to fetch; these can be fetched: {fetched}.")
    where = Where(folders=data_folders(data_dir), say=lambda text: say(text))
    found = locate(KNOWN[spec.name], where)
    if found is not None:
        say(f"{spec.name} is here already.", quiet=quiet)
    else:
        found = download(KNOWN[spec.name], where)
    print(safe_text(str(folder_of(found))))
    return 0
