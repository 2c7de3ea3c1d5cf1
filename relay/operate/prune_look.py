"""Whether streams still hold what they have acknowledged, by a look at each: before rows of theirs are deleted."""

from collections.abc import Mapping, Sequence

from relay.config.settings import Settings
from relay.errors import Exit, RelayError, Unreachable
from relay.jetstream.errors import BrokerError
from relay.jetstream.mark_look import look_at_rows
from relay.operate.broker import broker
from relay.operate.changes import Changer
from relay.postgres.rows import StreamStateRow
from relay.rules.stream.stream_loss import DeliveredRow, Seen

_TIMEOUT_S = 5.0


class OpenLoss(RelayError):
    """A stream has a loss that nobody has healed, and the rows are what it is healed from. Nothing was deleted."""

    exit_code = Exit.LOST


def last_seen(changer: Changer) -> list[Seen]:
    """Return what the relays last saw of each stream.

    Raises:
        OpenLoss: They have seen that one has lost events.
    """
    with changer.step():
        seen = [StreamStateRow._make(row).seen() for row in changer.rows("integrity/stream_states", (None,))]
    if any(one.lost for one in seen):
        raise OpenLoss("a stream has lost events: see `relay verify`, and heal it with `relay verify --redeliver`")
    return [one for one in seen if one.mark.stream_seq]


async def look(
    settings: Settings, seen: list[Seen], spans: Sequence[Mapping[str, Sequence[DeliveredRow]]], now: float
) -> None:
    """Ask each stream whether it holds what it has acknowledged, or can have dropped it by its rules.

    That is the newest event, and some of the rows that are to be deleted. A relay may not have looked since the stream
    was lost, or may not be running.

    Args:
        settings: Where NATS is.
        seen: What the relays last saw of each stream.
        spans: Rows that are to be deleted, by stream; some of each span are looked for.
        now: By the database's clock, Unix seconds.

    Raises:
        OpenLoss: One must have lost something, or is gone.
        Unreachable: NATS did not answer, or does not let us look at a stream.
    """
    known = {one.stream: one for one in seen}
    looks = [(known.get(stream, Seen(stream)), rows) for span in spans for stream, rows in span.items()]
    looks += [(one, ()) for one in seen if not any(one.stream in span for span in spans)]
    if not looks:
        return
    async with broker(settings) as connection:
        for one, rows in looks:
            try:
                kept = await look_at_rows(connection, one, rows, now, _TIMEOUT_S)
            except BrokerError as error:
                raise Unreachable(
                    f"stream {one.stream} cannot be looked at, so nothing was deleted: {error}"
                ) from error
            if kept is not None:
                raise OpenLoss(f"stream {one.stream} {kept.reason}")
