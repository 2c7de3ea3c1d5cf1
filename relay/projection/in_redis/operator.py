"""What an operator sees of projections in Redis, and asks of their owners."""

from collections.abc import Mapping, Sequence

from relay.errors import RelayError
from relay.projection.in_redis.client import Client, script
from relay.projection.in_redis.ledger import prefix_of
from relay.projection.operator import BEHIND, NoProjection, ParkedEvent, PartitionStatus, check_order


async def statuses(client: Client, name: str | None = None) -> list[PartitionStatus]:
    """Return every partition of every projection, or of one.

    Raises:
        NoProjection: There is none of that name.
        RedisFault: Redis cannot be used.
    """
    seconds, micros = await client.call("TIME")
    now_ms = int(seconds) * 1000 + int(micros) / 1000
    found = []
    for prefix in await (_all_prefixes(client) if name is None else _prefixes(client, name)):
        state = await _texts(client, f"{prefix}:state")
        if not state:
            continue  # a partition that no runner has begun yet
        own, generation, partition = prefix[len("projection:{") : -1].rsplit(".", 2)
        is_owned = float(state["lease_until"]) > now_ms
        status = "paused" if state["paused"] == "1" else state["status"]
        found.append(
            PartitionStatus(
                own,
                int(generation),
                int(partition),
                state["stream"],
                int(state["position"]),
                int(state["applied"]),
                int(state["repeats"]),
                int(await client.call("ZCARD", f"{prefix}:parked")),
                "idle" if status == "running" and not is_owned else status,
                state["error"] or None,
                int(state["gap_last"]) if state["gap_last"] else None,
                state["owner"] if is_owned else None,
                float(state["updated_at"]) / 1000,
                int(state["complete_seq"]) if "complete_seq" in state else None,
                float(state["complete_up_to"]) if state.get("complete_up_to") else None,
                int(state.get("crashes", 0)),
            )
        )
    return found


async def parked(client: Client, name: str, key: str | None = None) -> list[ParkedEvent]:
    """Return the parked events of a projection, those of each partition in their order.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    return [one for one, _ in await _parked(client, name, key)]


async def matching(
    client: Client,
    name: str,
    *,
    key: str | None = None,
    numbers: Sequence[int] | None = None,
    partition: int | None = None,
) -> list[ParkedEvent]:
    """Return the parked events that a request speaks of.

    Args:
        key: Only those of this key.
        numbers: Only these; None: all that were refused, but for those that somebody has asked to skip.
        partition: Only those of this partition.

    Raises:
        NoProjection: There is no such projection.
        RelayError: Several partitions have an event of one of the numbers.
        RedisFault: Redis cannot be used.
    """
    found = [
        one
        for one, is_refused in await _parked(client, name, key)
        if (is_refused and one.wanted != "skip" if numbers is None else one.number in numbers)
        and partition in (None, one.partition)
    ]
    for number in numbers or ():
        partitions = [one.partition for one in found if one.number == number]
        if len(partitions) > 1:
            names = ", ".join(map(str, partitions))
            raise RelayError(f"number {number} is parked in the partitions {names}: choose one with --partition")
    return found


async def check_retry(client: Client, name: str, events: Sequence[ParkedEvent]) -> None:
    """Check that parked events may be tried again.

    Raises:
        InItsPlace: An earlier event of a key was refused, and is not among them.
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    check_order(events, await parked(client, name))


async def want(client: Client, name: str, events: Sequence[ParkedEvent], what: str) -> int:
    """Ask the owners to ``retry`` or ``skip`` parked events; return how many are still parked and were asked for.

    Raises:
        RedisFault: Redis cannot be used. Some may have been asked for.
    """
    count = 0
    for partition in sorted({one.partition for one in events}):
        numbers = [one.number for one in events if one.partition == partition]
        count += int(await client.run(script("want"), prefix_of(name, partition), what, *numbers))
    return count


async def pause(client: Client, name: str) -> None:
    """Keep a projection from going on: its owner is fenced at once.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    for prefix in await _prefixes(client, name):
        await client.call("HSET", f"{prefix}:state", "paused", 1)


async def resume(client: Client, name: str, *, accept_gap: bool = False) -> None:
    """Let a projection go on that was paused, or has stopped.

    Args:
        accept_gap: Pass over the gap that it has stopped at.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    for one in await statuses(client, name):
        state = f"{prefix_of(name, one.partition, one.generation)}:state"
        if accept_gap and one.gap_last is not None:
            gap = f"{one.position + 1}-{one.gap_last}"
            await client.call("SADD", _gaps(prefix_of(name, one.partition, one.generation)), gap)
            await client.call("HSET", state, "position", one.gap_last, "time_ns", "", "created", "")
        await client.call("HSET", state, "paused", 0, "status", "new", "error", "", "gap_last", "")


async def accepted_gaps(client: Client, name: str) -> list[range]:
    """Return the sequences of the stream that operators have passed over with ``resume --accept-gap``.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    found = []
    for prefix in await _prefixes(client, name):
        for gap in await client.call("SMEMBERS", _gaps(prefix)):
            first, last = bytes(gap).decode().split("-")
            found.append(range(int(first), int(last) + 1))
    return found


def _gaps(prefix: str) -> str:
    return f"{prefix}:gaps"


async def _parked(client: Client, name: str, key: str | None) -> list[tuple[ParkedEvent, bool]]:
    """Return the parked events, each with whether it was refused itself."""
    found = []
    for partition, prefix in enumerate(await _prefixes(client, name)):
        for number in await client.call("ZRANGE", f"{prefix}:parked", 0, -1):
            row = await _texts(client, f"{prefix}:parked:{int(number)}")
            # Its owner may have settled it since the numbers were read.
            if row and (key is None or row.get("key") == key):
                found.append((_event(int(number), partition, row), bool(row["reason"])))
    return found


def _event(number: int, partition: int, row: Mapping[str, str]) -> ParkedEvent:
    return ParkedEvent(
        number,
        partition,
        row.get("key"),
        int(row["seq"]) if "seq" in row else None,
        int(row["stream_seq"]),
        row["subject"],
        row["reason"] or BEHIND,
        row.get("wanted"),
        float(row["parked_at"]) / 1000,
        int(row.get("refusals", 1 if row["reason"] else 0)),
        float(row.get("refused_at", row["parked_at"])) / 1000 if row["reason"] else None,
    )


async def _prefixes(client: Client, name: str) -> list[str]:
    """Return the prefixes of a projection, by partition.

    Raises:
        NoProjection: There is no such projection.
    """
    partitions = await client.call("HGET", f"{prefix_of(name, 0)}:state", "partitions")
    if partitions is None:
        raise NoProjection(f"there is no projection {name} in this Redis")
    return [prefix_of(name, partition) for partition in range(int(partitions))]


async def _all_prefixes(client: Client) -> list[str]:
    found, cursor = set(), 0
    while True:
        cursor, keys = await client.call("SCAN", cursor, "MATCH", "projection:{*}:state", "COUNT", 1000)
        found |= {bytes(key).decode().removesuffix(":state") for key in keys}
        if not int(cursor):
            return sorted(found)


async def _texts(client: Client, key: str) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in (await client.hash(key)).items()}
