"""The model equals the fold of the stream, each key in its order, each event once."""

from collections.abc import Sequence
from functools import partial

import pytest

from relay.jetstream.consumer import StreamMessage
from relay.projection.definition import Handler
from relay.projection.reading import read_all
from relay.projection.rules.grouping import Mode
from relay.projection.rules.incoming import Incoming
from relay.projection.sql_text import statement
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import STREAM, Events, definition, filled, fold, run_sql, state, trail
from tests.support.fix_relay import MakeRelay, Outbox, wait_until


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.SET, Mode.FOLD])
def test_the_model_is_the_fold_of_the_stream(empty_database: str, events: Events, running: Run, mode: Mode) -> None:
    events.make()
    events.fill(1, 2_500)
    running(empty_database, events.url, definition(mode=mode))
    wait_until("all is applied", lambda: state(empty_database).get("position") == 2_500)
    events.fill(2_501, 10)
    wait_until("what comes later is applied", lambda: state(empty_database)["position"] == 2_510)
    assert trail(empty_database) == filled(1, 2_510)
    assert state(empty_database)["applied"] == 2_510


def test_partitions_share_the_keys_and_apply_each_event_once(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.fill(1, 500)
    running(empty_database, events.url, definition(partitions=3))
    done = "SELECT count(*) FILTER (WHERE position = 500), sum(applied) FROM projection.state"
    wait_until("three partitions", lambda: state(empty_database) and run_sql(empty_database, done) == [(3, 500)])
    assert trail(empty_database) == filled(1, 500)


def test_the_same_message_twice_and_a_replay_change_nothing(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.fill(1, 20)
    events.fill(5, 3)
    events.send((6, "k6"), **{"Outbox-Replay": "1", "Outbox-Replay-Of": "id"})
    events.fill(21, 5)
    running(empty_database, events.url, definition())
    wait_until("all is applied", lambda: state(empty_database).get("position") == 29)
    assert trail(empty_database) == filled(1, 25)
    assert state(empty_database)["repeats"] == 4


def test_a_dead_letter_that_is_retried_late_is_applied(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.send((1, "a"), (3, "b"), (2, "c"))
    running(empty_database, events.url, definition())
    wait_until("all is applied", lambda: state(empty_database).get("position") == 3)
    assert trail(empty_database) == fold((1, "a"), (3, "b"), (2, "c"))


def test_a_runner_that_is_stopped_and_started_goes_on_behind_its_position(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 30)
    first = running(empty_database, events.url, definition())
    wait_until("the first part", lambda: state(empty_database).get("position") == 30)
    first.stop()
    assert state(empty_database)["owner"] is None
    events.fill(31, 30)
    running(empty_database, events.url, definition())
    wait_until("the second part", lambda: state(empty_database)["position"] == 60)
    assert trail(empty_database) == filled(1, 60)


def test_the_position_moves_over_what_is_not_ours(empty_database: str, events: Events, running: Run) -> None:
    events.streams.make("ORDERS", "orders.>", "other.>")
    events.fill(1, 3)
    events.streams.publish("other.thing", *range(5))
    running(empty_database, events.url, definition())
    wait_until("moved over the others", lambda: state(empty_database).get("position") == 8)
    assert state(empty_database)["applied"] == 3


def test_a_backlog_of_several_requests_is_read_in_one_stay(
    empty_database: str, events: Events, running: Run, caplog: pytest.LogCaptureFixture
) -> None:
    events.make()
    events.fill(1, 3_500)
    running(empty_database, events.url, definition(mode=Mode.FOLD))
    wait_until("all is settled", lambda: state(empty_database).get("position") == 3_500)
    # As slowly as events are placed: each request ends by its count, with room for more bytes.
    for first in range(3_501, 5_001, 50):
        events.fill(first, 50)
    wait_until("these too", lambda: state(empty_database).get("position") == 5_000)
    assert trail(empty_database) == filled(1, 5_000)
    assert [one.getMessage() for one in caplog.records if one.levelname != "INFO"] == []


@pytest.mark.parametrize(("strategy", "mode"), [("singles", Mode.EACH), ("atomic", Mode.SET)])
def test_what_the_relay_sends_is_read_by_columns(
    empty_database: str,
    outbox: Outbox,
    make_relay: MakeRelay,
    events: Events,
    running: Run,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    mode: Mode,
) -> None:
    """Else the way that is measured would be nobody's: every batch has an end, and some begin in its middle."""
    one_by_one: list[int] = []

    def read(messages: Sequence[StreamMessage]) -> list[Incoming]:
        one_by_one.extend(message.stream_seq for message in messages)
        return read_all(messages)

    monkeypatch.setattr("relay.projection.term.read_all", read)
    events.make(allow_atomic=True)
    headers = {"headers__key": "true", "headers__seq": "true", "headers__created_at": "true"}
    make_relay(outbox.dsn, events.url, delivery__strategy=strategy, delivery__atomic_batch="20", **headers).start()
    outbox.fill("orders.placed", 500, 7)
    outbox.drained()
    batched = [message.batched for message in events.streams.read(STREAM)]
    assert any(batched) == (strategy == "atomic")
    running(empty_database, events.url, definition(mode=mode))
    for filled_up_to in range(500, 600, 5):
        wait_until("all is applied", partial(_is_applied, empty_database, filled_up_to))
        outbox.fill("orders.placed", 5, 7)
    assert one_by_one == []


def _is_applied(dsn: str, events: int) -> bool:
    return bool(state(dsn).get("applied") == events)


KEYS = ["acc", "acc ", " acc", "  acc", "acc\u00a0", "acc\t", "\tacc", "acc\u0085", "acc\u2028", "", " ", None]


def test_each_key_arrives_as_it_was_written_whatever_stands_at_its_ends(
    empty_database: str, outbox: Outbox, make_relay: MakeRelay, events: Events, running: Run
) -> None:
    events.make()
    make_relay(outbox.dsn, events.url, headers__key="true", headers__seq="true").start()
    for key in KEYS:
        outbox.insert("orders.placed", key, headers={"outbox-key": "x", "Outbox-Key": "another event's"})
    tables = "CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY, key text)"
    sql = statement("INSERT INTO seen (key) SELECT key FROM event")
    keys = definition(tables=tables, handlers=(Handler("orders.>", None, Mode.EACH, sql=sql),))
    running(empty_database, events.url, keys)
    wait_until("all is applied", lambda: state(empty_database).get("applied") == len(KEYS))
    assert run_sql(empty_database, "SELECT key FROM trail.seen ORDER BY n") == [(key,) for key in KEYS]
