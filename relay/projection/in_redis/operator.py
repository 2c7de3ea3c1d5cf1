"""What an operator sees of projections in Redis, and asks of their owners."""

from typing import Any

from relay.projection.in_redis.client import Client
from relay.projection.operator import NoProjection, ParkedEvent, PartitionStatus

_BEHIND = "waits behind an earlier event of its key"


async def statuses(client: Client, name: str | None = None) -> list[PartitionStatus]:
    """Return every partition of every projection, or of one.

    Raises:
        NoProjection: There is none of that name.
        RedisFault: Redis cannot be used.
    """
    seconds, micros = await client.call("TIME")
    now_ms = int(seconds) * 1000 + int(micros) / 1000
    found = []
    for prefix in await _prefixes(client, name):
        state = await _hash(client, f"{prefix}:state")
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
    if name is not None and not found:
        raise NoProjection(f"there is no projection {name} in this Redis")
    return found


async def parked(client: Client, name: str, key: str | None = None) -> list[ParkedEvent]:
    """Return the parked events of a projection in their order.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    await statuses(client, name)
    found = []
    for prefix in await _prefixes(client, name):
        for number in await client.call("ZRANGE", f"{prefix}:parked", 0, -1):
            row = await _hash(client, f"{prefix}:parked:{int(number)}")
            if key is None or row.get("key") == key:
                found.append(
                    ParkedEvent(
                        int(number),
                        int(prefix[:-1].rsplit(".", 1)[1]),
                        row.get("key"),
                        int(row["seq"]) if "seq" in row else None,
                        int(row["stream_seq"]),
                        row["subject"],
                        row["reason"] or _BEHIND,
                        row.get("wanted"),
                        float(row["parked_at"]) / 1000,
                    )
                )
    return found


async def want(client: Client, name: str, key: str | None, number: int | None, what: str) -> int:
    """Ask the owner to ``retry`` or ``skip`` parked events; return how many.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    chosen = [
        one
        for one in await parked(client, name, key)
        if (number is None and one.reason != _BEHIND) or one.number == number
    ]
    for one in chosen:
        prefix = f"projection:{{{name}.1.{one.partition}}}"
        await client.call("HSET", f"{prefix}:parked:{one.number}", "wanted", what)
        await client.call("SADD", f"{prefix}:wanted", one.number)
    return len(chosen)


async def pause(client: Client, name: str) -> None:
    """Keep a projection from going on: its owner is fenced at once.

    Raises:
        NoProjection: There is no such projection.
        RedisFault: Redis cannot be used.
    """
    await statuses(client, name)
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
        state = f"projection:{{{name}.{one.generation}.{one.partition}}}:state"
        if accept_gap and one.gap_last is not None:
            await client.call("HSET", state, "position", one.gap_last, "time_ns", "", "created", "")
        await client.call("HSET", state, "paused", 0, "status", "new", "error", "", "gap_last", "")


async def _prefixes(client: Client, name: str | None) -> list[str]:
    found, cursor = set(), 0
    while True:
        pattern = f"projection:{{{name or '*'}.*}}:state"
        cursor, keys = await client.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        found |= {bytes(key).decode().removesuffix(":state") for key in keys}
        if not int(cursor):
            return sorted(found)


async def _hash(client: Client, key: str) -> dict[str, str]:
    row: dict[Any, Any] = await client.call("HGETALL", key)
    return {bytes(name).decode(): bytes(value).decode("utf-8", "replace") for name, value in row.items()}
