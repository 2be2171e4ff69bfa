"""`gentool tui --serve`: the application in a browser, through textual-serve, for whoever has the token and for nobody else.

Every page of it starts a process that can start trainings and read files, as the person who serves it. So it listens on
the loopback interface, asks for a token that is new every time, and answers only requests that name it by the address it
was given (a page of another site that the browser has open cannot reach it, nor can a name that was made to point here).
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gentool.errors import UsageError
from gentool.registry import plugin_files
from gentool.show.text import safe_text

COOKIE = "gentool-token"
LOOPBACK = "127.0.0.1"


def serve(runs: Path, *, port: int, address: str = LOOPBACK, theme: str | None = None) -> None:
    """Serve until Ctrl-C. `UsageError` where the extra is missing, or the address or port cannot be taken."""
    check_port(address, port)
    os.environ["COLORTERM"] = "truecolor"  # a browser has them, whatever this terminal has
    server = make_server(command(runs, theme), address, port, secrets.token_urlsafe(24))
    server.serve()


def command(runs: Path, theme: str | None) -> str:
    """What is started for every page."""
    words = [sys.executable, "-m", "gentool", "tui", str(runs.resolve())]
    if theme is not None:
        words += ["--theme", theme]
    for file in plugin_files():
        words += ["--plugin", str(file)]
    return shlex.join(words)


def check_port(address: str, port: int) -> None:
    """Refuse what cannot be listened on, before anything is started."""
    import socket

    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    except ValueError:
        raise UsageError(f"'{safe_text(address)[:60]}' is no address; give one such as 192.168.1.5.") from None
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(f"Nothing can listen on {address}:{port} ({why}); try another --port.") from None


def make_server(words: str, address: str, port: int, token: str) -> Any:
    """The server of textual-serve, with a guard before everything it answers."""
    try:
        from textual_serve.server import Server
    except ImportError:
        raise UsageError("gentool tui --serve needs an extra: pip install 'gentool[serve]'.") from None
    from aiohttp import web

    host = f"[{address}]" if ":" in address else address
    own = f"{host}:{port}"

    class Guarded(Server):
        """Says the address with its token once, on stderr."""

        async def _make_app(self) -> web.Application:
            app = await super()._make_app()
            app.middlewares.append(guard(token, own))
            return app

        async def on_startup(self, app: web.Application) -> None:
            print(f"Open http://{own}/?token={token}", file=sys.stderr)
            if not ipaddress.ip_address(address).is_loopback:
                print("Everybody who can reach this address and has the token can start programs here as you; "
                      "what goes over the network can be read on the way.", file=sys.stderr)  # fmt: skip
            print("Ctrl-C ends it.", file=sys.stderr, flush=True)

        def initialize_logging(self) -> None:
            """Nothing is logged: the address in every line would hold the token."""

    return Guarded(words, host=address, port=port, title="gentool", public_url=f"http://{own}")


def guard(token: str, own: str) -> Any:
    """Lets through what bears the token, and comes from a page of ours."""
    from aiohttp import web

    @web.middleware
    async def check(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Host", "") != own:
            raise web.HTTPForbidden(text="This is not the address that gentool serves.")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != own:
            raise web.HTTPForbidden(text="Another site's page may not come in.")
        given = request.query.get("token", "")
        if same(given, token):
            # From here on the cookie bears it: the address bar, and what links from here, do not.
            response = web.HTTPFound("/")
            response.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
            response.headers["Referrer-Policy"] = "no-referrer"
            raise response
        if not same(request.cookies.get(COOKIE, ""), token):
            raise web.HTTPForbidden(text="gentool: open the address with the token that it printed.")
        answer: web.StreamResponse = await handler(request)
        return answer

    return check


def same(given: str, token: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), token.encode())
