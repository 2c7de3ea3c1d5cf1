"""What comes to a handler in PostgreSQL is what was sent, or the event is refused, as in Redis."""

import json

import pytest

from relay.projection import Definition, Event, Projection, Transaction, on
from relay.projection.definition import Handler
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import statement
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import STREAM, Events, definition, headers_of, run_sql, state
from tests.support.fix_relay import wait_until

TABLES = "CREATE TABLE found (key text PRIMARY KEY, value text)"
COPY = statement("INSERT INTO found SELECT key, data->>'value' FROM event ON CONFLICT DO NOTHING")
REFUSED = "refused"
# What a statement finds, as a text, and what Python does; both find the same if one is given.
VALUES: dict[bytes, object] = {
    b"9007199254740993": ("9007199254740993", 9007199254740993),
    b"12345678901234567890123": ("12345678901234567890123", 12345678901234567890123),
    b"1e400": ("1e400", REFUSED),  # no float of Python holds it
    b"-1e400": ("-1e400", REFUSED),
    b"1e-400": ("1e-400", 0.0),
    b"NaN": REFUSED,
    b"Infinity": REFUSED,
    b"-Infinity": REFUSED,
    b"0x10": REFUSED,
    b"01": REFUSED,
    b"1.": REFUSED,
    b"+1": REFUSED,
    b"-0": ("-0", 0),
    b"-0.0": ("-0.0", -0.0),
    b"0.1": ("0.1", 0.1),
    b"true": ("true", True),
    b"null": (None, None),
    b"[null]": ("[null]", [None]),
    b'"\\ud83d\\ude00 \\u00e9"': "\U0001f600 \u00e9",
    b'"\\ud800"': REFUSED,
    b'"\\u0000"': (REFUSED, "\x00"),  # a text of PostgreSQL cannot hold it
    b'"\xff"': REFUSED,
    b'"': REFUSED,
    b'""': "",
    b'1, "value": 2': ("2", 2),
    b'1}, {"value": 2': REFUSED,
    b'1}\x1e{"value": 2': REFUSED,
    b'1}\x00{"value": 2': REFUSED,
    b"1" * 5_000: ("1" * 5_000, REFUSED),  # Python reads no number of so many digits
    b"[" * 2_000 + b"]" * 2_000: ("[" * 2_000 + "]" * 2_000, REFUSED),
}


class InPython(Projection):
    """Keeps each value as Python writes it."""

    name, stream, subjects, version, tables = "trail", STREAM, ["orders.>"], 1, TABLES

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Write it down."""
        await tx.execute("INSERT INTO found VALUES ($1, $2)", [event.key, repr(event.data["value"])])
        await tx.execute("SELECT $1::text", [json.dumps(event.data, ensure_ascii=False)])


def _by_statement(mode: Mode) -> Definition:
    return definition(tables=TABLES, handlers=(Handler("orders.>", None, mode, sql=COPY),))


@pytest.mark.parametrize("usual", [True, False], ids=["by columns", "one by one"])
@pytest.mark.parametrize("way", ["each", "set", "fold", "python"])
def test_a_value_is_found_as_it_was_sent_or_its_event_is_refused(
    empty_database: str, events: Events, running: Run, way: str, usual: bool
) -> None:
    """Each is sent behind a good event: so many refusals in a row would stop the projection."""
    in_python = way == "python"
    own: dict[str, str | None] = {} if usual else {"Outbox-Created-At": None}
    events.make()
    for place, value in enumerate(VALUES):
        good, other = (headers_of(2 * place + one, f"{name}{place}") | own for one, name in ((1, "g"), (2, "v")))
        events.store([("orders.placed", {"value": 0}, good), ("orders.placed", b'{"value": %b}' % value, other)])
    running(empty_database, events.url, InPython if in_python else _by_statement(Mode(way)))
    last = 2 * len(VALUES)
    wait_until("all is settled", lambda: state(empty_database).get("position") == last, 60)

    found = dict(run_sql(empty_database, "SELECT key, value FROM trail.found"))
    parked = {row[0] for row in run_sql(empty_database, "SELECT key FROM projection.parked")}
    for place, (sent, both) in enumerate(VALUES.items()):
        wanted = both[in_python] if isinstance(both, tuple) else both
        key = f"v{place}"
        assert (sent, key in parked) == (sent, wanted == REFUSED)
        if wanted != REFUSED:
            assert found[key] == (repr(wanted) if in_python else wanted)
    assert all(found[f"g{place}"] == "0" for place in range(len(VALUES)))
