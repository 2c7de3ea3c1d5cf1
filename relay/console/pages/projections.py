"""Projections, if there are any: how far each partition is, and what is parked."""

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.read_models import Store, parked, standings, was_refused
from relay.console.site import Site

_PARTITIONS = 60
_PARKED = 25


def store_of(text: str | None) -> Store:
    """Return the store that a query or a form names, PostgreSQL without one."""
    return "redis" if text == "redis" else "postgres"


async def projections(site: Site, request: Request) -> Response:
    """Show every partition, and the parked events of one projection (``?name=``)."""
    given = request.query_params
    name, store = given.get("name") or None, store_of(given.get("store"))
    found = await standings(site)
    known = any(one.store == store and part.name == name for one in found for part in one.partitions)
    events = await parked(site, store, name) if known and name is not None else []
    return site.page(
        request,
        "projections.html",
        standings=found,
        most_partitions=_PARTITIONS,
        name=name if known else None,
        store=store,
        parked=events[:_PARKED],
        more=max(0, len(events) - _PARKED),
        refused=sum(map(was_refused, events)),
        was_refused=was_refused,
        command=command("projection", "list") if store == "postgres" else command("projection", "redis", "list"),
        parked_command=None if name is None else command("projection", *_part(store), "parked", name),
    )


def _part(store: Store) -> tuple[str, ...]:
    return ("redis",) if store == "redis" else ()
