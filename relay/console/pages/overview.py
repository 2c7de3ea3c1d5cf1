"""The first page: is all well, and if not what waits, why, since when, and what to do."""

from starlette.requests import Request
from starlette.responses import Response

from relay.console.concern import Concern
from relay.console.concerns import concerns, unreachable
from relay.console.filter_form import command
from relay.console.live import Look
from relay.console.overview_pictures import flow_picture, lag_picture, rate_picture
from relay.console.site import Site
from relay.console.stream_concerns import Outlook


def concerns_of(site: Site, look: Look) -> list[Concern]:
    """Return what is wrong with what was seen."""
    if look.status is None:
        return [unreachable(look.fault or "it does not answer")]
    settings = site.settings
    outlook = outlook_of(site, look)
    return concerns(look.status, look.nats, settings.delivery.objective_s, settings.failures.on_dead, outlook)


def outlook_of(site: Site, look: Look) -> Outlook:
    """Return what the streams of a look are seen by."""
    settings = site.settings
    return Outlook(settings.healing.on_loss, site.subject_of, look.held, look.again, settings.headers.seq)


async def overview(site: Site, request: Request) -> Response:
    """Show the first page, or with ``?live`` the part of it that changes."""
    look = await site.live.look()
    objective_s = site.settings.delivery.objective_s
    return site.looked(
        request,
        "overview",
        look,
        lambda: {
            "look": look,
            "status_now": look.status,
            "concerns": concerns_of(site, look),
            "objective_s": objective_s,
            "lag_picture": lag_picture(look.slots, objective_s),
            "rate_picture": rate_picture(look.slots),
            "flow_picture": flow_picture(look, objective_s),
            "command": command("status", "--watch"),
        },
    )
