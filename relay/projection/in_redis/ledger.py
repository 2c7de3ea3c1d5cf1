"""What is written down of a partition, in Redis beside its read model."""

import json
import time
from collections.abc import Iterable
from typing import Any

from relay.errors import ConfigError
from relay.observe.projection_progress import Standing
from relay.projection.definition import Definition
from relay.projection.in_redis.client import Client, script_of
from relay.projection.in_redis.packing import chunk_name
from relay.projection.outcome import Fenced
from relay.projection.ports import LEASE_S, Claim, Parked, standing_of
from relay.projection.rules.completeness import WatermarkSeen
from relay.projection.rules.incoming import read
from relay.projection.rules.refusals import Breaker
from relay.projection.rules.seq_bits import CHUNK_BYTES, Chunk, ChunkId

# How often the server is asked whether it would evict keys, which anybody may have set meanwhile, seconds.
_KEEPS_S = 10.0

GENERATION = 1
LEASE_MS = int(LEASE_S * 1000)


def prefix_of(name: str, partition: int, generation: int = GENERATION) -> str:
    """Return the prefix of the keys of a partition."""
    return f"projection:{{{name}.{generation}.{partition}}}"


class RedisLedger:
    """One partition of a projection.

    Args:
        client: Used by this partition alone.
        owner: A name of this runner alone.
    """

    def __init__(self, client: Client, definition: Definition, partition: int, owner: str) -> None:
        self.client = client
        self.prefix = prefix_of(definition.name, partition)
        self.script = script_of(definition)
        self.owner = owner
        self._definition = definition
        self._partition = partition
        # When it is to be asked next whether the server keeps what it has, monotonic seconds.
        self._keeps_at = 0.0

    async def prepare(self) -> bool:
        """Make the state if it is not there; return whether the definition was changed without another version.

        Raises:
            ConfigError: The model is of another version or stream, or cut into another number of partitions.
            RedisFault: Redis cannot be used, or would evict keys of the model.
        """
        definition = self._definition
        await self._check_keeps()
        found = await self._run(
            "prepare", definition.stream, definition.version, definition.fingerprint, definition.partitions
        )
        version, fingerprint, partitions, stream = (bytes(one).decode() for one in found)
        faults = definition.faults_against(int(version), int(partitions), stream)
        if faults:
            raise ConfigError(self._definition.located(faults))
        return fingerprint != definition.fingerprint

    async def claim(self) -> Claim | None:
        """Take the partition if nobody owns it; None if it is owned, paused or stopped.

        A server that has lost everything gets a new state, and the stream is read from its first message.
        """
        found = await self._run("claim", self.owner, LEASE_MS)
        if found == b"lost":
            await self.prepare()
            found = await self._run("claim", self.owner, LEASE_MS)
        return _claim(found) if isinstance(found, list) else None

    async def standing(self) -> Standing | None:
        """Read what is written down of a partition that is not ours; None if nothing is."""
        fields = ("paused", "status", "error", "position", "complete_up_to", "owner")
        found = await self.client.call("HMGET", f"{self.prefix}:state", *fields)
        if found[3] is None:
            return None
        texts = [bytes(one or b"").decode("utf-8", "replace") for one in found]
        paused, status, error, position, complete, owner = texts
        parked = int(await self.client.call("ZCARD", f"{self.prefix}:parked"))
        complete_up_to = float(complete or 0) or None
        return standing_of(paused == "1", status, error or None, int(position), parked, complete_up_to, owner or None)

    async def expire(self, owner: str) -> None:
        """End the lease of an owner whose process has provably ended; the next claim finds the partition free."""
        await self._run("expire", owner)

    async def load(self, epoch: int) -> Claim:
        """Read how far the partition is: at the begin of each stay, over a connection that may be to another server.

        Raises:
            Fenced: It is ours no more.
            RedisUnfit: Redis would evict keys of the model.
        """
        await self._check_keeps()
        return _claim(self.unfenced(await self._run("load", epoch, self.owner)))

    async def beat(self, epoch: int, waits_for: str | None) -> bool:
        """Keep the lease, and write down what the projection waits for; return whether an operator wants something.

        Raises:
            Fenced: It is ours no more.
            RedisUnfit: Redis would evict keys of the model. While the projection waits that is not asked.
        """
        if waits_for is None and time.monotonic() >= self._keeps_at:
            await self._check_keeps()
        status = "running" if waits_for is None else "waiting"
        found = await self._run("beat", epoch, self.owner, LEASE_MS, status, waits_for or "")
        return bool(self.unfenced(found))

    async def no_crashes(self, epoch: int) -> None:
        """Write down that what ended earlier owners was passed without harm."""
        await self._run("no_crashes", epoch, self.owner)

    async def complete(self, epoch: int, mark: WatermarkSeen) -> None:
        """Write down that everything up to a watermark is settled here, if the partition is still ours."""
        at = "" if mark.at is None else repr(mark.at)
        await self._run("complete", epoch, self.owner, mark.origin, mark.seq, at)

    async def stop(self, epoch: int, reason: str, gap_last: int | None) -> None:
        """Write down that the projection has stopped; it is not claimed again until an operator resumes it."""
        await self._run("stop", epoch, self.owner, reason, "" if gap_last is None else gap_last)

    async def release(self, epoch: int) -> None:
        """Give the partition back."""
        await self._run("release", epoch, self.owner)

    async def drop(self, error: Exception) -> None:
        """Throw the connection away after an error; the next call makes one."""
        await self.client.close()

    async def follow_stream(self, claim: Claim, created: str, position: int, time_ns: int | None) -> None:
        """Count in another stream from now on.

        Raises:
            Fenced: It is ours no more.
        """
        time_text = "" if time_ns is None else str(time_ns)
        self.unfenced(await self._run("follow", claim.epoch, self.owner, claim.position, created, position, time_text))

    async def accept_gap(self, first: int, last: int) -> None:
        """Write down which sequences of the stream were passed over, since the definition says `partial`."""
        await self.client.call("SADD", f"{self.prefix}:gaps", f"{first}-{last}")

    async def chunks(self, wanted: Iterable[ChunkId]) -> dict[ChunkId, Chunk]:
        """Read chunks of bits; one that is not stored is empty."""
        asked = list(wanted)
        if not asked:
            return {}
        names = [chunk_name(chunk_id) for chunk_id in asked]
        bits = await self.client.call("MGET", *(f"{self.prefix}:applied:{name}" for name in names))
        newest = await self.client.call("HMGET", f"{self.prefix}:newest", *names)
        return {
            chunk_id: Chunk(bytes(one or b"").ljust(CHUNK_BYTES, b"\x00"), None if at is None else float(at))
            for chunk_id, one, at in zip(asked, bits, newest, strict=True)
        }

    async def breaker(self) -> Breaker:
        """Count what is parked."""
        breaker = Breaker()
        for key, count in (await self.client.hash(f"{self.prefix}:parked_keys")).items():
            # The script counts events without a key under an empty field, and those of the empty key under a NUL.
            breaker.found(key.decode().removeprefix("\x00") if key else None, int(count))
        return breaker

    async def wanted(self) -> list[Parked]:
        """Return the parked events of all keys of which an operator wants something, in their order."""
        rows = [
            (int(number), await self.client.hash(f"{self.prefix}:parked:{int(number)}"))
            for number in await self.client.call("ZRANGE", f"{self.prefix}:parked", 0, -1)
        ]
        numbers = {number for number, row in rows if row.get(b"wanted")}
        keys = {row.get(b"key") for number, row in rows if number in numbers} - {None}
        return [_parked(number, row) for number, row in rows if number in numbers or row.get(b"key") in keys]

    def unfenced(self, answer: Any) -> Any:
        """Return the answer of a script.

        Raises:
            Fenced: It says that the partition is ours no more.
        """
        if answer is None:
            raise Fenced(f"partition {self._partition} of {self._definition.name} has another owner, or was paused")
        return answer

    async def _check_keeps(self) -> None:
        await self.client.check_keeps()
        self._keeps_at = time.monotonic() + _KEEPS_S

    async def _run(self, what: str, *args: str | bytes | int | float) -> Any:
        return await self.client.run(self.script, self.prefix, what, *args)


def _claim(found: list[bytes]) -> Claim:
    epoch, position, time_ns, created, has_bits, crashes = (bytes(one).decode() for one in found)
    time = int(time_ns) if time_ns else None
    return Claim(int(epoch), int(position), time, created or None, has_bits == "1", int(crashes))


def _parked(number: int, row: dict[bytes, bytes]) -> Parked:
    key = row.get(b"key")
    event = read(
        int(row[b"stream_seq"]),
        int(row[b"time_ns"]),
        row[b"subject"].decode(),
        json.loads(row[b"headers"]),
        row[b"payload"],
    )
    wanted = row.get(b"wanted", b"").decode()
    reason = row[b"reason"].decode("utf-8", "replace")
    return Parked(number, event._replace(key=None if key is None else key.decode()), reason or None, wanted or None)
