"""The stream is checked at each connect: a gap is told, and what a stream has lost is not applied twice."""

import shutil
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from relay.projection.definition import Handler
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import statement
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import STREAM, Events, definition, filled, run_sql, state, trail
from tests.support.fix_relay import wait_until
from tests.support.fix_stream import Streams

# Events without the headers of the relay have no key that the table could hold.
UNREAD = Handler("orders.>", None, Mode.EACH, sql=statement("SELECT count(*) FROM event"))


def stopped(dsn: str) -> str:
    """Wait until the projection has stopped; return why."""
    wait_until("it has stopped", lambda: state(dsn).get("status") == "stopped")
    return str(state(dsn)["error"])


def reach(dsn: str, position: int) -> None:
    """Wait until everything up to a sequence is settled."""
    wait_until(f"position {position}", lambda: state(dsn).get("position") == position)


def test_a_stream_that_was_made_new_is_read_again_and_nothing_is_applied_twice(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 20)
    first = running(empty_database, events.url, definition())
    reach(empty_database, 20)
    first.stop()
    events.streams.api(f"STREAM.DELETE.{STREAM}")
    events.make()
    # The relay sends again what it can, and goes on: more than the position, so that the number alone says nothing.
    events.fill(11, 30)
    running(empty_database, events.url, definition())
    reach(empty_database, 30)
    assert trail(empty_database) == filled(1, 40)
    assert state(empty_database)["repeats"] == 10


def test_a_stream_that_is_made_new_under_the_reader_is_noticed(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 20)
    running(empty_database, events.url, definition())
    reach(empty_database, 20)
    events.streams.api(f"STREAM.DELETE.{STREAM}")
    events.make()
    events.fill(11, 15)
    reach(empty_database, 15)
    assert trail(empty_database) == filled(1, 25)


def test_without_seqs_a_stream_that_was_made_new_stops_the_projection(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.streams.publish("orders.placed", *({"i": number} for number in range(1, 4)))
    first = running(empty_database, events.url, definition(handlers=(UNREAD,)))
    reach(empty_database, 3)
    first.stop()
    events.streams.api(f"STREAM.DELETE.{STREAM}")
    events.make()
    events.streams.publish("orders.placed", *({"i": number} for number in range(1, 6)))
    running(empty_database, events.url, definition(handlers=(UNREAD,)))
    assert "no Outbox-Seq" in stopped(empty_database)
    assert state(empty_database)["position"] == 3


def test_what_was_purged_ahead_of_the_position_is_a_gap(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.fill(1, 20)
    first = running(empty_database, events.url, definition())
    reach(empty_database, 20)
    first.stop()
    events.fill(21, 20)
    events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 31})
    running(empty_database, events.url, definition())
    assert "sequences 21 to 30" in stopped(empty_database)
    assert (state(empty_database)["position"], state(empty_database)["gap_last"]) == (20, 30)
    assert trail(empty_database) == filled(1, 20)


def test_what_was_purged_behind_the_position_is_no_gap(empty_database: str, events: Events, running: Run) -> None:
    events.make()
    events.fill(1, 20)
    first = running(empty_database, events.url, definition())
    reach(empty_database, 20)
    first.stop()
    events.fill(21, 5)
    events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 21})
    running(empty_database, events.url, definition())
    reach(empty_database, 25)
    assert trail(empty_database) == filled(1, 25)


@pytest.mark.parametrize(("settled", "gap"), [(20, None), (10, "sequences 11 to 20")])
def test_what_has_aged_out_is_a_gap_only_ahead_of_the_position(
    empty_database: str, events: Events, running: Run, settled: int, gap: str | None
) -> None:
    events.make()
    events.fill(1, settled)
    first = running(empty_database, events.url, definition())
    reach(empty_database, settled)
    first.stop()
    events.fill(settled + 1, 20 - settled)
    config = events.streams.api(f"STREAM.INFO.{STREAM}")["config"]
    events.streams.api(f"STREAM.UPDATE.{STREAM}", {**config, "max_age": 200_000_000, "duplicate_window": 200_000_000})
    wait_until("all have aged out", lambda: events.streams.messages(STREAM) == 0)
    events.streams.api(f"STREAM.UPDATE.{STREAM}", config)
    events.fill(21, 5)
    running(empty_database, events.url, definition())
    if gap is None:
        reach(empty_database, 25)
        assert trail(empty_database) == filled(1, 25)
    else:
        assert gap in stopped(empty_database)
        assert trail(empty_database) == filled(1, settled)


def test_a_stream_that_was_restored_from_a_copy_is_read_again_and_nothing_is_applied_twice(
    empty_database: str, own_nats: NatsServer, running: Run, tmp_path: Path
) -> None:
    events = Events(Streams(own_nats.url), own_nats.url)
    store, copy = own_nats.directory / "jetstream", tmp_path / "copy"
    events.make()
    events.fill(1, 20)
    running(empty_database, events.url, definition())
    reach(empty_database, 20)
    own_nats.stop()
    shutil.copytree(store, copy)
    own_nats.start()
    events.fill(21, 10)
    reach(empty_database, 30)
    own_nats.stop()
    shutil.rmtree(store)
    shutil.copytree(copy, store)
    own_nats.start()
    # The relay sends again what was lost, and goes on: the same sequences hold other messages.
    events.fill(25, 16)
    events.fill(21, 4)
    wait_until("all is settled", lambda: state(empty_database).get("applied") == 40)
    reach(empty_database, 40)
    assert trail(empty_database) == filled(1, 40)


def test_a_history_without_its_beginning_is_refused_unless_it_is_accepted(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.fill(1, 20)
    events.streams.api(f"STREAM.PURGE.{STREAM}", {"seq": 11})
    first = running(empty_database, events.url, definition())
    assert "sequences 1 to 10" in stopped(empty_database)
    first.stop()
    assert trail(empty_database) == {}
    running(empty_database, events.url, definition("partly", partial=True))
    wait_until("the rest", lambda: state(empty_database, "partly").get("position") == 20)
    assert trail(empty_database, "partly") == filled(11, 10)


def test_a_queue_is_refused(empty_database: str, events: Events, running: Run) -> None:
    events.make(retention="workqueue")
    running(empty_database, events.url, definition())
    assert "retention" in stopped(empty_database)


def test_a_stream_that_is_not_there_yet_is_waited_for(empty_database: str, events: Events, running: Run) -> None:
    running(empty_database, events.url, definition())
    wait_until("it waits", lambda: state(empty_database).get("status") == "waiting")
    assert "stream not found" in str(state(empty_database)["error"])
    events.make()
    events.fill(1, 5)
    reach(empty_database, 5)
    assert run_sql(empty_database, "SELECT status, error FROM projection.state") == [("running", None)]
