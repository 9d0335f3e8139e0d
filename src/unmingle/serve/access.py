"""Who may come in: a token, and no web page but our own.

Browsers let any page open connections to this machine. So a request that says which page it comes from (`Origin`) has
to come from ours, and where no token is asked for, the name it was sent to (`Host`) has to mean this machine: another
name that leads here is how a foreign page would get round the first rule.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from unmingle.serve.settings import ServeSettings, is_loopback

SUBPROTOCOL = "unmingle"
"""What a WebSocket client offers beside `token.SECRET`, where it cannot set headers; browsers cannot."""

_TOKEN_PREFIX = "token."
_GUARDED = ("/v1/", "/metrics")


@dataclass(frozen=True)
class Refusal:
    """Why somebody may not come in: an HTTP status and a sentence."""

    status: int
    message: str


class Access:
    """The rules of one server."""

    def __init__(self, settings: ServeSettings) -> None:
        """Take host and token from the settings."""
        self._token = settings.token

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why this request is refused; None when it is welcome."""
        headers = Headers(scope=scope)
        return self._about_names(headers) or (self._about_token(scope, headers) if self._token else None)

    def _about_names(self, headers: Headers) -> Refusal | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and _split(origin).netloc != host:
            return Refusal(403, f"the page {origin} is not this server's own ({host}), and others may not use it")
        name = _split(f"//{host}").hostname or ""
        if not self._token and not is_loopback(name):
            return Refusal(
                403,
                f"the request was sent to {host!r}, which is no name of this machine alone; use 127.0.0.1 or "
                "localhost, or start the server with a token",
            )
        return None

    def _about_token(self, scope: Scope, headers: Headers) -> Refusal | None:
        offered = _offered(scope, headers)
        if offered is None:
            return Refusal(401, "this server wants its token; send the header 'Authorization: Bearer TOKEN'")
        if not secrets.compare_digest(offered.encode(), (self._token or "").encode()):
            return Refusal(401, "the token is wrong; the server printed the right one when it started, or was given it")
        return None


def _split(address: str) -> SplitResult:
    """The parts of an address; none of what is no address, such as one with a single bracket."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _offered(scope: Scope, headers: Headers) -> str | None:
    """The token that came along; WebSocket clients that cannot set headers have two other places for it."""
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return secret.strip()
    if scope["type"] == "websocket":
        for offer in scope["subprotocols"]:
            if offer.startswith(_TOKEN_PREFIX):
                return offer.removeprefix(_TOKEN_PREFIX)
        return parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
    return None


class Door:
    """Middleware in front of everything: refuses HTTP requests by the rules; WebSockets are told in their own way."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Guard an application."""
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "http" and scope["path"].startswith(_GUARDED):
            refusal = self._access.refusal(scope)
            if refusal is not None:
                headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
                await problem(refusal.status, refusal.message, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as every address of the server gives it."""
    return JSONResponse({"error": message, "status": status}, status, headers)
