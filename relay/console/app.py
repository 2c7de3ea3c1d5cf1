"""All routes of the console, and what becomes of faults."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from relay.console.access.entry import Entry
from relay.console.access.guard import BY_LINK, Guard
from relay.console.filter_form import events_path, read_form
from relay.console.pages import (
    about,
    audit,
    dead,
    doctor,
    event,
    events,
    key,
    login,
    overview,
    parked,
    projections,
    relays,
    runbook,
    streams,
    tail,
    waiting,
)
from relay.console.pages.change import ChangePages
from relay.console.pages.tail import TailStreams
from relay.console.site import HERE, Site, visitor_of
from relay.errors import Exit, RelayError
from relay.operate.access import foreseen
from relay.operate.changes import who
from relay.operate.claim import Taken

if TYPE_CHECKING:
    from relay.config.settings import Settings

_ASSETS = StaticFiles(directory=HERE / "static")

Page = Callable[[Site, Request], Awaitable[Response]]


def build(settings: "Settings") -> tuple[Guard, Entry]:
    """Return the console as an ASGI application, and what lets people in."""
    section = settings.console
    entry = Entry(section, who())
    site = Site(settings, entry)

    def at(path: str, page: Page, method: str = "GET", *, for_all: bool = False) -> Route:
        async def answer(request: Request) -> Response:
            if not for_all:
                visitor_of(request)
            return await page(site, request)

        return Route(path, answer, methods=[method], name=f"{method} {path}")

    routes: list[Route | Mount] = [
        at("/", overview.overview),
        at("/events", events.events),
        at("/go", events.go),
        at("/events/{name}", event.event),
        at("/events/{name}/payload", event.payload),
        at("/events/{name}/payload.txt", event.download),
        at("/dead", dead.dead),
        at("/key", key.key),
        at("/waiting", waiting.waiting),
        at("/streams", streams.streams),
        at("/relays", relays.relays),
        at("/projections", projections.projections),
        at("/tail", tail.tail),
        at("/tail/stream", TailStreams().answer),
        at("/doctor", doctor.ask),
        at("/doctor", doctor.run, "POST"),
        at("/audit", audit.audit),
        at("/about", about.about),
        at("/runbooks", runbook.runbooks),
        at("/runbooks/{name}", runbook.runbook),
        at("/healthz", _healthy, for_all=True),
        at("/favicon.ico", _icon, for_all=True),
        Mount("/static", _ASSETS),
    ]
    changes = ChangePages()
    if section.write:
        routes += [
            at("/change", for_operators(changes.look)),
            at("/change", for_operators(changes.confirm), "POST"),
            at("/changes/{number}", for_operators(changes.progress)),
            at("/projections/decide", for_operators(parked.look)),
            at("/projections/decide", for_operators(parked.confirm), "POST"),
        ]
    if section.auth == "token":
        routes += [
            at("/login", login.form, for_all=True),
            at("/login", login.submit, "POST", for_all=True),
            at("/logout", login.leave, "POST"),
        ]

    if section.auth == "link":
        routes.append(at(BY_LINK, login.by_link, for_all=True))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await changes.jobs.close()
        await site.live.close()

    async def fault(request: Request, error: Exception) -> Response:
        return _fault_page(site, request, error)

    handlers = {HTTPException: fault, RelayError: fault, psycopg.Error: fault}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    return Guard(app, section, entry), entry


def for_operators(page: Page) -> Page:
    """Return a page that answers operators alone."""

    async def answer(site: Site, request: Request) -> Response:
        if not visitor_of(request).operator:
            raise HTTPException(403, "only an operator may change something")
        return await page(site, request)

    return answer


async def _icon(site: Site, request: Request) -> Response:
    """Answer what browsers ask for beside what has no page to name an icon, such as a download."""
    return await _ASSETS.get_response("icon.svg", request.scope)


async def _healthy(site: Site, request: Request) -> Response:
    """Answer a probe that the process answers; whether the outbox is well is for the relay's own probes."""
    return PlainTextResponse("ok\n")


def _fault_page(site: Site, request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        status, text = error.status_code, error.detail
    else:
        cause = foreseen(error) if isinstance(error, psycopg.Error) else error
        if not isinstance(cause, RelayError):
            raise error
        status, text = _status(cause), str(cause)
    form = read_form(request.query_params, time.time())
    back = events_path(form) if not form.faults and status != 404 else None
    return site.page(request, "fault.html", status, text=text, status_code=status, back=back)


def _status(cause: RelayError) -> int:
    if isinstance(cause, Taken):
        return 409
    return 503 if cause.exit_code == Exit.UNREACHABLE else 422
