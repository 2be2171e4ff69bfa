"""Where data sets lie: the folders that are searched, and the one place from which anything is downloaded. Light."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gentool.data.config import AnyData
from gentool.data.known import KNOWN, File, Known
from gentool.errors import GentoolError, UsageError
from gentool.show.text import safe_text

TIMEOUT_SECONDS = 30


def say_on_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def cache_folder() -> Path:
    """The user's cache for downloaded and decoded data (not created here)."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("gentool", appauthor=False)) / "data"


def data_folders(option: str = "") -> tuple[Path, ...]:
    """The folders of `--data-dir` (which have to exist), then those of GENTOOL_DATA that do."""
    folders: list[Path] = []
    for word in filter(None, option.split(os.pathsep)):
        path = Path(word).expanduser()
        if not path.is_dir():
            raise UsageError(f"The data folder '{safe_text(word)}' (--data-dir, data.dir) is not there.")
        folders.append(path)
    for word in filter(None, os.environ.get("GENTOOL_DATA", "").split(os.pathsep)):
        path = Path(word).expanduser()
        if path.is_dir():
            folders.append(path)
    return tuple(dict.fromkeys(folders))


def offline() -> bool:
    return os.environ.get("GENTOOL_OFFLINE", "").strip().lower() not in ("", "0", "no", "false")


@dataclass(frozen=True, kw_only=True)
class Where:
    """How a data set is to be opened: passed to every factory (`DatasetSpec`).

    fetch: a named set that is not found may be downloaded (the user named it). `resize`, `channels` and `skip_bad` are
    for sets that decode pictures of any size as they read them (``folder:``); 0 and False: as they are.
    """

    folders: tuple[Path, ...] = ()
    cache: Path = field(default_factory=cache_folder)
    fetch: bool = False
    resize: int = 0
    channels: int = 0
    skip_bad: bool = False
    say: Callable[[str], None] = say_on_stderr


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading; a pipe or device is an `OSError`, never a wait."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(None, "not a regular file")
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def _bases(known: Known, where: Where) -> list[Path]:
    """Every folder in which the files of a set may lie, in the order they are searched."""
    bases: list[Path] = []
    own = {name.split("/")[0].lower() for name in known.folders}
    others = {n.split("/")[0].lower() for k in KNOWN.values() if k.name != known.name for n in k.folders} - own
    for folder in (*where.folders, where.cache):
        bases += [folder / below for below in known.folders]
        # The folder itself, unless by its name it is another set's: mnist and fashion-mnist have the same file names.
        if folder.resolve().name.lower() not in others:
            bases.append(folder)
    return bases


def _complete(layout: tuple[File, ...], base: Path) -> dict[str, Path] | None:
    found: dict[str, Path] = {}
    for file in layout:
        path = next((base / name for name in file.names if (base / name).exists()), None)
        if path is None:
            return None
        found[file.name] = path
    return found


def locate(known: Known, where: Where) -> dict[str, Path] | None:
    """The files of a set by their first names, from the first folder that has a complete layout; None: nowhere."""
    for base in _bases(known, where):
        for layout in known.layouts:
            found = _complete(layout, base)
            if found is not None:
                return found
    return None


def files_of(known: Known, where: Where) -> dict[str, Path]:
    """The files of a set, downloaded if they have to be and may be."""
    found = locate(known, where)
    if found is not None:
        return found
    if where.fetch and not offline() and known.fetched:
        return fetch(known, where)
    looked = ", ".join(f"'{safe_text(str(folder))}'" for folder in (*where.folders, where.cache))
    partly = _missing(known, where)
    why = f"it lacks {partly}" if partly else f"looked in {looked}"
    remedy = f"`gentool data fetch {known.name}` downloads it"
    if not known.fetched:
        remedy = f"it is not downloaded; get it from {known.homepage}"
    elif offline():
        remedy = "GENTOOL_OFFLINE forbids downloading it"
    raise UsageError(f"The data set '{known.name}' is not here ({why}); {remedy}, or name its folder with --data-dir.")


def folder_of(found: dict[str, Path]) -> Path:
    """The folder in which the files of a set lie, by their names in it."""
    name, path = next(iter(found.items()))
    return path.parents[name.count("/")]


def _missing(known: Known, where: Where) -> str:
    """For the first folder that has some of the files: which are missing."""
    for base in _bases(known, where):
        for layout in known.layouts:
            lacking = [file.name for file in layout if _complete((file,), base) is None]
            if 0 < len(lacking) < len(layout):
                return f"{' and '.join(lacking)} in '{safe_text(str(base))}'"
    return ""


def fetch(known: Known, where: Where) -> dict[str, Path]:
    """Download a set into the cache, after saying what, from where and under which licence; checksums are verified."""
    if not known.fetched:
        raise UsageError(
            f"'{known.name}' has many small files and is not downloaded; get it from {known.homepage}, bring it into COCO's "
            f"format ({known.layouts[-1][0].name} and its like, pictures in images/), and name its folder with --data-dir."
        )
    if offline():
        raise UsageError(
            f"GENTOOL_OFFLINE forbids downloading '{known.name}'; unset it, or put the files there by hand."
        )
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.ERROR)  # what it would say is said here
    folder = where.cache / known.folders[0]
    total = sum(file.size for file in known.fetched)
    where.say(
        f"Downloading {known.name}: {len(known.fetched)} file(s), {total / 1e6:.1f} MB, licence: {known.licence}."
    )
    try:
        return {file.name: _fetch_file(file, folder, where) for file in known.fetched}
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only where nothing came: an empty folder is not left behind


def _fetch_file(file: File, folder: Path, where: Where) -> Path:
    import warnings

    import pooch

    where.say(f"  {file.url} ({file.size / 1e6:.2f} MB)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = pooch.retrieve(
                file.url, known_hash=file.checksum, fname=file.name, path=folder, downloader=_Download(file)
            )
    except (GentoolError, KeyboardInterrupt):
        raise
    except ValueError:
        raise GentoolError(
            f"{file.url} is not the file that was published (its checksum differs), so it was not kept; "
            f"try again, or put {file.name} into '{safe_text(str(folder))}' by hand."
        ) from None
    except Exception as error:  # pooch and requests raise many kinds
        raise GentoolError(
            f"{file.url} could not be downloaded ({_failure(error)}); check the connection, or put {file.name} into "
            f"'{safe_text(str(folder))}' by hand."
        ) from None
    return Path(path)


def _failure(error: Exception) -> str:
    """Why a download failed, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {safe_text(error.response.reason)[:60]}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server"
    why = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    return " ".join(safe_text(why).split())[:120]


class _Download:
    """A pooch downloader: a progress bar on stderr, and an end to a server that sends more than the file."""

    def __init__(self, file: File) -> None:
        self.file = file

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        import requests
        from tqdm import tqdm

        limit = self.file.size * 2 + 65536
        with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            bar = tqdm(
                total=self.file.size,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                leave=False,
                disable=not sys.stderr.isatty(),
            )
            with bar, open(output_file, "wb") as sink:
                received = 0
                # Raw bytes: a .gz is to stay one, whatever Content-Encoding says.
                for chunk in response.raw.stream(1 << 16, decode_content=False):
                    received += len(chunk)
                    if received > limit:
                        raise GentoolError(f"{url} sends more than the {self.file.size:,} bytes it should; not kept.")
                    sink.write(chunk)
                    bar.update(len(chunk))


def where_of(config: AnyData, *, fetch: bool = False, say: Callable[[str], None] = say_on_stderr) -> Where:
    """Where a config's files are looked for, and how they are read."""
    # `resize`, `channels`, `skip_bad`: what a kind's settings share with the reading of its files.
    shared = {f.name for f in dataclasses.fields(Where)} & {f.name for f in dataclasses.fields(config)}
    reading = {field: getattr(config, field) for field in shared}
    return Where(folders=data_folders(config.dir), fetch=fetch, say=say, **reading)
