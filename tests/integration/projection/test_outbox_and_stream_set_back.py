"""The whole way, outbox, relay, stream and model, while one of its ends loses what it had: the model stays the fold."""

from collections import defaultdict
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import NatsServer, PostgresServer
from relay.projection.rules.grouping import Mode
from tests.integration.integrity.test_database_changes import failover, own_outbox
from tests.integration.integrity.test_stream_loss import checked, insert, rolled_back
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import STREAM, definition, run_sql, state, trail
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done

__all__ = ["own_outbox"]

HEADERS = {"headers__key": "true", "headers__seq": "true", "headers__created_at": "true"}


def fold_of(outbox: Outbox) -> dict[str, list[int]]:
    """Return what the model must hold: of each key its numbers, in the order of the outbox."""
    found: dict[str, list[int]] = defaultdict(list)
    for key, number in outbox.conn.execute("SELECT key, (payload->>'i')::int FROM outbox_events ORDER BY seq"):
        found[key].append(number)
    return dict(found)


def applied(dsn: str, events: int) -> None:
    """Wait until so many events were applied."""
    wait_until(f"{events} events are applied", lambda: state(dsn).get("applied") == events, 60)


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.SET])
@pytest.mark.parametrize("behind", [False, True], ids=["up to date", "has what was lost in its hands"])
def test_while_a_stream_gets_its_lost_tail_again_the_model_stays_the_fold_of_the_outbox(
    outbox: Outbox,
    empty_database: str,
    own_nats: NatsServer,
    make_relay: MakeRelay,
    running: Run,
    tmp_path: Path,
    mode: Mode,
    behind: bool,
) -> None:
    Streams(own_nats.url).make(STREAM, "orders.>", allow_direct=True, allow_atomic=True)
    relay = make_relay(outbox.dsn, own_nats.url, **HEADERS).start()
    running(empty_database, own_nats.url, definition(mode=mode))
    insert(outbox, 1, 500)
    applied(empty_database, 500)

    def meanwhile() -> None:
        insert(outbox, 501, 800)
        outbox.drained()
        checked(outbox)
        if not behind:
            applied(empty_database, 800)

    with psycopg.connect(empty_database) as held:
        if behind:
            held.execute("LOCK TABLE trail.trail IN EXCLUSIVE MODE")
        rolled_back(own_nats, tmp_path / "copy", meanwhile)
        insert(outbox, 801, 900)
        own_nats.start()
        assert relay.said("stream.lost")["events"] == 300
        outbox.drained()
    applied(empty_database, 900)
    insert(outbox, 901, 950)
    applied(empty_database, 950)
    assert trail(empty_database) == fold_of(outbox)
    assert run_sql(empty_database, "SELECT status, error FROM projection.state") == [("running", None)]
    assert run_sql(empty_database, "SELECT 1 FROM projection.parked") == []


def test_seqs_that_an_outbox_set_back_draws_again_stop_a_running_projection_which_says_why(
    own_postgres: PostgresServer,
    own_outbox: Outbox,
    empty_database: str,
    streams: Streams,
    make_relay: MakeRelay,
    running: Run,
    tmp_path: Path,
) -> None:
    streams.make(STREAM, "orders.>", allow_direct=True)
    make_relay(own_outbox.dsn, streams.url, **HEADERS).start()
    running(empty_database, streams.url, definition())
    insert(own_outbox, 1, 10)
    applied(empty_database, 10)
    with failover(own_postgres, own_outbox, tmp_path / "standby"):
        insert(own_outbox, 11, 20)
        applied(empty_database, 20)
        before = fold_of(own_outbox)
    insert(own_outbox, 101, 110)
    wait_until("it has stopped", lambda: state(empty_database)["status"] == "stopped")
    assert "the outbox uses its seqs again" in state(empty_database)["error"]
    assert trail(empty_database) == before
    assert state(empty_database)["applied"] == 20


def test_seqs_that_are_drawn_again_with_a_new_origin_are_applied_by_a_running_projection(
    own_postgres: PostgresServer,
    own_outbox: Outbox,
    empty_database: str,
    streams: Streams,
    make_relay: MakeRelay,
    running: Run,
    tmp_path: Path,
) -> None:
    """What the outbox has lost stays in the model, as it stays in the stream: whoever reads both has seen it."""
    streams.make(STREAM, "orders.>", allow_direct=True)
    make_relay(own_outbox.dsn, streams.url, **HEADERS).start()
    running(empty_database, streams.url, definition(mode=Mode.SET))
    insert(own_outbox, 1, 10)
    applied(empty_database, 10)
    with failover(own_postgres, own_outbox, tmp_path / "standby"):
        insert(own_outbox, 11, 20)
        applied(empty_database, 20)
        before = fold_of(own_outbox)
    done(own_outbox.dsn, "migrate", "--new-origin")
    insert(own_outbox, 101, 110)
    applied(empty_database, 30)
    after = {key: numbers for key, numbers in fold_of(own_outbox).items() if max(numbers) > 100}
    assert trail(empty_database) == {
        key: before.get(key, []) + [one for one in after.get(key, []) if one > 100] for key in before | after
    }
    assert state(empty_database)["status"] == "running"
