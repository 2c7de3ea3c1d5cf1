"""Shards change hands while things go wrong: the one that gives dies, its database freezes, some are taken from it."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.demo.servers import PostgresServer
from relay.postgres.database import Database
from relay.postgres.presence import Presence
from relay.postgres.shard_leases import Ownership
from relay.postgres.tables import Tables
from tests.faults.relay_midway import ALERT
from tests.integration.ownership.test_replicas import LEASE, Producer, shared
from tests.support.faulty_relay.failpoints import INSTANTS
from tests.support.fix_relay import SLOWLY, MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_stream import SHORTEST_WINDOW, Streams, assert_once_and_in_order, ids, ids_are_forgotten

KEYS = 50
# The end of a term: what is in flight is awaited and written down, then shards are given.
ENDING = ("Term.run > Term._drain", "Replica._end_of_term", "Replica._hand_over", "Doorbell.release")
# The giver stands there only if something is in flight at that moment, if it slept, or if another task asks as well.
BY_CHANCE = ("Publisher.drained", "Settler.drained", "Doorbell.release", "async with self._turn")


def points_of(giver: Relay, taker: Relay, outbox: Outbox, file: Path) -> list[str]:
    """Let one relay hand over to another; return every await at which the giver stood for it."""
    giver.patch(record=str(file))
    giver.start()
    shared(outbox, 64)
    before = file.read_text("utf-8").splitlines()
    taker.start()
    shared(outbox, 32, 32)
    points = [point for point in file.read_text("utf-8").splitlines() if point not in before]
    assert [point for point in points if "Ownership.hand_over" in point], points
    return [point for point in points if any(words in point for words in ENDING)]


@pytest.mark.timeout(300)
def test_a_kill_at_any_await_of_a_hand_over_loses_repeats_and_reorders_nothing(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, tmp_path: Path
) -> None:
    """The stream has forgotten the ids of what it holds before the next giver is there: it drops no repeat itself."""
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True, duplicate_window=SHORTEST_WINDOW)
    giver, taker = (make_relay(outbox.dsn, streams.url, **LEASE) for _ in range(2))
    passed_by = []
    with Producer(outbox, KEYS) as producer:
        points = points_of(giver, taker, outbox, tmp_path / "points")
        for point in points:
            for instant in INSTANTS:
                for relay in (giver, taker):
                    relay.end()
                outbox.leases_run_out()
                ids_are_forgotten()
                giver.patch(failpoint=f"{instant} {point}")
                giver.start()
                shared(outbox, 64)
                taker.start()
                wait_until(
                    "the end of the giver, or a fair share",
                    lambda: not giver.running or "outbox_relay_shards_owned 32.0" in taker.get("/metrics")[1],
                )
                if giver.running and not any(words in point for words in BY_CHANCE):
                    passed_by.append(f"{instant} {point}")
        giver.end()
        shared(outbox, 64)
    assert len(passed_by) <= len(points) * len(INSTANTS) // 5, "\n".join(passed_by)
    outbox.drained()
    stored = streams.read("ORDERS")
    assert_once_and_in_order(stored, producer.events, KEYS)
    assert outbox.marks() == ids(stored)


def test_a_database_that_freezes_in_a_hand_over_ends_no_relay(
    own_postgres: PostgresServer, streams: Streams, make_relay: MakeRelay, tmp_path: Path
) -> None:
    outbox = Outbox(own_postgres.dsn())
    streams.make("ORDERS", "orders.>")
    giver, taker = (
        make_relay(outbox.dsn, streams.url, delivery__shutdown_timeout_s="0.5", **LEASE, **ALERT) for _ in range(2)
    )
    points = points_of(giver, taker, outbox, tmp_path / "points")
    beat = next(
        point for point in points if "Replica._hand_over > Ownership.beat > Ownership._beat > Database.run" in point
    )
    giver.kill()
    taker.kill()
    outbox.leases_run_out()
    giver.patch(freeze=f"sent {beat}")
    giver.start()
    shared(outbox, 64)
    taker.start()
    wait_until("it is frozen", lambda: Path(f"/proc/{giver.pid}/stat").read_text("ascii").rpartition(") ")[2][0] == "T")
    own_postgres.pause()
    giver.signal(signal.SIGCONT)
    giver.said("postgres.lost")
    holds_for(1.5, "it waits for its database", lambda: giver.running)
    own_postgres.resume()
    shared(outbox, 32, 32)
    outbox.fill("orders.placed", 500, KEYS)
    outbox.drained()
    assert giver.stop() == 0
    outbox.conn.close()


def test_one_from_which_some_shards_were_taken_calls_nothing_settled_that_is_not(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: Callable[[str], str]
) -> None:
    """Its marks are refused, also those in the shards that it has kept: they wait, and the watermark with them."""
    streams.make("ORDERS", "orders.>", allow_direct=True, duplicate_window=SHORTEST_WINDOW)
    outbox.fill("orders.placed", 4000, KEYS)
    url = through_us(streams.url)
    relay = make_relay(outbox.dsn, url, delivery__strategy="singles", **LEASE, **SLOWLY).start()
    for turn in range(5):
        outbox.delivered_at_least(200 + 600 * turn)
        relay.signal(signal.SIGSTOP)
        time.sleep(0.05)  # for the answers to what it has in flight
        assert outbox.count("delivered_at IS NULL") > 0, "it was frozen in the middle"
        outbox.conn.execute(
            "UPDATE outbox_shards SET owner = 'another', epoch = epoch + 1,"
            " lease_until = clock_timestamp() + interval '300 ms' WHERE shard = %s",
            (turn,),
        )
        relay.signal(signal.SIGCONT)
        relay.said("lease.lost", turn + 1)
    outbox.drained()
    assert not relay.lines("scrub.found"), "nothing was passed by"
    assert_once_and_in_order(streams.read("ORDERS"), 4000, KEYS)


@pytest.mark.parametrize("owner", [None, "another"])
def test_shards_that_an_operator_takes_from_a_relay_by_hand_are_claimed_again_when_their_lease_has_run_out(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, owner: str | None
) -> None:
    """The epoch is as it was: the fence refuses each mark of the relay, and its beat does not renew the lease."""
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url, **LEASE).start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute("UPDATE outbox_shards SET owner = %s", (owner,))
    relay.said("lease.lost")
    outbox.fill("orders.placed", 100, KEYS)
    outbox.drained()
    assert len(streams.read("ORDERS")) == 101
    wait_until("readiness", lambda: relay.get("/readyz")[0] == 200)


def test_a_claim_whose_answer_was_lost_knows_what_it_took(outbox: Outbox) -> None:
    async def claim_twice() -> None:
        async with Database(outbox.dsn, "test", connect_timeout_s=5, statement_timeout_s=5) as database:
            tables = Tables("outbox_events")
            one = Presence()
            lost, again = (Ownership(database, tables, one, 60.0) for _ in range(2))
            await lost.claim(20)
            await again.claim(30)
            rows = await database.run(b"SELECT shard, epoch FROM outbox_shards WHERE owner = $1", (str(one.member),))
            assert again.epochs == dict(rows)
            assert len(again.epochs) == 50
            other = Ownership(database, tables, Presence(), 60.0)
            await other.claim(64)
            assert len(other.epochs) == 14

    asyncio.run(claim_twice())
