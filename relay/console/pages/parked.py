"""Retry or skip parked events of a projection: preview and confirmation. Routed only with ``console.write``."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.console.changes.order import number_of
from relay.console.filter_form import command
from relay.console.form_body import read_body
from relay.console.pages.projections import store_of
from relay.console.read_models import Choice, Store, parked, want, was_refused
from relay.console.site import Site, visitor_of
from relay.observe.logs import event as log_event
from relay.projection.operator import ParkedEvent

log = logging.getLogger(__name__)

_EXAMPLES = 10
# A form names each event that was shown; more are asked for by asking again.
_MOST = 1000


class _Wish(NamedTuple):
    """What is asked for.

    Attributes:
        key: Only the events of this key.
        events: Only these, each as number and partition; None: all that were refused.
    """

    store: Store
    name: str
    what: Choice
    key: str | None
    events: frozenset[tuple[int, int]] | None


async def look(site: Site, request: Request) -> Response:
    """Show which parked events would be retried or skipped."""
    wish = _wish(request.query_params)
    return _page(site, request, wish, await _matching(site, wish), None, 200)


async def confirm(site: Site, request: Request) -> Response:
    """Ask for exactly what was shown, if all of it is parked still."""
    fields = await read_body(request)
    wish = _wish(fields)
    if wish.events is None:
        raise HTTPException(400, "this form does not say which events were shown: look at the preview first")
    found = await _matching(site, wish)
    if len(found) < len(wish.events):
        gone = f"{len(wish.events) - len(found):,} of those that were shown are not parked any more: look again"
        return _page(site, request, wish, found, gone, 409)
    acting = f"console {visitor_of(request).name}"
    count = await want(site, wish.store, wish.name, found, wish.what, acting)
    what = f"{wish.what} parked events of {wish.name}"
    log_event(log, "info", "console.changed", "an operator changed events", who=acting, what=what, events=count)
    return RedirectResponse(site.url(f"/projections?{urlencode({'name': wish.name, 'store': wish.store})}"), 303)


async def _matching(site: Site, wish: _Wish) -> list[ParkedEvent]:
    found = await parked(site, wish.store, wish.name, wish.key)
    if wish.events is None:
        return [one for one in found if was_refused(one)][:_MOST]
    return [one for one in found if (one.number, one.partition) in wish.events]


def _wish(given: Mapping[str, str]) -> _Wish:
    name, what = given.get("name", ""), given.get("what", "")
    if what not in ("retry", "skip"):
        raise HTTPException(400, "there is no such action")
    events = None
    if "events" in given:
        pairs = [one.partition(".") for one in given["events"].split()]
        events = frozenset((number_of(number) or 0, number_of(part) or 0) for number, _, part in pairs)
    # What is given up is given up for good: each event has to be named.
    if what == "skip" and events is None:
        raise HTTPException(400, "say which events to skip")
    key = given.get("key") or None
    return _Wish(store_of(given.get("store")), name, cast(Choice, what), key, events)


def _page(
    site: Site, request: Request, wish: _Wish, found: Sequence[ParkedEvent], against: str | None, status: int
) -> Response:
    flags = [word for number in sorted({one.number for one in found}) for word in ("--number", str(number))]
    if wish.events is None:
        flags = [] if wish.key is None else [f"--key={wish.key}"]
    part = ("redis",) if wish.store == "redis" else ()
    return site.page(
        request,
        "parked.html",
        status,
        wish=wish,
        found=found,
        examples=found[:_EXAMPLES],
        shown=" ".join(f"{one.number}.{one.partition}" for one in found),
        against=against,
        command=command("projection", *part, wish.what, wish.name, *flags),
    )
