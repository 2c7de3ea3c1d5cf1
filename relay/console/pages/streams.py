"""Streams and their consumers: how full, and how far behind each read model is."""

from collections.abc import Collection
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.pages.overview import concerns_of
from relay.console.site import Site
from relay.console.stream_concerns import LITTLE_ROOM, SOON_S, growth_of, small_streams
from relay.operate.nats_status import StreamView

Level = Literal["good", "warning", "fault"]


def _state(stream: StreamView, too_small: Collection[str]) -> tuple[Level, str]:
    """Return how a stream is, as a level and in a word or two."""
    if stream.missing is not None:
        return "fault" if stream.gone else "warning", "gone" if stream.gone else "unknown"
    if stream.is_full:
        return "fault", "full"
    if stream.name in too_small:
        return "fault", "messages too large"
    if stream.refuses and stream.room is not None and stream.room < LITTLE_ROOM:
        return "warning", "nearly full"
    if stream.full_in_s is not None and stream.full_in_s < SOON_S:
        return "warning", "full soon"
    return "good", "good"


async def streams(site: Site, request: Request) -> Response:
    """Show what NATS says of the streams that are published to, or with ``?live`` the part that changes."""
    look = await site.live.look()

    def values() -> dict[str, object]:
        small = () if look.status is None else small_streams(look.status, look.nats, site.subject_of)
        too_small = {one.stream for one in small}
        return {
            "nats": look.nats,
            "states": {} if look.nats is None else {one.name: _state(one, too_small) for one in look.nats.streams},
            "last_delivered_at": None if look.status is None else look.status.last_delivered_at,
            "growth_of": growth_of,
            "concerns": [one for one in concerns_of(site, look) if one.page == "/streams"],
            "objective_s": site.settings.consumers.objective_s,
            "command": command("status"),
        }

    return site.looked(request, "streams", look, values)
