"""The stream is checked at each connect: a gap is told, and what a stream has lost is not applied twice."""

from relay.projection.definition import Handler
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import statement
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import STREAM, Events, definition, filled, run_sql, state, trail
from tests.support.fix_relay import wait_until

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
