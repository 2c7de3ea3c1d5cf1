"""``relay audit``, and the lines that commands leave for it."""

import json

import psycopg
import pytest

from relay.config.settings import load
from relay.operate.changes import Audit, Changer, changing
from relay.operate.filters import Filters
from tests.support.relay_cli import done


def break_off(changer: Changer, audit: Audit) -> None:
    with changer.step():
        audit.add(100)
        raise ZeroDivisionError


def test_a_change_is_counted_in_the_transaction_that_makes_it(database: str) -> None:
    settings = load(environ={"RELAY_POSTGRES__DSN": database})
    with changing(settings) as changer:
        audit = changer.begin("dead retry", Filters(topic="orders.>", since=0.0).as_record(), 7)
        with changer.step():
            audit.add(3, position=40)
        with pytest.raises(ZeroDivisionError):
            break_off(changer, audit)
        (line,) = done(database, "audit", "--output", "json").stdout.splitlines()
        shown = json.loads(line)
        assert (shown["action"], shown["planned"], shown["events"], shown["position"]) == ("dead retry", 7, 3, 40)
        assert shown["filter"] == {"topic": "orders.>", "since": "1970-01-01T00:00:00.000000Z"}
        assert (shown["ended_at"], shown["role"]) == (None, "postgres")
        assert "@" in shown["who"]
        assert "3 of 7" in done(database, "audit").stdout
        assert "not finished  since=1970-01-01T00:00:00.000000Z topic=orders.>" in done(database, "audit").stdout
        audit.end()
    assert "  done  " in done(database, "audit").stdout


def test_the_newest_action_comes_first_and_the_limit_holds(database: str) -> None:
    assert done(database, "audit").stderr == "nothing was changed by a command yet\n"
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO outbox_audit (who, action, filter, planned) SELECT 'me', 'a' || g, '{}', 1"
            " FROM generate_series(1, 3) g"
        )
    lines = done(database, "audit", "--output", "json", "--limit", "2").stdout.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["a3", "a2"]
