"""Two operators at once: what one has changed, while the other waits for the table, is seen before anything is done."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import Result

from tests.support.fix_relay import wait_until
from tests.support.relay_cli import done, relay

TABLE = """
CREATE TABLE outbox (
    id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL, payload jsonb
)"""
WAITS = "SELECT count(*) FROM pg_locks WHERE relation = 'outbox'::regclass AND NOT granted"
CUTOVER = ("adopt", "cutover", "--preset", "debezium", "--publication", "dbz", "--yes")
INSTALL = ("adopt", "install", "--preset", "debezium", "--yes")
BACKFILL = ("adopt", "backfill", "--preset", "debezium", "--where", "true", "--unordered", "--yes")
REMOVE = ("adopt", "remove", "--source", "outbox", "--yes")
BACK = (*REMOVE, "--give-back", "dbz", "--wait", "0")
DROP = "DROP TRIGGER outbox_adopt ON outbox"
OUT = "ALTER PUBLICATION dbz DROP TABLE outbox"


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(TABLE)
        conn.execute("CREATE PUBLICATION dbz FOR TABLE outbox")
        yield conn


@pytest.mark.parametrize(
    ("begun", "command", "change", "seen"),
    [
        ((), CUTOVER, OUT, "publication dbz does not carry the table"),
        ((), CUTOVER, "DROP PUBLICATION dbz", "publication dbz does not carry the table"),
        ((), CUTOVER, "ALTER PUBLICATION dbz SET TABLE outbox WHERE (type = 'a')", "--when"),
        ((), CUTOVER, "ALTER TABLE outbox DROP COLUMN type", "column type does not exist"),
        ((), CUTOVER, "DROP TABLE outbox", "another change came between"),
        ((), INSTALL, "ALTER TABLE outbox RENAME TO outbox_old", "another change came between"),
        ((), INSTALL, "CREATE TABLE child () INHERITS (outbox)", "rows of child, which inherits from it"),
        (INSTALL, CUTOVER, OUT, "is adopted already"),
        (INSTALL, BACKFILL, DROP, "outbox is not adopted by public.outbox_events"),
        (INSTALL, REMOVE, DROP, "is not adopted by public.outbox_events"),
        (INSTALL, REMOVE, "DROP TABLE outbox", "another change came between"),
        (CUTOVER, BACK, DROP, "is not adopted by public.outbox_events"),
        (CUTOVER, BACK, "ALTER PUBLICATION dbz ADD TABLE outbox", "publication dbz carries"),
        (CUTOVER, BACK, "DROP PUBLICATION dbz", "there is no publication dbz"),
    ],
)
def test_what_another_operator_changes_meanwhile_is_one_line(
    database: str, db: psycopg.Connection, begun: tuple[str, ...], command: tuple[str, ...], change: str, seen: str
) -> None:
    if "WHERE" in change and db.info.server_version < 150000:
        pytest.skip("this run was pointed at a PostgreSQL older than 15, which has no row filter")
    if begun:
        done(database, *begun)
    results: list[Result] = []
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE outbox IN ROW EXCLUSIVE MODE")
        operator = threading.Thread(target=lambda: results.append(relay(database, *command)))
        operator.start()
        wait_until("it waits for the table", lambda: not operator.is_alive() or db.execute(WAITS).fetchone() == (1,))
        other.execute(change.encode())
        other.commit()
        operator.join(20)
    (result,) = results
    assert result.exit_code == 8, result.output
    assert seen in result.stderr
    told = [line for line in result.stderr.splitlines() if not line.startswith("without --slot")]
    assert (len(told), result.stdout) == (1, "")


def test_two_operators_who_do_the_same_are_no_fault_of_each_other(database: str, db: psycopg.Connection) -> None:
    done(database, *INSTALL)
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE outbox IN ROW EXCLUSIVE MODE")
        results: list[Result] = []
        operator = threading.Thread(target=lambda: results.append(relay(database, *INSTALL)))
        operator.start()
        wait_until("it waits for the table", lambda: not operator.is_alive() or db.execute(WAITS).fetchone() == (1,))
    operator.join(20)
    assert results[0].exit_code == 0, results[0].output
    assert "copies each new row" in done(database, "adopt", "status").stdout
