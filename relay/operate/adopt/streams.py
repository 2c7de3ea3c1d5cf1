"""Which stream takes each subject."""

from collections.abc import Sequence

from relay.config.settings import Settings
from relay.operate.broker import broker
from relay.rules.stream.streams import StreamFacts
from relay.rules.stream.subjects import subject_fault

# Each takes two questions of the server, unless a stream that is known takes it.
_MOST = 100
_TIMEOUT_S = 2.0


async def streams_of(settings: Settings, subjects: Sequence[str]) -> dict[str, str | None]:
    """Return the stream that takes each subject, None if none does; of the first 100 subjects that are valid.

    Raises:
        Unreachable: NATS did not answer, or this account may not ask.
    """
    known: list[StreamFacts] = []
    found: dict[str, str | None] = {}
    async with broker(settings) as connection:
        for subject in [one for one in subjects if subject_fault(one) is None][:_MOST]:
            facts = next((one for one in known if one.takes(subject)), None)
            if facts is None:
                facts = await connection.stream_of(subject, _TIMEOUT_S)
                known += [] if facts is None else [facts]
            found[subject] = None if facts is None else facts.name
    return found
