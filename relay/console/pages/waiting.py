"""What waits: events that are held back by class and reason, and those that are tried again."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.console.concerns import runbook_of
from relay.console.filter_form import command
from relay.console.site import Site
from relay.operate.events import find
from relay.operate.explain import MEANING
from relay.operate.filters import Filters
from relay.rules.failure_class_of_old_rows import stored_class

_RETRIES = 25


async def waiting(site: Site, request: Request) -> Response:
    """Show why events wait, the first event of each reason, and the next retries."""

    look = await site.live.look()
    if look.status is None:
        raise HTTPException(503, look.fault or "the outbox cannot be read")
    status = look.status
    found = await site.read(lambda reader: find(reader, "retry", Filters(), _RETRIES, 0))
    holds = [(one, stored_class(one.failure_class, one.reason)) for one in status.waiting]
    return site.page(
        request,
        "waiting.html",
        status_now=status,
        holds=holds,
        meaning=MEANING,
        runbooks=sorted({runbook_of(failure) for _, failure in holds}),
        retries=found.events,
        command=command("status"),
    )
