"""Streams and their consumers: how full, and how far behind each read model is."""

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.pages.overview import concerns_of
from relay.console.site import Site


async def streams(site: Site, request: Request) -> Response:
    """Show what NATS says of the streams that are published to, or with ``?live`` the part that changes."""
    look = await site.live.look()

    def values() -> dict[str, object]:
        return {
            "nats": look.nats,
            "concerns": [one for one in concerns_of(site, look) if one.page == "/streams"],
            "objective_s": site.settings.consumers.objective_s,
            "command": command("status"),
        }

    return site.looked(request, "streams", look, values)
