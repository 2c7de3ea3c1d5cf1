"""Find events: every filter of ``relay list`` in the address."""

import time
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.console.filter_form import FilterForm, command, read_form
from relay.console.site import Site
from relay.operate.events import Found, ListState, event_name, find

LIMIT = 50
_MOST = 60
# So many seqs are searched for a page; a link goes on from there.
SCAN = 100_000
STATES = get_args(ListState)


async def events(site: Site, request: Request) -> Response:
    """List events in a state, with a form for the filters."""
    given = request.query_params
    form = read_form(given, time.time())
    state, limit = _state(given.get("state"), form), _limit(given.get("limit"))
    found = (
        Found([], True)
        if form.faults
        else await site.read(lambda reader: find(reader, state, form.filters, limit, SCAN))
    )
    return site.page(
        request,
        "events.html",
        400 if form.faults else 200,
        form=form,
        state=state,
        states=STATES,
        events=found.events,
        limit=limit,
        scanned=None if found.all_searched else SCAN,
        older=_next(form, state, found, limit),
        command=command("list", "--state", state, *form.flags(), *_unless_default(limit)),
    )


async def go(site: Site, request: Request) -> Response:
    """Lead from what was typed into the box of every page to the event, or to the events of that key."""
    text = request.query_params.get("q", "").strip()
    try:
        name = event_name(text)
    except ValueError:
        form = read_form({"key": text}, time.time())
        return RedirectResponse(site.url(f"/key?{form.query()}" if text else "/events"), 303)
    return RedirectResponse(site.url(f"/events/{name.id if name.seq is None else name.seq}"), 303)


def _state(text: str | None, form: FilterForm) -> ListState:
    if text in STATES:
        return cast(ListState, text)
    return "any" if form.value("id") or form.value("seq") else "pending"


def _limit(text: str | None) -> int:
    return max(1, min(_MOST, int(text))) if text and text.isascii() and text.isdecimal() and len(text) < 9 else LIMIT


def _unless_default(limit: int) -> list[str]:
    return [] if limit == LIMIT else ["--limit", str(limit)]


def _next(form: FilterForm, state: ListState, found: Found, limit: int) -> str | None:
    """Return the query of the next page, None without one; only lists in the order of seq have pages."""
    if found.searched is None or form.value("id"):
        return None
    above, up_to = found.searched
    if len(found.events) >= limit:
        last = found.events[-1].seq
    elif found.all_searched:
        return None
    else:
        last = up_to if state == "pending" else above + 1
    filters = form.filters
    if state == "pending":
        seqs = f"{last + 1}..{'' if filters.last_seq is None else filters.last_seq}"
    else:
        seqs = f"{'' if filters.first_seq is None else filters.first_seq}..{last - 1}"
    return FilterForm({**form.typed, "seq": seqs}, filters, {}).query(
        state=state, limit=limit if limit != LIMIT else None
    )
