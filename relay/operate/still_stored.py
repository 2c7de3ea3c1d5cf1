"""Whether streams still hold what they have acknowledged, by one look at each: before rows of theirs are deleted."""

from relay.config.settings import Settings
from relay.errors import Exit, RelayError, Unreachable
from relay.jetstream.errors import BrokerError
from relay.jetstream.mark_look import look_at_mark
from relay.operate.broker import broker
from relay.operate.changes import Changer
from relay.postgres.rows import StreamStateRow
from relay.rules.still_stored import keeps_rows
from relay.rules.stream_loss import Seen

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


async def look(settings: Settings, seen: list[Seen]) -> None:
    """Ask each stream whether it holds the newest event that it has acknowledged, or can have dropped it by its rules.

    A relay may not have looked since the stream was lost, or may not be running.

    Raises:
        OpenLoss: One must have lost something, or is gone.
        Unreachable: NATS did not answer, or does not let us look at a stream.
    """
    if not seen:
        return
    async with broker(settings) as connection:
        for one in seen:
            try:
                found = await look_at_mark(connection, one.stream, one.mark.stream_seq, _TIMEOUT_S)
            except BrokerError as error:
                raise Unreachable(
                    f"stream {one.stream} cannot be looked at, so nothing was deleted: {error}"
                ) from error
            reason = keeps_rows(one, *found)
            if reason is not None:
                raise OpenLoss(f"stream {one.stream} {reason}")
