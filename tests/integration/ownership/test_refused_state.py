"""What the relay keeps for itself is refused by the database: it is told, tried again, and ends no relay."""

import pytest

from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_rights import as_relay
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done
from tests.support.relay_cli import relay as command

SECRET = "4111-1111"
RAISES = (
    "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {then}; END $$;"
    "CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION guard()"
)
RAISE = f"RAISE EXCEPTION 'frozen' USING DETAIL = '{SECRET}'"
IN_GUARD = "in PL/pgSQL function guard() line 1"
ODD = "RAISE EXCEPTION 'frozen' USING ERRCODE = '22003'"

OF_STREAMS = {
    "a check": ("ALTER TABLE outbox_streams ADD CONSTRAINT guard CHECK (floor < 0) NOT VALID", "constraint guard"),
    "a trigger that raises": (RAISES.format(then=RAISE, table="outbox_streams"), IN_GUARD),
    "one that raises an error of values": (RAISES.format(then=ODD, table="outbox_streams"), IN_GUARD),
    "a trigger that keeps the row": (RAISES.format(then="RETURN NULL", table="outbox_streams"), "keeps the row"),
    "a right": ("REVOKE INSERT, UPDATE ON outbox_streams FROM outbox_relay", "permission denied"),
}


def mend(outbox: Outbox, table: str) -> None:
    """Take away whatever refuses."""
    outbox.conn.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS guard; DROP TRIGGER IF EXISTS guard ON {table};"
        f"GRANT INSERT, UPDATE ON {table} TO outbox_relay".encode()
    )


def saved(outbox: Outbox) -> bool:
    found = outbox.conn.execute("SELECT count(*) FROM outbox_streams WHERE stream = 'ORDERS'").fetchone()
    return found is not None and bool(found[0])


@pytest.mark.denials
@pytest.mark.parametrize(("statement", "told"), OF_STREAMS.values(), ids=OF_STREAMS.keys())
def test_a_refused_state_of_a_stream_is_told_and_saved_when_it_can_be_and_events_flow(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, statement: str, told: str
) -> None:
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute(statement.encode())
    relay = make_relay(as_relay(outbox.dsn), streams.url).start()
    outbox.fill("orders.placed", 500, keys=20)
    outbox.drained()
    line = relay.said("streams.unsaved")
    assert (line["stream"], told in line["reason"]) == ("ORDERS", True)
    wait_until("the probe tells it", lambda: told in relay.get("/readyz")[1])
    assert relay.get("/readyz")[0] == 200
    assert "outbox_relay_unsaved_streams 1.0\n" in relay.get("/metrics")[1]
    wait_until("status tells it", lambda: told in done(outbox.dsn, "status", "--no-nats").stdout)
    assert not saved(outbox)
    # A restart is no cure and no fault.
    assert relay.stop() == 0
    relay.start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    relay.said("streams.unsaved", times=2)
    mend(outbox, "outbox_streams")
    wait_until("it is saved", lambda: saved(outbox), 20)
    wait_until("the probe tells nothing", lambda: relay.get("/readyz") == (200, "ready: active\n"))
    assert len(relay.lines("streams.unsaved")) == 2
    assert SECRET not in relay.text()
    assert streams.messages("ORDERS") == 501


OF_LEASES = {
    "a check on shards": (
        "outbox_shards",
        "ALTER TABLE outbox_shards ADD CONSTRAINT guard CHECK (epoch < 0) NOT VALID",
    ),
    "a trigger on shards": ("outbox_shards", RAISES.format(then=RAISE, table="outbox_shards")),
    "one that raises an error of values": ("outbox_shards", RAISES.format(then=ODD, table="outbox_shards")),
    "a trigger on members": ("outbox_members", RAISES.format(then=RAISE, table="outbox_members")),
}


@pytest.mark.parametrize("when", ["before the start", "while it works"])
@pytest.mark.parametrize(("table", "statement"), OF_LEASES.values(), ids=OF_LEASES.keys())
def test_a_refused_lease_is_told_and_the_relay_goes_on_when_it_is_taken_again(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, table: str, statement: str, when: str
) -> None:
    streams.make("ORDERS", "orders.>")
    relay: Relay = make_relay(as_relay(outbox.dsn), streams.url, lease__ttl_s="2")
    if when == "while it works":
        relay.start()
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
        outbox.conn.execute(statement.encode())
    else:
        outbox.conn.execute(statement.encode())
        relay.start()
    wait_until("it is not ready", lambda: relay.get("/readyz")[0] == 503)
    wait_until("it says why", lambda: "refuses what the relay asks of it" in relay.get("/readyz")[1])
    assert "guard" in relay.get("/readyz")[1]
    assert relay.said("postgres.lost")["connection"] == "lease"
    holds_for(2, "the relay does not end", lambda: relay.running)
    advised = command(as_relay(outbox.dsn), "doctor", RELAY_NATS__SERVERS=streams.url).stdout
    assert f"guard on {table} may refuse what the relay keeps there" in " ".join(advised.split())
    mend(outbox, table)
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    wait_until("it is ready", lambda: relay.get("/readyz")[0] == 200)
    assert SECRET not in relay.text()
    assert relay.stop() == 0


def test_a_relay_whose_leases_are_refused_can_be_stopped(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    streams.make("ORDERS", "orders.>")
    relay = make_relay(as_relay(outbox.dsn), streams.url, delivery__shutdown_timeout_s="2").start()
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(RAISES.format(then=RAISE, table="outbox_shards").encode())
    relay.said("postgres.lost")
    assert relay.stop() in (0, 4)
