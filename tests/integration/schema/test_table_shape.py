"""A table of events that is not as it must be is told as that, and not as a PostgreSQL that is away."""

import pytest

from relay.errors import Exit
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay as command

AS_A_VIEW = (
    "ALTER TABLE outbox_events RENAME TO kept_events; CREATE VIEW outbox_events AS SELECT * FROM kept_events;"
    " GRANT SELECT, UPDATE, DELETE, INSERT ON outbox_events TO outbox_relay"
)
UNFIT = {
    "another type of id": (
        "ALTER TABLE outbox_events ALTER id DROP DEFAULT, ALTER id TYPE text",
        "ALTER TABLE outbox_events ALTER id TYPE uuid USING id::uuid, ALTER id SET DEFAULT gen_random_uuid()",
        "column id is text, and must be uuid",
    ),
    "another type of a count": (
        "ALTER TABLE outbox_events ALTER attempts DROP DEFAULT, ALTER attempts TYPE text",
        "ALTER TABLE outbox_events ALTER attempts TYPE integer USING attempts::integer, ALTER attempts SET DEFAULT 0",
        "column attempts is text, and must be integer",
    ),
    "a missing column": (
        "ALTER TABLE outbox_events RENAME last_error TO error",
        "ALTER TABLE outbox_events RENAME error TO last_error",
        "column last_error is missing",
    ),
    "a view": (
        AS_A_VIEW,
        "DROP VIEW outbox_events; ALTER TABLE kept_events RENAME TO outbox_events",
        "outbox_events is a view, and must be a table",
    ),
    "a missing right": (
        "REVOKE SELECT ON outbox_events FROM outbox_relay",
        "GRANT SELECT ON outbox_events TO outbox_relay",
        "permission denied for table outbox_events",
    ),
    "a missing function": (
        "ALTER FUNCTION outbox_identity RENAME TO another_identity",
        "ALTER FUNCTION another_identity RENAME TO outbox_identity",
        "function outbox_identity",
    ),
    "no sequence": (
        "ALTER TABLE outbox_events RENAME seq TO number",
        "ALTER TABLE outbox_events RENAME number TO seq",
        "seq",
    ),
}


@pytest.mark.denials
@pytest.mark.parametrize("running", [False, True], ids=["before the start", "while it runs"])
@pytest.mark.parametrize("fault", UNFIT)
def test_a_table_that_is_not_as_it_must_be_is_told_and_waited_for(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, fault: str, running: bool
) -> None:
    spoil, mend, told = UNFIT[fault]
    streams.make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, streams.url)
    if running:
        relay.start()
        outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    outbox.conn.execute(spoil.encode())
    if not running:
        relay.start()
    wait_until("it says what is wrong", lambda: told in relay.get("/readyz")[1])
    status, body = relay.get("/readyz")
    assert status == 503
    assert "postgres down" not in body
    assert "relay doctor" in body
    assert relay.get("/healthz")[0] == 200
    if told.startswith(("column", "outbox_events is")):
        answer = command(outbox.dsn, "status", "--no-nats")
        assert (answer.exit_code, answer.stderr.count("\n")) == (Exit.SCHEMA, 1)
        assert told in answer.stderr
    assert any(told in line.get("error", "") + line.get("faults", "") for line in relay.lines())
    outbox.conn.execute(mend.encode())
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 1}))
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: active\n"))


def test_marks_that_a_publication_refuses_are_no_outage(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay
) -> None:
    """Rows without a replica identity cannot be updated while a publication publishes updates."""
    streams.make("ORDERS", "orders.>")
    outbox.conn.execute(
        "ALTER TABLE outbox_events REPLICA IDENTITY NOTHING; CREATE PUBLICATION away FOR TABLE outbox_events"
    )
    relay = make_relay(outbox.dsn, streams.url).start()
    outbox.fill("orders.placed", 20, keys=20)
    wait_until("it says why", lambda: relay.get("/readyz")[1].startswith("no event can be marked: "))
    assert "replica identity" in relay.get("/readyz")[1]
    assert relay.lines("postgres.lost") == []
    assert streams.messages("ORDERS") == 20
    outbox.conn.execute("ALTER TABLE outbox_events REPLICA IDENTITY DEFAULT")
    outbox.drained(60)
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: active\n"))
    assert streams.messages("ORDERS") == 20
