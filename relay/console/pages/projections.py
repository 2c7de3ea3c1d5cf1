"""Projections of this database, if there are any: how far each partition is, and what is parked."""

import psycopg
from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.site import Site
from relay.operate.access import Reader
from relay.projection.operator import NoProjection, ParkedEvent, PartitionStatus, parked, statuses

_PARKED_SHOWN = 200


async def projections(site: Site, request: Request) -> Response:
    """Show every partition, and the parked events of one projection (``?name=``)."""
    name = request.query_params.get("name") or None

    def look(reader: Reader) -> tuple[list[PartitionStatus], list[ParkedEvent], str | None]:
        conn = reader.cursor.connection
        try:
            with conn.transaction():
                found = statuses(conn)
                known = name is not None and any(one.name == name for one in found)
                return found, parked(conn, name) if known and name is not None else [], None
        except NoProjection as none:
            return [], [], str(none)
        except psycopg.errors.InsufficientPrivilege:
            return [], [], "this login may not read the schema of the projections: GRANT USAGE and SELECT to see them"

    found, events, reason = await site.read(look)
    return site.page(
        request,
        "projections.html",
        partitions=found,
        name=name,
        parked=events[:_PARKED_SHOWN],
        more=max(0, len(events) - _PARKED_SHOWN),
        reason=reason,
        command=command("projection", "list"),
    )
