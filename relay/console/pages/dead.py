"""Dead letters by topic and reason."""

import time

from starlette.requests import Request
from starlette.responses import Response

from relay.console.concerns import dead_runbook
from relay.console.filter_form import FilterForm, command, read_form
from relay.console.site import Site
from relay.operate.dead_letters import DeadGroup, summarize
from relay.operate.filters import Filters

_GROUPS = 50
# A longer query is in no link: a row has three of them.
_LONGEST_QUERY = 250
_NO_REASON = "no reason given"


async def dead(site: Site, request: Request) -> Response:
    """Count dead letters by topic and reason, the most frequent first."""
    form = read_form(request.query_params, time.time())
    groups = [] if form.faults else await site.read(lambda reader: summarize(reader, form.filters, _GROUPS))
    return site.page(
        request,
        "dead.html",
        400 if form.faults else 200,
        form=form,
        groups=[(group, _of_group(form, group)) for group in groups],
        most=_GROUPS,
        on_dead=site.settings.failures.on_dead,
        runbook_name=dead_runbook(site.settings.failures.on_dead),
        command=command("dead", "summary", *form.flags()),
    )


def _of_group(form: FilterForm, group: DeadGroup) -> str:
    """Return the query that finds the dead letters of a group, by what of its reason can be searched for.

    Empty if it would be too long for a link.
    """
    typed = {**form.typed, "topic": exact_topic(group.topic)}
    words = searchable(group.reason)
    if words:
        typed["error"] = words
    query = FilterForm(typed, Filters(), {}).query()
    return query if len(query) <= _LONGEST_QUERY else ""


def searchable(reason: str) -> str:
    """Return the longest part of a kind of reason that every error of that kind holds.

    Numbers stand as N in it, so no part with an N is certain.
    """
    if reason == _NO_REASON:
        return ""
    return max((part.strip() for part in reason.split("N")), key=len)


def exact_topic(topic: str) -> str:
    """Return a pattern that matches a topic and, if it can be written so, nothing else."""
    # A topic with a wildcard in it is matched by itself, and by a few others.
    return topic.strip()
