"""Dead letters by topic and reason."""

import re
import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from relay.console.concerns import dead_runbook
from relay.console.filter_form import FilterForm, command, read_form
from relay.console.site import Site
from relay.console.stream_concerns import small_streams
from relay.operate.access import Reader
from relay.operate.dead_letters import DeadGroup, read_allowing, summarize
from relay.operate.filters import Filters
from relay.operate.message_size import TooSmall, command_to_raise
from relay.operate.poison import refused_for_size, remedy, steering_header
from relay.operate.steering_headers import Allowing
from relay.text import events_of

_GROUPS = 50
# A longer query is in no link: a row has three of them.
_LONGEST_QUERY = 250
# As kind_of_reason.sql has it: the length of a kind, and what is taken out of it.
_KIND = 100
_QUOTED = re.compile(r": ['\"].*", re.DOTALL)
_NUMBER = re.compile(r"\d+(?!\d*\))")


async def dead(site: Site, request: Request) -> Response:
    """Count dead letters by topic and reason, the most frequent first."""
    form = read_form(request.query_params, time.time())
    groups = [] if form.faults else await site.read(lambda reader: summarize(reader, form.filters, _GROUPS))
    allowing = await site.read(lambda reader: allowing_of(reader, groups))
    sizes = await _too_small(site) if any(refused_for_size(group.reason) == "stream" for group in groups) else None
    return site.page(
        request,
        "dead.html",
        400 if form.faults else 200,
        form=form,
        groups=[(group, _of_group(form, group), remedy(group.reason)) for group in groups],
        allowing=allowing,
        steering=steering_header,
        sizes_known=sizes is not None,
        too_small=sizes or {},
        command_to_raise=command_to_raise,
        for_size=refused_for_size,
        most=_GROUPS,
        on_dead=site.settings.failures.on_dead,
        runbook_name=dead_runbook(site.settings.failures.on_dead),
        command=command("dead", "summary", *form.flags()),
    )


def allowing_of(reader: Reader, groups: Sequence[DeadGroup]) -> dict[str, Allowing]:
    """Return which relays let the headers through for which dead letters were given up, by header."""
    headers = {header for group in groups if (header := steering_header(group.example or group.reason)) is not None}
    return {header: read_allowing(reader, header) for header in sorted(headers)}


def warnings_of_retry(reader: Reader, filters: Filters) -> list[str]:
    """Return what a retry of matching dead letters would do that an operator may not expect."""
    groups = summarize(reader, filters, _GROUPS)
    found = []
    for header, one in allowing_of(reader, groups).items():
        events = sum(group.events for group in groups if steering_header(group.example or group.reason) == header)
        found.append(f"{events_of(events, 'dead letter')} with the header {header}. {one.now()} So {one.retried()}.")
    return found


async def _too_small(site: Site) -> dict[str, TooSmall] | None:
    """Return the streams that are still too small for dead letters, by the topics of these; None if nobody knows."""
    look = await site.live.look()
    if look.status is None or look.nats is None or look.nats.unreachable is not None:
        return None
    small = small_streams(look.status, look.nats, site.subject_of)
    return {topic: one for one in small for topic in one.topics}


def _of_group(form: FilterForm, group: DeadGroup) -> str:
    """Return the query that finds the dead letters of a group, by what of its reason can be searched for.

    Empty if it would be too long for a link.
    """
    typed = {**form.typed, "topic": exact_topic(group.topic)}
    words = searchable(group.example)
    if words:
        typed["error"] = words
    query = FilterForm(typed, Filters(), {}).query()
    return query if len(query) <= _LONGEST_QUERY else ""


def searchable(example: str | None) -> str:
    """Return the longest part of an error that every error of its kind holds.

    A kind is the beginning of an error without what stands in quotes after a colon, with each number taken out but for
    codes in brackets: `sql/includes/kind_of_reason.sql`.
    """
    if not example:
        return ""
    parts, room = [], _KIND
    for part in _NUMBER.split(_QUOTED.sub("", example)):
        parts.append(part[:room].strip())
        # A number counts as one character.
        room -= len(part) + 1
        if room <= 0:
            break
    return max(parts, key=len)


def exact_topic(topic: str) -> str:
    """Return a pattern that matches a topic and, if it can be written so, nothing else."""
    # A topic with a wildcard in it is matched by itself, and by a few others.
    return topic.strip()
