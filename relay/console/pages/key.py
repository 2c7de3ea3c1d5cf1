"""One key: its events in their order, and who blocks whom."""

import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.console.concerns import runbook_of
from relay.console.filter_form import command
from relay.console.key_story import KeyStory, key_story
from relay.console.pictures.timeline import timeline
from relay.console.site import Site
from relay.operate.access import Reader
from relay.operate.events import ListedEvent, ListState, find
from relay.operate.filters import Filters
from relay.rules.failure.failure_class_of_old_rows import stored_class

_EACH = 20
# No index has the key: pending events are searched for from the watermark on, and settled ones among the newest seqs.
_PENDING_SCAN = 100_000
_SETTLED_SCAN = 25_000


async def key(site: Site, request: Request) -> Response:
    """Show the events of a key: what is open, and what was settled lately."""
    name = request.query_params.get("key", "")
    if not name or "\x00" in name:
        return RedirectResponse(site.url("/events"), 303)
    filters = Filters(key=name)

    def look(reader: Reader) -> KeyStory:
        searches: tuple[tuple[ListState, int], ...] = (
            ("pending", _PENDING_SCAN),
            ("retry", 0),
            ("dead", 0),
            ("any", _SETTLED_SCAN),
        )
        found = [find(reader, state, filters, _EACH, scan).events for state, scan in searches]
        settings = site.settings
        return key_story(
            found,
            ordered=settings.delivery.ordering == "key",
            on_dead=settings.failures.on_dead,
            is_part=any(len(events) == _EACH for events in found),
        )

    story = await site.read(look)
    return site.page(
        request,
        "key.html",
        key=name,
        story=story,
        runbook_name=None if story.blocker is None else _runbook(story.blocker),
        picture=timeline(story.events, story.blocker, time.time()),
        most=_EACH,
        pending_scan=_PENDING_SCAN,
        settled_scan=_SETTLED_SCAN,
        command=command("list", "--state", "any", f"--key={name}"),
    )


def _runbook(blocker: ListedEvent) -> str:
    """Return the alert whose runbook is about what the key waits for."""
    if blocker.state == "dead":
        return "OutboxRelayKeyBlocked"
    return runbook_of(stored_class(None, blocker.last_error))
