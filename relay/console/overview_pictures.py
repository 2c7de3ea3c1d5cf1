"""What the pictures of the first page show, from one look. Pure."""

from collections.abc import Sequence

from markupsafe import Markup

from relay.console.last_hour import Slot
from relay.console.live import Look
from relay.console.owners import owners
from relay.console.pictures.chart import chart, round_up_time
from relay.console.pictures.flow import Station, flow, flow_down
from relay.operate.delivered import SLOT_S
from relay.operate.nats_status import NatsView
from relay.operate.status import Status
from relay.text import age


def lag_picture(slots: Sequence[Slot], objective_s: float) -> Markup:
    """Draw the lag with its objective; empty without slots."""
    if not slots:
        return Markup("")
    last = f"the longest of the last ten seconds {age(slots[-1].lag_s)}"
    title = f"Lag over the last {age(_span(slots))}, {last}, objective {age(objective_s)}"
    points = [(slot.at, slot.lag_s) for slot in slots]
    return chart(title, points, _on_axis, _since(slots), objective_s, round_up_time)


def rate_picture(slots: Sequence[Slot]) -> Markup:
    """Draw what was delivered a second; empty without slots. The slot of now is not over, and left out."""
    whole = slots[:-1]
    if not whole:
        return Markup("")
    rates = [(slot.at, slot.delivered / SLOT_S) for slot in whole]
    title = f"Delivered a second over the last {age(_span(slots))}, last {rates[-1][1]:,.1f}"
    return chart(title, rates, lambda value: f"{value:,.10g}", _since(slots))


def flow_picture(look: Look, objective_s: float) -> Markup:
    """Draw the way of events from the outbox to the consumers, once for a wide screen and once for a narrow one.

    Empty if the outbox cannot be read.
    """
    if look.status is None:
        return Markup("")
    stations = [*_of_outbox(look.status, objective_s), *_of_nats(look.nats)]
    return flow(stations) + flow_down(stations)


def _of_outbox(status: Status, objective_s: float) -> tuple[Station, Station]:
    late = status.lag_s > objective_s
    lag = f"lag {_short_age(status.lag_s)}" if status.oldest else "no lag"
    relays = [one for one in owners(status.shards) if one.name is not None]
    free = sum(not shard.held for shard in status.shards)
    more = "+" if status.backlog.bound else ""
    return (
        Station("Outbox", (f"{status.backlog.events:,}{more} pending", lag), "fault" if late else "good"),
        Station(
            "Relays",
            (f"{len(relays)} at work", f"{free} shards free" if free else "all shards"),
            "fault" if free else "good",
        ),
    )


def _of_nats(nats: NatsView | None) -> tuple[Station, Station]:
    if nats is None or nats.unreachable is not None:
        unknown = Station("Consumers", ("not known",), "unknown")
        if nats is None:
            return Station("Streams", ("not asked yet",), "unknown"), unknown
        return Station("Streams", ("out of reach",), "fault"), unknown
    missing = sum(one.missing is not None for one in nats.streams)
    rooms = [one.room for one in nats.streams if one.room is not None and one.refuses]
    full = any(room <= 0 for room in rooms)
    room = f"room {max(0.0, min(rooms)):.0%}" if rooms else "room: no limit"
    streams = Station(
        "Streams",
        (f"{missing} of {len(nats.streams)} gone",) if missing else (f"{len(nats.streams)} in use", room),
        "fault" if missing or full else "good",
    )
    if nats.consumers is None:
        return streams, Station("Consumers", ("may not ask",), "unknown")
    behind = sum(one.pending + one.unacknowledged for one in nats.consumers)
    return streams, Station("Consumers", (f"{len(nats.consumers)} durable", f"{behind:,} behind"), "good")


def _span(slots: Sequence[Slot]) -> float:
    return slots[-1].at - slots[0].at + SLOT_S


def _since(slots: Sequence[Slot]) -> str:
    return f"{age(_span(slots))} ago"


def _on_axis(seconds: float) -> str:
    """Write a span in one unit: there is no room for two."""
    for unit, each in (("h", 3600), ("min", 60)):
        if seconds >= 2 * each:
            return f"{seconds / each:,.10g} {unit}"
    return f"{seconds:,.10g} s"


def _short_age(seconds: float) -> str:
    return "0" if seconds == 0 else age(seconds)
