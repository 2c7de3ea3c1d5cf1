"""One event: why it is where it is, what is next, its headers, and its payload if someone asks for it."""

import json
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.console.concerns import runbooks_of_event
from relay.console.filter_form import command
from relay.console.plain import fitting
from relay.console.site import Site
from relay.operate.access import Reader
from relay.operate.events import EventName, WholeEvent, event_name, try_one
from relay.operate.explain import Facts, why_no_replay
from relay.operate.explain_facts import Explained, explain_event
from relay.operate.payload_text import pretty

# How much of a payload is shown, and of the headers, as bytes of the page; the download has all of it.
_SHOWN_BYTES = 64 * 1024
_HEADERS_BYTES = 16 * 1024
_HEADER_NAMES = 50
_HEX_BYTES = 4096


async def event(site: Site, request: Request) -> Response:
    """Show one event, without its payload and the values of its headers."""
    name = _name(request)

    def look(reader: Reader) -> tuple[WholeEvent, Explained] | None:
        whole = try_one(reader, name)
        return None if whole is None else (whole, explain_event(site.settings, reader, name, site.live.known))

    found = await site.read(look)
    if found is None:
        raise HTTPException(404, "there is no such event in the outbox")
    whole, explained = found
    names = _header_names(whole.headers)
    return site.page(
        request,
        "event.html",
        whole=whole,
        event=whole.listed,
        facts=explained.facts,
        explanation=explained.explanation,
        no_replay=why_no_replay(explained.facts),
        ahead=_ahead(explained.facts),
        runbook_names=runbooks_of_event(explained.facts),
        header_names=names[:_HEADER_NAMES],
        more_headers=max(0, len(names) - _HEADER_NAMES),
        payloads=site.settings.console.payloads,
        command=command("explain", str(whole.listed.seq)),
    )


def _ahead(facts: Facts) -> list[int]:
    """Return what of its key is in the way of an event, the first one first."""
    if not facts.ordered or facts.state not in ("pending", "retry"):
        return []
    blocking = facts.dead_ahead if facts.on_dead == "block" else ()
    return sorted({*blocking, *(other.seq for other in facts.in_the_way)})


async def payload(site: Site, request: Request) -> Response:
    """Show the payload and the headers with their values, as they are stored."""
    whole = await _asked_for(site, request)
    is_laid_out = "pretty" in request.query_params
    shown = _readable(whole.payload, laid_out=is_laid_out)
    headers = None if whole.headers is None else fitting(whole.headers, _HEADERS_BYTES, several_lines=True)
    return site.page(
        request,
        "payload.html",
        whole=whole,
        event=whole.listed,
        shown=shown,
        is_laid_out=is_laid_out,
        headers=headers,
        are_headers_cut=headers != whole.headers,
        command=command("show", str(whole.listed.seq)),
    )


async def download(site: Site, request: Request) -> Response:
    """Send the payload byte for byte, as a file that no browser shows."""
    whole = await _asked_for(site, request)
    if whole.unreadable:
        raise HTTPException(422, "PostgreSQL cannot read this payload")
    return Response(
        whole.payload,
        media_type="text/plain; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="event-{whole.listed.seq}.txt"'},
    )


async def _asked_for(site: Site, request: Request) -> WholeEvent:
    if site.settings.console.payloads == "never":
        raise HTTPException(403, 'payloads are not shown here (console.payloads = "never")')
    name = _name(request)
    whole = await site.read(lambda reader: try_one(reader, name))
    if whole is None:
        raise HTTPException(404, "there is no such event in the outbox")
    return whole


def _name(request: Request) -> EventName:
    try:
        return event_name(request.path_params["name"])
    except ValueError as error:
        raise HTTPException(404, str(error)) from None


def _header_names(headers: str | None) -> list[str]:
    try:
        found = json.loads(headers or "{}")
    except (ValueError, RecursionError):
        return []
    return list(found) if isinstance(found, dict) else []


class _Readable(NamedTuple):
    """The beginning of a payload.

    Attributes:
        is_text: False: it is no UTF-8, and `text` has hexadecimal digits.
    """

    text: str
    is_text: bool
    is_cut: bool


def _readable(payload: bytes, *, laid_out: bool) -> _Readable:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return _Readable(payload[:_HEX_BYTES].hex(" ", 4), False, len(payload) > _HEX_BYTES)
    stored = payload[:_SHOWN_BYTES].decode(errors="ignore")
    text = pretty(stored) if laid_out else stored
    shown = fitting(text, _SHOWN_BYTES, several_lines=True)
    return _Readable(shown, True, len(payload) > _SHOWN_BYTES or shown != text)
