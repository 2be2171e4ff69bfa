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
    from gentool.data.config import DataConfig
    from gentool.data.find import Where
    from gentool.specs import DatasetSpec

app = typer.Typer(
    help="List, check, preview and fetch data sets.", rich_markup_mode=None, add_completion=False, no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(help="A data set's name, folder:PATH or array:FILE.npy.", metavar="NAME")]
FolderOption = Annotated[str, typer.Option("--data-dir", help="Where data sets lie.", metavar="DIR")]

MOST_CLASSES = 20  # shown with their counts


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
        rows, ["name", "found", Column("size", priority=1, shrink=True), Column("licence", priority=2, shrink=True)]
    )
    from gentool.show.text import safe_text

    for row in rows:
        if row["where"]:
            say(f"{row['name']}: {safe_text(row['where'])}")
    missing = [str(row["name"]) for row in rows if row["found"] == "no"]
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
    from gentool.data.find import locate
    from gentool.data.known import KNOWN

    found = locate(KNOWN[spec.name], where) if spec.name in KNOWN else None
    return next(iter(found.values())).parent if found else None


@app.command("check")
def check(
    name: NameArgument, data_dir: FolderOption = "", plugin: PluginOption = None, as_json: JsonOption = False
) -> int:
    """Read all of a data set: counts by class, range, mean, duplicates, and files that cannot be used."""
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

    rows = [
        {
            "split": part.split,
            "examples": f"{part.count:,}",
            "picture": "x".join(map(str, part.image)),
            "min": f"{part.low:.3f}",
            "max": f"{part.high:.3f}",
            "mean": f"{part.mean:.4f}",
            "std": f"{part.std:.4f}",
            "duplicates": f"{part.duplicates:,}",
        }
        for part in facts.splits
        if part.count
    ]
    print_table(rows, [Column(key, align="left" if key == "split" else "right") for key in rows[0]])
    names = list(facts.splits[0].classes)
    if len(names) > MOST_CLASSES:
        counts = [sum(part.classes[name] for part in facts.splits) for name in names]
        print(f"{len(names)} classes of {min(counts):,} to {max(counts):,} examples (--json lists them).")
    elif names:
        print_table(
            [
                {"class": name} | {part.split: f"{part.classes[name]:,}" for part in facts.splits if part.count}
                for name in names
            ],
            [Column("class", shrink=True), *(Column(part.split, align="right") for part in facts.splits if part.count)],
        )
    if facts.shared:
        print(f"{facts.shared:,} different picture(s) of validation or test are in training too.")
    for line in facts.bad[:20]:
        print(f"cannot be used: {safe_text(line)}")
    if len(facts.bad) > 20:
        print(f"and {len(facts.bad) - 20:,} more (--json lists them)")


@app.command("preview")
def preview(
    name: NameArgument,
    n: Annotated[int, typer.Option("-n", min=1, max=1024, help="How many pictures.")] = 32,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    sets: SetOption = None,
    seed: SeedOption = 0,
    out: Annotated[str | None, typer.Option("--out", help="FILE.png; NAME-SPLIT.png without.")] = None,
    data_dir: FolderOption = "",
    plugin: PluginOption = None,
    images: ImagesOption = Images.AUTO,
    quiet: QuietOption = False,
) -> int:
    """Pictures of a data set as a model sees them, transforms included: a PNG, and in the terminal.

    Of the training split this is the first batch a run of that seed would train on.
    """
    use_plugins(plugin)
    import itertools

    from gentool.cli.common import out_path
    from gentool.data.pipeline import open_pipeline
    from gentool.data.sets import check_split
    from gentool.errors import UsageError
    from gentool.show.grid import make_grid, save_png
    from gentool.show.text import safe_text

    check_split(split)
    config = _data_config(name, data_dir, sets)
    path = out_path(out or f"{_file_name(name)}-{split}.png", (".png",))
    pipeline = open_pipeline(config, "cpu", seed, fetch=True, say=lambda text: say(text, quiet=quiet))
    if not pipeline.has(split):
        raise UsageError(f"The split '{split}' of '{safe_text(name)}' is empty.")
    count = min(n, pipeline.count(split))
    in_order = pipeline.batches(split, count, count)
    batch = pipeline.train_batch(0, count) if split == "train" else next(in_order)
    captions = None
    if batch.labels is not None and pipeline.info.classes:
        captions = [pipeline.info.classes[label] for label in batch.labels.tolist()]
    columns = min(8, count)
    assert batch.images is not None
    save_png(make_grid(batch.images, columns=columns, captions=captions), path)
    if not quiet:
        from gentool.cli.progress import show

        show(batch.images, f"{safe_text(name)}, {split}", images, columns)
        for line in itertools.islice(_rows(captions, columns), 4):
            say(line)
    print(path)
    return 0


def _rows(captions: list[str] | None, columns: int) -> Any:
    """The captions row by row, as the terminal picture has no room for them."""
    from gentool.show.text import clip, safe_text

    for start in range(0, len(captions or ()), columns):
        yield clip(" ".join(safe_text(word) for word in (captions or [])[start : start + columns]), 80)


def _data_config(name: str, data_dir: str, sets: list[str] | None) -> DataConfig:
    """`data.*` from the flags of this verb."""
    from gentool.config import build_dataclass, parse_set
    from gentool.data.config import DataConfig
    from gentool.errors import UsageError
    from gentool.show.text import safe_text

    values: dict[str, Any] = {}
    for key, value in parse_set(sets or []).items():
        if not key.startswith("data."):
            raise UsageError(f"'{safe_text(key)[:80]}' (from --set) is not a data setting; they start with 'data.'.")
        values[key.removeprefix("data.")] = value
    given = {"name": name, **({"dir": data_dir} if data_dir else {})}
    made: DataConfig = build_dataclass(DataConfig, {**values, **given}, "--set")
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
    from gentool.data.find import Where, data_folders, locate
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
    print(safe_text(str(next(iter(found.values())).parent)))
    return 0
