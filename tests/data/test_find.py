"""Where sets are looked for, and the download, from a server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gentool.data import find
from gentool.data.find import Where
from gentool.data.known import KNOWN, MNIST, File, Known
from gentool.errors import GentoolError, UsageError

MakeWhere = Callable[..., Where]


def names() -> list[str]:
    return [file.name for file in MNIST.layouts[0]]


def touch(folder: Path, files: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).touch()
    return folder


# -- searching -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("plain", [False, True])
def test_found_in_the_usual_places(tmp_path: Path, where: MakeWhere, below: str, plain: bool) -> None:
    files = [name.removesuffix(".gz") if plain else name for name in names()]
    folder = touch(tmp_path / below, files)
    found = find.locate(MNIST, where(folders=(tmp_path,)))
    assert found is not None
    assert sorted(found) == sorted(names())
    assert all(path.parent.resolve() == folder.resolve() for path in found.values())


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--data-dir, then GENTOOL_DATA, then the cache."""
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for folder in (a, b, c):
        touch(folder / "mnist", names())
    monkeypatch.setenv("GENTOOL_DATA", f"/nowhere:{c}:{b}")
    assert find.data_folders(str(a)) == (a, c, b)
    assert find.data_folders() == (c, b)
    cache = touch(find.cache_folder() / "mnist", names())
    for expected in (a, c, b, cache.parent):
        where = Where(folders=find.data_folders(str(a) if a.exists() else ""))
        found = find.locate(MNIST, where)
        assert found is not None
        assert next(iter(found.values())).parent == expected / "mnist"
        for file in names():
            (expected / "mnist" / file).unlink()
        if expected == a:
            (a / "mnist").rmdir()
            a.rmdir()


def test_another_sets_folder_is_not_taken(tmp_path: Path, where: MakeWhere) -> None:
    """mnist and fashion-mnist have the same file names; a folder that is called as one is not the other."""
    touch(tmp_path / "fashion-mnist", names())
    assert find.locate(MNIST, where(folders=(tmp_path / "fashion-mnist",))) is None
    assert find.locate(MNIST, where(folders=(tmp_path,))) is None
    assert find.locate(KNOWN["fashion-mnist"], where(folders=(tmp_path / "fashion-mnist",))) is not None


def test_not_here(tmp_path: Path, where: MakeWhere, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UsageError, match="'mnist' is not here .* `gentool data fetch mnist` downloads it, or .*--data-dir"
    ):
        find.files_of(MNIST, where(folders=(tmp_path,)))
    touch(tmp_path / "mnist", names()[:3])
    with pytest.raises(UsageError, match=f"it lacks {names()[3]} in '.*mnist'"):
        find.files_of(MNIST, where(folders=(tmp_path,)))
    monkeypatch.setenv("GENTOOL_OFFLINE", "1")
    with pytest.raises(UsageError, match="GENTOOL_OFFLINE forbids"):
        find.files_of(MNIST, where(fetch=True))
    with pytest.raises(UsageError, match="GENTOOL_OFFLINE forbids"):
        find.fetch(MNIST, where())


def test_a_data_folder_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"The data folder '/no.x1b/where' \(--data-dir"):
        find.data_folders("/no\x1b/where")


def test_checksums_are_well_formed() -> None:
    for known in KNOWN.values():
        files = [file for file in known.layouts[-1] if file.checksum]
        assert known.fetched in (tuple(files), ())  # all of a set can be fetched, or nothing
        for file in files:
            kind, _, digest = file.checksum.partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[kind]
            assert int(digest, 16)
            if file.url:
                assert file.size > 0
                assert Path(file.url).suffix == Path(file.name).suffix  # a mirror may call it otherwise
        assert known.licence


# -- downloading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """(address, what it serves, what was asked of it) on 127.0.0.1. "/endless" never stops."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            name = self.path.strip("/")
            if name == "endless":
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(1 << 16))
                except OSError:
                    return
            if name not in files:
                self.send_error(404)
                return
            self.send_response(200)
            if name.endswith(".gz"):
                self.send_header("Content-Encoding", "gzip")  # as some servers do; the file is to stay packed
            self.send_header("Content-Length", str(len(files[name]) + (100 if name == "short" else 0)))
            self.end_headers()
            self.wfile.write(files[name])

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", files, asked
        running.shutdown()


def known(address: str, *files: tuple[str, bytes]) -> Known:
    made = tuple(
        File(name, f"{address}/{name}", f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) for name, data in files
    )
    return Known("made", ("made",), (made,), "MIT (somebody)")


def test_a_download_says_what_it_does_and_is_kept(server, where: MakeWhere, said: list[str], capfd) -> None:  # type: ignore[no-untyped-def]
    address, files, asked = server
    files.update({"a.gz": b"\x1f\x8b" + bytes(range(200)), "b.bin": b"hello"})
    made = known(address, *files.items())
    found = find.files_of(made, where(fetch=True))
    assert {name: path.read_bytes() for name, path in found.items()} == files
    assert all(path.parent == find.cache_folder() / "made" for path in found.values())
    assert "MIT (somebody)" in said[0]
    assert [line.split()[0] for line in said[1:]] == [f"{address}/a.gz", f"{address}/b.bin"]
    assert all("MB" in line for line in said)
    assert capfd.readouterr().out == ""
    before = len(asked)
    assert find.files_of(made, where(fetch=True)) == found  # from the cache: nothing is asked again
    assert len(asked) == before


def test_nothing_is_fetched_that_was_not_asked_for(server, where: MakeWhere) -> None:  # type: ignore[no-untyped-def]
    address, files, asked = server
    files["a"] = b"x"
    with pytest.raises(UsageError, match="gentool data fetch made"):
        find.files_of(known(address, ("a", b"x")), where())
    assert not asked


def test_a_wrong_checksum_is_not_kept(server, where: MakeWhere) -> None:  # type: ignore[no-untyped-def]
    address, files, _ = server
    files["a"] = b"something else"
    with pytest.raises(GentoolError, match=r"is not the file that was published \(its checksum differs\)") as refused:
        find.fetch(known(address, ("a", b"what was meant")), where())
    assert refused.value.exit_code == 1
    assert not [p for p in find.cache_folder().rglob("*") if p.is_file()]


@pytest.mark.parametrize("case", ["missing", "endless", "no server", "short"])
def test_downloads_that_fail(server, where: MakeWhere, case: str) -> None:  # type: ignore[no-untyped-def]
    address, files, _ = server
    files["short"] = b"12345"
    made = known("http://127.0.0.1:9" if case == "no server" else address, (case.replace(" ", "-"), b"12345"))
    if case == "short":  # the connection ends before the promised length
        made = dataclasses.replace(
            made, layouts=((dataclasses.replace(made.fetched[0], checksum="sha256:" + "0" * 64),),)
        )
    with pytest.raises(GentoolError) as refused:
        find.fetch(made, where())
    assert "\n" not in str(refused.value)
    assert not [p for p in find.cache_folder().rglob("*") if p.is_file()]
    reason = {
        "missing": "the server answers 404",
        "endless": "sends more than the 5 bytes",
        "no server": "no connection to the server",
        "short": "",
    }
    assert reason[case] in str(refused.value)
