"""A relay that is provably dead is not waited for; anything that proves nothing is."""

import signal
from collections.abc import Callable

import pytest

from tests.support.fix_relay import SLOWLY, MakeRelay, Outbox, holds_for, wait_until
from tests.support.fix_stream import Streams, assert_once_and_in_order

# Longer than any test waits: who takes over has not waited for it.
LEASE = {"lease__ttl_s": "300"}


def owners(outbox: Outbox) -> set[str]:
    """Return who owns shards now."""
    rows = outbox.conn.execute("SELECT DISTINCT owner FROM outbox_shards WHERE lease_until > clock_timestamp()")
    return {owner for (owner,) in rows.fetchall()}


@pytest.mark.parametrize("strategy", ["singles", "atomic"])
def test_a_relay_that_is_killed_and_started_again_in_its_place_does_not_wait_for_its_own_lease(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, through_us: Callable[[str], str], strategy: str
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    outbox.fill("orders.placed", 12_000, keys=100)
    url = through_us(streams.url)
    relay = make_relay(outbox.dsn, url, delivery__strategy=strategy, **LEASE, **SLOWLY).start()
    for turn in range(1, 4):
        outbox.delivered_at_least(1000 * turn)
        (dead,) = owners(outbox)
        relay.kill()
        assert outbox.count("delivered_at IS NULL") > 0, "it was killed in the middle"
        relay.start()
        assert relay.said("lease.expired", turn)["owner"] == dead
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 12_000, 100)


def test_a_relay_that_lives_in_the_same_place_takes_over_from_one_that_was_killed(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    first, second = (make_relay(outbox.dsn, streams.url, **LEASE, **SLOWLY).start() for _ in range(2))
    wait_until("they share", lambda: len(owners(outbox)) == 2)
    outbox.fill("orders.placed", 8000, keys=100)
    outbox.delivered_at_least(500)
    first.kill()
    second.said("lease.expired")
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 8000, 100)
    assert outbox.conn.execute("SELECT count(*) FROM outbox_members").fetchone() == (1,)


def test_a_relay_that_is_frozen_and_cut_off_from_the_database_is_waited_for_until_it_is_killed(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    first = make_relay(outbox.dsn, streams.url, **LEASE, **SLOWLY).start()
    outbox.fill("orders.placed", 8000, keys=100)
    outbox.delivered_at_least(500)
    (owner,) = owners(outbox)
    first.signal(signal.SIGSTOP)
    ended = outbox.conn.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name LIKE 'outbox-relay %' AND datname = current_database()"
    ).fetchone()
    assert ended is not None and ended[0] >= 2
    second = make_relay(outbox.dsn, streams.url, **LEASE, **SLOWLY).start()
    second.said("relay.standby")
    holds_for(3, "the frozen one is the owner", lambda: owners(outbox) == {owner})
    assert not second.lines("lease.expired")
    first.kill()
    assert second.said("lease.expired")["owner"] == owner
    outbox.drained()
    assert_once_and_in_order(streams.read("ORDERS"), 8000, 100)


def test_a_relay_of_another_machine_is_waited_for(outbox: Outbox, streams: Streams, make_relay: MakeRelay) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True)
    first = make_relay(outbox.dsn, streams.url, test_elsewhere="1", **LEASE).start()
    first.said("relay.active")
    (owner,) = owners(outbox)
    first.kill()
    second = make_relay(outbox.dsn, streams.url, **LEASE).start()
    second.said("relay.standby")
    holds_for(3, "the lease is waited for", lambda: owners(outbox) == {owner})
    assert not second.lines("lease.expired")
