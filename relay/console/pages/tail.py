"""Deliveries as they happen: a page with the last ones, and a stream of those that follow."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from urllib.parse import urlencode

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from relay.console.filter_form import command, read_form
from relay.console.site import Site
from relay.errors import RelayError
from relay.operate.access import Watcher, watching
from relay.operate.events import ListedEvent
from relay.operate.filters import Filters
from relay.operate.follow import Follower, last_settled

_LAST = 50
_PAUSE_S = 1.0
_LONGEST_S = 3600.0
# Each holds a connection to PostgreSQL.
_MOST_STREAMS = 8
_LINE_END = "\n"


async def tail(site: Site, request: Request) -> Response:
    """Show the last deliveries; with JavaScript those that follow are added."""
    filters, query = _asked_for(request)
    last = await site.read(lambda reader: last_settled(reader, filters, _LAST))
    flags = [f"--{name}={value}" for name, value in (("topic", filters.topic), ("key", filters.key)) if value]
    return site.page(
        request,
        "tail.html",
        events=last[::-1],
        topic=filters.topic or "",
        key=filters.key or "",
        stream=f"/tail/stream?{query}",
        command=command("tail", *flags),
    )


class TailStreams:
    """The open streams of one console."""

    def __init__(self) -> None:
        self._open = 0

    async def answer(self, site: Site, request: Request) -> Response:
        """Follow deliveries until the other end leaves, as server-sent events: a row of the table each."""
        if self._open >= _MOST_STREAMS:
            raise HTTPException(503, f"{_MOST_STREAMS} tails are open, and each holds a connection: close one")
        filters, _ = _asked_for(request)
        return StreamingResponse(self._rows(site, request, filters), media_type="text/event-stream")

    async def _rows(self, site: Site, request: Request, filters: Filters) -> AsyncIterator[str]:
        self._open += 1
        until = time.monotonic() + _LONGEST_S
        look = _Look(site, filters)
        try:
            yield "retry: 5000\n\n"
            while time.monotonic() < until:
                try:
                    settled = await asyncio.to_thread(look.take)
                except (psycopg.Error, RelayError):
                    # The browser comes back after a while, and finds the outbox or a page that says why not.
                    return
                for event in settled:
                    row = bytes(site.page(request, "tail_row.html", one=event).body).decode()
                    yield f"data: {row.replace(_LINE_END, ' ')}\n\n"
                yield ": \n\n"
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._open -= 1
            await asyncio.to_thread(look.close)


class _Look:
    """Looks again and again over one connection."""

    def __init__(self, site: Site, filters: Filters) -> None:
        self._site = site
        # The page has some of the last ones already, and leaves them out: so none is missed between the two.
        self._follower = Follower(filters, _LAST, _unheard)
        self._stack = ExitStack()
        self._watcher: Watcher | None = None

    def take(self) -> list[ListedEvent]:
        """Return what was settled since the last look."""
        if self._watcher is None:
            self._watcher = self._stack.enter_context(watching(self._site.settings))
        with self._watcher.look():
            return self._follower.look(self._watcher)[0]

    def close(self) -> None:
        """Let go of the connection."""
        self._stack.close()


def _asked_for(request: Request) -> tuple[Filters, str]:
    given = {name: request.query_params.get(name, "") for name in ("topic", "key")}
    form = read_form(given, time.time())
    if form.faults:
        raise HTTPException(400, "; ".join(form.faults.values()))
    return form.filters, urlencode(form.typed)


def _unheard(text: str) -> None:
    """Pass over the note that not every pending event can be followed: the newest ones always are."""
