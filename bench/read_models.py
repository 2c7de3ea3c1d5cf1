"""A stream of events as the relay fills it, the projection that the scenarios read it with, and its progress."""

import asyncio
import json
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import nats

from bench.figures import Sample
from bench.world import STREAM, World

KEYS = 1_000
TOPIC = "orders.placed"
MODEL = "bench_model"
ORIGIN = "0a1b2c3d"

_WINDOW = 1_000
_WAIT_S = 300.0
_EVERY_S = 0.01

# One row of each key, so that the model does not grow; `events` says how far each contender is.
TABLES = """
CREATE TABLE customers (
    key text PRIMARY KEY, events bigint NOT NULL, last_order text NOT NULL, event_seq bigint,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);
"""
STATEMENT = """
INSERT INTO customers (key, events, last_order, event_seq, updated_at)
SELECT key, 1, data->>'id', seq, at FROM event
ON CONFLICT (key) DO UPDATE SET
    events = customers.events + 1, last_order = excluded.last_order, event_seq = excluded.event_seq,
    updated_at = excluded.updated_at
"""


def write_definition(
    directory: Path, mode: str, name: str = MODEL, *, tables: str = TABLES, statement: str = STATEMENT
) -> Path:
    """Write the files of a projection; return that of its definition."""
    (directory / f"{name}.sql").write_text(tables, "utf-8")
    return _write(directory, name, f'tables = "{name}.sql"', f'mode = "{mode}"\nsql = """{statement}"""')


def write_lua_definition(directory: Path, lua: str) -> Path:
    """Do as `write_definition`, for Redis."""
    return _write(directory, MODEL, 'store = "redis"', f'lua = """{lua}"""')


def _write(directory: Path, name: str, own: str, handler: str) -> Path:
    file = directory / f"{name}.toml"
    file.write_text(
        f'[projection]\nname = "{name}"\nstream = "{STREAM}"\nsubjects = "{TOPIC}"\n{own}\n'
        f'[[on]]\ntopic = "{TOPIC}"\n{handler}\n',
        "utf-8",
    )
    return file


def fill_stream(world: World, events: int) -> None:
    """Make a new stream with events from seq 1 on; see `append_events`."""
    world.stream(atomic=False)
    append_events(world, events, first_seq=1)


def append_events(world: World, events: int, *, first_seq: int) -> None:
    """Store events of 256 bytes, of the keys in turn, with every header that a projection reads.

    Raises:
        RuntimeError: The stream does not hold them all.
    """
    asyncio.run(_append(world.nats.url, events, first_seq))


async def _append(url: str, events: int, first_seq: int) -> None:
    client = await nats.connect(url)
    js = client.jetstream()
    before = (await js.stream_info(STREAM)).state.messages
    created = datetime.now(UTC).isoformat()
    for number in range(events):
        seq = first_seq + number
        headers = {
            "Nats-Msg-Id": str(uuid.UUID(int=seq)),
            "Outbox-Key": f"k{seq % KEYS}",
            "Outbox-Seq": str(seq),
            "Outbox-Origin": ORIGIN,
            "Outbox-Created-At": created,
        }
        # The stream stores in the order of arrival: the answer to one message is the answer to all before it.
        if number % _WINDOW == _WINDOW - 1 or number == events - 1:
            await js.publish(TOPIC, _payload(seq), headers=headers, timeout=30)
        else:
            await client.publish(TOPIC, _payload(seq), headers=headers)
    stored = (await js.stream_info(STREAM)).state.messages - before
    await client.close()
    if stored != events:
        raise RuntimeError(f"the stream has taken {stored} of {events} events")


def _payload(seq: int) -> bytes:
    event = {"id": f"{seq:09}", "temperature": 20_000 + seq % 997, "humidity": 400 + seq % 101, "note": ""}
    return json.dumps({**event, "note": "x" * (256 - len(json.dumps(event)))}).encode()


def empty_model(world: World, *, tables: bool) -> None:
    """Take away what an earlier contender has left; make the tables for one that does not make them itself."""
    with world.connect() as conn:
        conn.execute(f"DROP SCHEMA IF EXISTS projection CASCADE; DROP SCHEMA IF EXISTS {MODEL} CASCADE".encode())
        if tables:
            conn.execute(f"CREATE SCHEMA {MODEL}; SET search_path = {MODEL}; {TABLES}".encode())
        conn.execute("CHECKPOINT")


def watch(process: subprocess.Popen[bytes], done: Callable[[], int], expected: int) -> list[Sample]:
    """Look how much is done, a hundred times a second, until all is.

    Raises:
        RuntimeError: The process has ended, or the time is up.
    """
    deadline = time.monotonic() + _WAIT_S
    samples: list[Sample] = []
    while not samples or samples[-1].done < expected:
        code = process.poll()
        if code or time.monotonic() > deadline:
            raise RuntimeError(f"not all events were applied (exit {code})")
        time.sleep(_EVERY_S)
        found = done()
        samples.append(Sample(time.monotonic(), found))
    return samples


def watch_model(world: World, process: subprocess.Popen[bytes], events: int, *, before: int = 0) -> list[Sample]:
    """Watch the model by one row, since each key has one in a thousand events; then all must be there, each once.

    Args:
        events: How many there are to apply.
        before: How many were applied already.

    Raises:
        RuntimeError: As from `watch`, or the model does not hold each event once.
    """
    with world.connect() as conn:

        def done() -> int:
            if conn.execute("SELECT to_regclass(%s)", (f"{MODEL}.customers",)).fetchone() == (None,):
                return 0
            found = conn.execute(f"SELECT events FROM {MODEL}.customers WHERE key = 'k0'".encode()).fetchone()
            return 0 if found is None else int(found[0]) * KEYS - before

        samples = watch(process, done, events)
        total = conn.execute(f"SELECT sum(events)::bigint FROM {MODEL}.customers".encode()).fetchone()
        if total != (before + events,):
            raise RuntimeError(f"the model holds {total} of {before + events} events")
    return samples


def await_position(world: World, position: int, projections: int = 1) -> None:
    """Wait until so many projections have settled the stream up to a sequence.

    Raises:
        RuntimeError: The time is up.
    """
    deadline = time.monotonic() + _WAIT_S
    with world.connect() as conn:
        while time.monotonic() < deadline:
            if conn.execute("SELECT to_regclass('projection.state')").fetchone() != (None,):
                query = "SELECT count(*) FROM projection.state WHERE position >= %s"
                if conn.execute(query, (position,)).fetchone() == (projections,):
                    return
            time.sleep(0.02)
    raise RuntimeError(f"sequence {position} was not settled")
