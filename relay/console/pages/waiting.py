"""What waits: events that are held back by class and reason, and those that are tried again."""

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.site import Site
from relay.operate.access import Reader
from relay.operate.events import find
from relay.operate.explain import MEANING
from relay.operate.filters import Filters
from relay.operate.status import Status, read_status
from relay.rules.failure_class_of_old_rows import stored_class

_RETRIES = 50


async def waiting(site: Site, request: Request) -> Response:
    """Show why events wait, the first event of each reason, and the next retries."""

    def look(reader: Reader) -> tuple[Status, list[object]]:
        return read_status(reader), list(find(reader, "retry", Filters(), _RETRIES, 0).events)

    status, retries = await site.read(look)
    holds = [(one, stored_class(one.failure_class, one.reason)) for one in status.waiting]
    return site.page(
        request,
        "waiting.html",
        status_now=status,
        holds=holds,
        meaning=MEANING,
        retries=retries,
        command=command("status"),
    )
