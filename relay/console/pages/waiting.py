"""What waits: events that are held back by class and reason, and those that are tried again."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.console.concerns import dead_runbook, runbook_of
from relay.console.filter_form import command
from relay.console.pages.overview import concerns_of, outlook_of
from relay.console.site import Site
from relay.console.stream_concerns import class_of, holding
from relay.operate.events import find
from relay.operate.explain import MEANING
from relay.operate.filters import Filters

_EACH = 25
# How many dead letters are counted by their keys.
_COUNTED = 20_000


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
    outlook = outlook_of(site, look)
    holds = [(one, class_of(one), holding(one, look.nats, outlook)) for one in status.waiting]
    keys = await site.read(lambda reader: reader.row("operate/dead_keys", (_COUNTED,))) if blocks else (0, 0)
    behind = None if look.held is None else look.held.of(lambda topic: topic.blocked)
    elsewhere = {"/about", *(f"/events/{one.seq}" for one in status.waiting), *(() if blocks else ("/dead",))}
    return site.page(
        request,
        "waiting.html",
        status_now=status,
        causes=[one for one in concerns_of(site, look) if one.page not in elsewhere],
        holds=holds,
        meaning=MEANING,
        runbooks=sorted({runbook_of(failure) for _, failure, _ in holds}),
        blocked=[one for one in dead if one.key is not None],
        blocked_runbook=dead_runbook(settings.failures.on_dead),
        blocked_keys=keys,
        counted=_COUNTED,
        behind=behind,
        most=_EACH,
        retries=retries,
        command=command("status"),
    )
