"""Relays and shards: who relays what, and how far each is."""

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.owners import owners
from relay.console.pages.overview import concerns_of
from relay.console.pictures.shards import shard_cells
from relay.console.site import Site


async def relays(site: Site, request: Request) -> Response:
    """Show the owners and all shards, or with ``?live`` the part that changes."""
    look = await site.live.look()
    status = look.status

    def values() -> dict[str, object]:
        found = [] if status is None else owners(status.shards)
        return {
            "status_now": status,
            "owners": found,
            "cells": "" if status is None else shard_cells(status.shards, found),
            "concerns": [one for one in concerns_of(site, look) if status is None or one.page == "/relays"],
            "command": command("status"),
        }

    return site.looked(request, "relays", look, values)
