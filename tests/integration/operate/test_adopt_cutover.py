"""A table of Debezium's is handed over under load: nothing is lost, nothing comes twice, each key keeps its order."""

import re
import struct
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import PostgresServer
from relay.postgres.migrate import migrate
from tests.support.fix_relay import MakeRelay, wait_until
from tests.support.fix_rights import let_relay_in
from tests.support.fix_stream import Streams
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
        let_relay_in(server.dsn())
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


CUTOVER = ("adopt", "cutover", "--preset", "debezium", "--publication", "dbz_publication")
BACK = ("adopt", "remove", "--source", "outbox", "--give-back", "dbz_publication", "--slot", "debezium", "--wait")


def test_a_way_back_under_load_loses_nothing_repeats_nothing_and_keeps_the_order(dsn: str) -> None:
    assert relay(dsn, *CUTOVER, "--yes").exit_code == 0
    writers = Writers(dsn)
    try:
        writers.wrote(20)
        result = relay(dsn, *BACK, "0", "--yes")
        writers.wrote(20)
    finally:
        writers.stop()
    # No relay runs, so what was copied waits, and the command says that it is not the other reader's turn.
    assert result.exit_code == 4, result.output
    with psycopg.connect(dsn, autocommit=True) as conn:
        ours = [row[0] for row in conn.execute("SELECT id FROM outbox_events ORDER BY seq").fetchall()]
        debezium = inserted(conn)
    assert f"{len(ours):,} events of this outbox wait to be sent, up to seq {len(ours)}" in result.stderr
    assert ours
    assert debezium
    place = {event: at for at, event in enumerate([*ours, *debezium])}
    assert len(place) == len(debezium) + len(ours) == sum(map(len, writers.committed))
    for committed in writers.committed:
        assert [place[event] for event in committed] == sorted(place[event] for event in committed)


def test_a_way_back_ends_once_the_relay_has_sent_what_was_copied(
    dsn: str, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("EVENTS", "orders.>")
    assert relay(dsn, *CUTOVER, "--yes").exit_code == 0
    writers = Writers(dsn)
    writers.wrote(20)
    writers.stop()
    make_relay(dsn, streams.url, subject__template="orders.{topic}").start()
    result = relay(dsn, *BACK, "30", "--yes")
    assert result.exit_code == 0, result.output
    assert "everything that was copied is sent: stop the relay, and start the other reader" in result.stderr
    assert streams.messages("EVENTS") == sum(map(len, writers.committed))


def test_a_reader_that_runs_or_has_no_slot_gets_nothing_back(dsn: str) -> None:
    assert relay(dsn, *CUTOVER, "--yes").exit_code == 0
    reading = b"START_REPLICATION SLOT debezium LOGICAL 0/0 (proto_version '1', publication_names 'dbz_publication')"
    with psycopg.connect(dsn, autocommit=True) as conn:

        def is_read() -> bool:
            return conn.execute("SELECT active FROM pg_replication_slots").fetchone() == (True,)

        with closing(psycopg.connect(dsn, replication="database", autocommit=True)) as reader:
            reader.pgconn.send_query(reading)
            wait_until("the slot is read", is_read)
            refused = relay(dsn, *BACK, "0", "--yes")
            assert refused.exit_code == 8, refused.output
            assert "the reader of slot debezium is at work" in refused.stderr
        wait_until("its reader is gone", lambda: not is_read())
        conn.execute("SELECT pg_drop_replication_slot('debezium')")
        refused = relay(dsn, *BACK, "0", "--yes")
        assert refused.exit_code == 8, refused.output
        assert "SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')" in refused.stderr
        assert relay(dsn, "adopt", "remove", "--source", "outbox", "--slot", "debezium", "--yes").exit_code == 2
        assert relay(dsn, "adopt", "status").stdout.count("outbox") > 0
        conn.execute("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
    assert relay(dsn, *BACK, "0", "--yes").exit_code == 0
