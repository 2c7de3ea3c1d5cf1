"""The door in front of every page: which requests are answered, as whom, and with which headers."""

import logging
from collections import defaultdict
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay.console.access.entry import Entry, TooManyAttempts
from relay.console.access.proxied import is_trusted
from relay.console.access.request_rules import is_known_host, is_same_origin
from relay.console.access.visitor import Visitor
from relay.observe.logs import event as log_event

if TYPE_CHECKING:
    from relay.config.console_section import ConsoleSection

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# Without a visitor: probes, what every page looks like, and the way in.
_OPEN = ("/healthz", "/login", "/favicon.ico")
_STATIC = "/static/"
# Where the printed link leads, also for somebody who is in already: the key leaves the address bar.
BY_LINK = "/by-link"


class Guard:
    """Wraps the pages; ``scope["state"]["visitor"]`` is who asks, ``scope["path"]`` is without the base path."""

    def __init__(self, app: ASGIApp, section: "ConsoleSection", entry: Entry) -> None:
        self._app = app
        self._section = section
        self._entry = entry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = await self._refused(scope) or self._app
            is_static = str(scope["path"]).startswith((_STATIC, "/favicon.ico"))
            # What is ours is asked for again, and answered with 304 while it is the same.
            await answer(scope, receive, _with_headers(send, "no-cache" if is_static else "no-store"))

    async def _refused(self, scope: Scope) -> ASGIApp | None:
        """Return the answer to a request that is not let in; otherwise set its visitor and return None."""
        headers = _headers(scope)
        base = self._section.base_path
        path = str(scope["path"])
        if base and (path == base or path.startswith(f"{base}/")):
            # A proxy that keeps the path; one that strips it has done this already.
            path = path[len(base) :] or "/"
            scope["path"], scope["raw_path"] = path, path.encode()
        if path == "/healthz":
            return None
        if not is_known_host(_only(headers["host"]), self._section.hosts):
            return PlainTextResponse("this console has another name: see console.hosts\n", 421)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("there is GET and POST\n", 405)
        if scope["method"] == "POST" and not is_same_origin(
            _only(headers["sec-fetch-site"]), _only(headers["origin"]), _only(headers["host"])
        ):
            return PlainTextResponse("this comes from another site\n", 403)
        scope.setdefault("state", {})["secure"] = self._is_https(scope, headers)
        try:
            visitor = await self._visitor(scope, headers)
        except TooManyAttempts:
            return PlainTextResponse("too many attempts, try again in a moment\n", 429)
        scope["state"]["visitor"] = visitor
        if path == "/" and self._section.auth == "link" and b"key=" in scope["query_string"]:
            scope["path"], scope["raw_path"] = BY_LINK, BY_LINK.encode()
            return None
        if visitor is not None or path in _OPEN or path.startswith(_STATIC):
            return None
        if self._entry.has_login:
            return RedirectResponse(f"{base}/login", 303)
        return PlainTextResponse(_TURNED_AWAY[self._section.auth], 403)

    async def _visitor(self, scope: Scope, headers: dict[str, list[str]]) -> Visitor | None:
        authorization = _only(headers["authorization"])
        if self._entry.has_login and authorization is not None and authorization.lower().startswith("bearer "):
            visitor = await self._entry.bearer(authorization[7:].strip())
            if visitor is None:
                log_event(log, "warning", "console.refused", "a wrong token was given", peer=_peer(scope))
            return visitor
        return self._entry.visitor(_peer(scope), headers, session_of(headers["cookie"], self._section.port))

    def _is_https(self, scope: Scope, headers: dict[str, list[str]]) -> bool:
        told = _only(headers["x-forwarded-proto"])
        return told == "https" and is_trusted(_peer(scope), self._section.trusted_proxies)


_TURNED_AWAY = {
    "link": "open the link that `relay console` has printed\n",
    "proxy": "this console is reached through its proxy, which says who you are\n",
    "token": "log in\n",
}


def cookie_name(port: int, *, secure: bool) -> str:
    """Return the name of the session's cookie; cookies of one host are shared by all of its ports."""
    return f"{'__Host-' if secure else ''}relay_console_{port}"


def session_of(cookies: list[str], port: int) -> str | None:
    """Return the session in the cookies of a request, None without one."""
    for header in cookies:
        try:
            found = SimpleCookie(header)
        except CookieError:
            continue
        for secure in (True, False):
            if (one := found.get(cookie_name(port, secure=secure))) is not None:
                return one.value
    return None


def _headers(scope: Scope) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = defaultdict(list)
    for name, value in scope["headers"]:
        headers[name.decode("latin-1").lower()].append(value.decode("latin-1"))
    return headers


def _only(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def _peer(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _with_headers(send: Send, caching: str) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = {**_HEADERS, "cache-control": caching}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in ours.items()),
            ]
        await send(message)

    return sent
