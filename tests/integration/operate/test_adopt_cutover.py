"""A table of Debezium's is handed over under load: nothing is lost, nothing comes twice, each key keeps its order."""

import re
import struct
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import PostgresServer
from relay.postgres.migrate import migrate
from tests.support.fix_relay import wait_until
from tests.support.relay_cli import relay

WRITERS = 6
OUTBOX = """
CREATE TABLE outbox (
    id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL, payload jsonb
)"""


@pytest.fixture
def dsn(tmp_path: Path) -> Iterator[str]:
    """A database with Debezium's table, its publication and its slot."""
    with PostgresServer(tmp_path / "postgres", fsync=False, settings={"wal_level": "logical"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
            conn.execute(OUTBOX)
            conn.execute("CREATE PUBLICATION dbz_publication FOR TABLE outbox")
            conn.execute("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
        yield server.dsn()


class Writers:
    """Applications, half of which delete each row in the transaction that writes it, as Quarkus does."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._end = threading.Event()
        self.committed: list[list[uuid.UUID]] = [[] for _ in range(WRITERS)]
        self._threads = [threading.Thread(target=self._write, args=(at,)) for at in range(WRITERS)]
        for one in self._threads:
            one.start()

    def _write(self, at: int) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            while not self._end.is_set():
                made = uuid.uuid4()
                with conn.transaction():
                    conn.execute("INSERT INTO outbox VALUES (%s, 'order', %s, 'placed', '{}')", (made, f"k{at}"))
                    if at % 2:
                        conn.execute("DELETE FROM outbox WHERE id = %s", (made,))
                self.committed[at].append(made)

    def wrote(self, events: int) -> None:
        """Wait until each has written so many more."""
        wanted = [len(one) + events for one in self.committed]
        wait_until(
            "each writer goes on",
            lambda: all(len(one) >= least for one, least in zip(self.committed, wanted, strict=True)),
        )

    def stop(self) -> None:
        """Wait until all have ended."""
        self._end.set()
        for one in self._threads:
            one.join(20)


def inserted(conn: psycopg.Connection) -> list[uuid.UUID]:
    """Read the slot as Debezium does, and return the ids of the rows that were inserted, in the order of commit."""
    changes = conn.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes('debezium', NULL, NULL, 'proto_version', '1',"
        " 'publication_names', 'dbz_publication')"
    )
    found = []
    for (data,) in changes.fetchall():
        if data[:1] == b"I":  # relation (4), 'N', columns (2), then the first column: 't', length (4), text
            (length,) = struct.unpack_from("!I", data, 9)
            found.append(uuid.UUID(data[13 : 13 + length].decode()))
    return found


def test_a_cut_over_under_load_loses_nothing_repeats_nothing_and_keeps_the_order(dsn: str) -> None:
    writers = Writers(dsn)
    try:
        writers.wrote(20)
        args = ("adopt", "cutover", "--preset", "debezium", "--publication", "dbz_publication", "--slot", "debezium")
        result = relay(dsn, *args, "--wait", "0", "--yes")
        writers.wrote(20)
    finally:
        writers.stop()
    # The slot has not been read since, so the relay must not start yet.
    assert result.exit_code == 4, result.output
    cut = re.search(r"the cut is at (\S+)", result.stdout)
    assert cut is not None
    wait = ("adopt", "await", "--slot", "debezium", "--cut", cut[1], "--wait", "0")
    again = relay(dsn, *wait)
    assert again.exit_code == 4, again.output
    assert f"relay adopt await --slot debezium --cut {cut[1]}" in again.stderr
    assert "heartbeat.interval.ms" in again.stderr
    with psycopg.connect(dsn, autocommit=True) as conn:
        debezium = inserted(conn)
        ours = [row[0] for row in conn.execute("SELECT id FROM outbox_events ORDER BY seq").fetchall()]
        passed = conn.execute(
            "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'debezium'", (cut[1],)
        ).fetchone()
    assert passed == (True,)
    assert relay(dsn, *wait).exit_code == 0
    assert relay(dsn, *wait[:3], "nope", *wait[4:]).exit_code == 8
    assert relay(dsn, *wait[:5], "yesterday", *wait[6:]).exit_code == 2
    assert debezium
    assert ours
    assert not set(debezium) & set(ours)
    place = {event: at for at, event in enumerate([*debezium, *ours])}
    assert len(place) == len(debezium) + len(ours) == sum(map(len, writers.committed))
    for committed in writers.committed:
        assert [place[event] for event in committed] == sorted(place[event] for event in committed)
