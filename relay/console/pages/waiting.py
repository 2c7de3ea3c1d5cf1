"""What waits: events that are held back by class and reason, and those that are tried again."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.console.concerns import dead_runbook, runbook_of
from relay.console.filter_form import command
from relay.console.pages.overview import concerns_of
from relay.console.site import Site
from relay.operate.events import find
from relay.operate.explain import MEANING
from relay.operate.filters import Filters
from relay.rules.failure_class_of_old_rows import stored_class

_EACH = 25


async def waiting(site: Site, request: Request) -> Response:
    """Show why events wait, the first event of each reason, keys that wait for a decision, and the next retries."""
    look = await site.live.look()
    if look.status is None:
        raise HTTPException(503, look.fault or "the outbox cannot be read")
    status = look.status
    settings = site.settings
    blocks = settings.failures.on_dead == "block" and settings.delivery.ordering == "key"
    retries = await site.read(lambda reader: find(reader, "retry", Filters(), _EACH, 0).events)
    dead = await site.read(lambda reader: find(reader, "dead", Filters(), _EACH, 0).events) if blocks else []
    holds = [(one, stored_class(one.failure_class, one.reason)) for one in status.waiting]
    noted = {f"/events/{one.seq}" for one in status.waiting}
    return site.page(
        request,
        "waiting.html",
        status_now=status,
        causes=[one for one in concerns_of(site, look) if one.page not in ("/dead", "/about", *noted)],
        holds=holds,
        meaning=MEANING,
        runbooks=sorted({runbook_of(failure) for _, failure in holds}),
        blocked=[one for one in dead if one.key is not None],
        blocked_runbook=dead_runbook(settings.failures.on_dead),
        most=_EACH,
        retries=retries,
        command=command("status"),
    )
