"""One event: why it is where it is, what is next, its headers, and its payload if someone asks for it."""

import json

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.site import Site
from relay.operate.access import Reader
from relay.operate.events import EventName, WholeEvent, event_name, try_one
from relay.operate.explain_facts import Explained, explain_event
from relay.operate.payload_text import pretty

# How much of a payload is shown; the download has all of it.
_SHOWN_BYTES = 64 * 1024
_HEX_BYTES = 4096


async def event(site: Site, request: Request) -> Response:
    """Show one event, without its payload and the values of its headers."""
    name = _name(request)

    def look(reader: Reader) -> tuple[WholeEvent, Explained] | None:
        whole = try_one(reader, name)
        return None if whole is None else (whole, explain_event(site.settings, reader, name))

    found = await site.read(look)
    if found is None:
        raise HTTPException(404, "there is no such event in the outbox")
    whole, explained = found
    return site.page(
        request,
        "event.html",
        whole=whole,
        event=whole.listed,
        facts=explained.facts,
        explanation=explained.explanation,
        header_names=_header_names(whole.headers),
        payloads=site.settings.console.payloads,
        command=command("explain", str(whole.listed.seq)),
    )


async def payload(site: Site, request: Request) -> Response:
    """Show the payload and the headers with their values, as they are stored."""
    whole = await _asked_for(site, request)
    text, kind = _readable(whole.payload)
    is_laid_out = "pretty" in request.query_params and kind == "text"
    return site.page(
        request,
        "payload.html",
        whole=whole,
        event=whole.listed,
        text=pretty(text) if is_laid_out else text,
        kind=kind,
        is_laid_out=is_laid_out,
        is_cut=len(whole.payload) > (_SHOWN_BYTES if kind == "text" else _HEX_BYTES),
        headers=whole.headers,
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


def _readable(payload: bytes) -> tuple[str, str]:
    """Return the first part of a payload as text or as hexadecimal digits, and which of the two."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return payload[:_HEX_BYTES].hex(" ", 4), "hex"
    return payload[:_SHOWN_BYTES].decode(errors="ignore"), "text"
