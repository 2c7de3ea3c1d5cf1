"""The way in: the printed link, the form for a token, and the way out."""

import logging

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from relay.console.access.entry import TooManyAttempts
from relay.console.access.guard import cookie_name, session_of
from relay.console.form_body import read_body
from relay.console.site import Site
from relay.observe.logs import event as log_event

log = logging.getLogger(__name__)


async def by_link(site: Site, request: Request) -> Response:
    """Let in who has the printed link; the key leaves the address bar."""
    return await _enter(site, request, request.query_params.get("key", ""))


async def form(site: Site, request: Request) -> Response:
    """Ask for a token."""
    return site.page(request, "login.html", wrong=False)


async def submit(site: Site, request: Request) -> Response:
    """Let in who has a token."""
    return await _enter(site, request, (await read_body(request)).get("token", ""))


async def leave(site: Site, request: Request) -> Response:
    """End the session."""
    port, is_secure = site.settings.console.port, bool(request.state.secure)
    session = session_of(request.headers.getlist("cookie"), port)
    if session is not None:
        site.entry.log_out(session)
    answer = RedirectResponse(site.url("/login"), 303)
    answer.delete_cookie(cookie_name(port, secure=is_secure), path="/", secure=is_secure)
    return answer


async def _enter(site: Site, request: Request, given: str) -> Response:
    peer = request.client.host if request.client else None
    try:
        session = await site.entry.log_in(given)
    except TooManyAttempts:
        return PlainTextResponse("too many attempts, try again in a moment\n", 429)
    if session is None:
        log_event(log, "warning", "console.refused", "a wrong token was given", peer=peer)
        if site.entry.has_login:
            return site.page(request, "login.html", 403, wrong=True)
        return PlainTextResponse("this link is of an earlier console: open the one that was printed last\n", 403)
    log_event(log, "info", "console.entered", "someone logged in", peer=peer)
    answer = RedirectResponse(site.url("/"), 303)
    is_secure = bool(request.state.secure)
    answer.set_cookie(
        cookie_name(site.settings.console.port, secure=is_secure),
        session,
        path="/",
        httponly=True,
        samesite="strict",
        secure=is_secure,
    )
    return answer
