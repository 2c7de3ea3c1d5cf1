"""The first page after nobody looked: it counts less, says so, and asks PostgreSQL and NATS at once."""

import socket
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.fix_console import Console, MakeConsole
from tests.support.fix_relay import Outbox, wait_until
from tests.support.fix_stream import Streams


@pytest.fixture
def console(outbox: Outbox, streams: Streams, make_console: MakeConsole) -> Console:
    return make_console(outbox.dsn, streams.url).enter()


def test_the_first_page_counts_less_and_says_so_and_the_next_one_counts_all(console: Console, database: str) -> None:
    fill = """
        INSERT INTO outbox_events (topic, key, payload, dead_at, last_error)
        SELECT 'orders.placed', 'k' || mod(i, 7), '{}', CASE WHEN i <= 2100 THEN now() END,
               CASE WHEN i <= 2100 THEN 'maximum payload exceeded: ' || i END
        FROM generate_series(1, 12200) i
    """
    with psycopg.connect(database) as conn:
        conn.execute(fill)
    first = console.get("/")
    assert "10,000+ pending" in first.plain
    assert "Of the newest 2,000, 2,000: maximum payload exceeded: N" in first.plain
    wait_until("all is counted", lambda: "10,100 pending" in console.get("/").plain)
    later = console.get("/").plain
    assert " 2,100: maximum payload exceeded: N" in later
    assert "Of the newest" not in later


def test_the_first_page_says_what_was_sent_again_although_no_loss_is_open(console: Console, database: str) -> None:
    sent = """
        INSERT INTO outbox_events (topic, key, payload, delivered_at, stream, stream_seq, last_error)
        VALUES ('orders.placed', 'k', '{"i": 1}', now(), 'ORDERS', 3,
                'stream ORDERS lost it at sequence 1: sent again'),
               ('orders.placed', 'k', '{"i": 2}', now(), 'ORDERS', 2, NULL)
    """
    with psycopg.connect(database) as conn:
        conn.execute(sent)
    assert "Stream ORDERS had lost 1 event, and it was sent again" in console.get("/").plain
    assert "1 of them, of 1 key, stands behind newer events of their keys" in console.get("/").plain
    told = console.get("/events/1")
    assert "it stands behind 1 newer event of its key, the first seq 2" in told.plain
    assert "OutboxRelayStreamLoss" in told.plain
    key = console.get("/key?key=k").plain
    assert "1 event of this key had been lost by their stream" in key and "Consumers read an older state" in key


def test_nats_is_connected_to_while_postgresql_is_asked(outbox: Outbox, make_console: MakeConsole) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as nats,
        psycopg.connect(outbox.dsn) as conn,
        ThreadPoolExecutor(1) as pool,
    ):
        console = make_console(outbox.dsn, f"nats://127.0.0.1:{nats.getsockname()[1]}").enter()
        nats.settimeout(20)
        conn.execute("LOCK outbox_shards IN ACCESS EXCLUSIVE MODE")
        page = pool.submit(console.get, "/")
        connection, _ = nats.accept()
        connection.close()
        assert not page.done()
        conn.rollback()
        assert page.result(30).status == 200


def test_a_retry_that_is_overdue_is_called_due_and_nothing_seen_is_no_rate(console: Console, outbox: Outbox) -> None:
    late = """
        INSERT INTO outbox_events (topic, key, payload, attempts, last_error, retry_at)
        VALUES ('orders.placed', 'k', '{}', 1, 'refused', now() - interval '5 min')
    """
    outbox.conn.execute(late)
    outbox.conn.execute("SELECT setval(pg_get_serial_sequence('outbox_events', 'seq'), 200000)")
    outbox.insert("orders.placed", "k", {"i": 1})
    first = console.get("/").plain
    assert "due 5 min" in first and "not known yet" in first
    for page in ("/events?state=retry", "/waiting"):
        assert "not yet: due 5 min" in console.get(page).plain, page
