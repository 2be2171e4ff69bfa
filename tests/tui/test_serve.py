"""Serving to a browser: who is let in, and what a page gets."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from runs_on_disk import make

from gentool.errors import UsageError
from gentool.tui.serve import LOOPBACK, check_port, command, make_server

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")
TOKEN = "a-token_of-this-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def served(work: Callable[[Any, str], Awaitable[None]], words: str = "true") -> None:
    """`await work(session, address)` while the server answers."""

    async def run() -> None:
        from aiohttp import web

        port = free_port()
        runner = web.AppRunner(await make_server(words, LOOPBACK, port, TOKEN)._make_app())
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, port).start()
        jar = aiohttp.CookieJar(unsafe=True)
        try:
            async with aiohttp.ClientSession(cookie_jar=jar) as session:
                await work(session, f"http://{LOOPBACK}:{port}")
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_nobody_comes_in_without_the_token() -> None:
    async def work(session: Any, at: str) -> None:
        for path in ("/", "/ws", "/static/css/xterm.css", "/static/", "/download/x", f"/?token={TOKEN}x", "/?token=é"):
            async with session.get(at + path) as answer:
                assert answer.status == 403, path
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(at + "/ws")

    served(work)


def test_the_token_is_taken_once_and_kept_in_a_cookie() -> None:
    async def work(session: Any, at: str) -> None:
        async with session.get(f"{at}/?token={TOKEN}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/")
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
        async with session.get(at) as answer:
            assert answer.status == 200
            assert TOKEN not in await answer.text()

    served(work)


def test_pages_of_other_sites_and_names_that_point_here_stay_out() -> None:
    async def work(session: Any, at: str) -> None:
        async with session.get(f"{at}/?token={TOKEN}") as answer:
            assert answer.status == 200
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": ""}):
            async with session.get(at, headers=headers) as answer:
                assert answer.status in (400, 403), headers
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(at + "/ws", headers={"Origin": "http://evil.example"})

    served(work)


def test_what_cannot_be_served_is_refused_in_a_sentence(cli: Any, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = cli("tui", tmp_path, "--serve", "--port", port)
        assert result.code == 2
        assert f"Nothing can listen on 127.0.0.1:{port}" in result.err
    with pytest.raises(UsageError, match="is no address"):
        check_port("\x1b[31mhere", 8000)
    assert "give both, or neither" in cli("tui", tmp_path, "--open-to-network", "192.168.1.5").err
    words = shlex.split(command(tmp_path / "a b;c", "gentool-light"))
    assert words[1:5] == ["-m", "gentool", "tui", str(tmp_path / "a b;c")]


async def answers(session: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with session.get(address) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectorError:
        return False


@pytest.mark.slow
def test_a_page_gets_the_application(tmp_path: Path) -> None:
    make(tmp_path, "2026-11-01_vae_0001", model="vae")
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "gentool", "tui", str(tmp_path), "--serve", "--port", str(port)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    try:
        assert server.stderr is not None
        said = server.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{20,}", said)
        assert address is not None, said

        async def work() -> bytes:
            seen = b""
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
                async with asyncio.timeout(30):
                    while not await answers(session, address[0]):  # said a moment before it listens
                        await asyncio.sleep(0.1)
                async with session.ws_connect(f"ws://{LOOPBACK}:{port}/ws?width=100&height=30") as page:
                    async with asyncio.timeout(60):
                        while b"vae_0001" not in seen or b"Launch" not in seen:  # drawn in either order
                            message = await page.receive()
                            seen += message.data if message.type == aiohttp.WSMsgType.BINARY else b""
            return seen

        assert b"Launch" in asyncio.run(work())
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
