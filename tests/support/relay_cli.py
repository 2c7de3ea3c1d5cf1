"""Runs the command line inside the test's own process."""

import psycopg
from click.testing import CliRunner, Result

from relay.cli import main


def relay(dsn: str | None, *args: str, **environ: str) -> Result:
    """Run a command against a database; nothing else of the configuration comes from outside."""
    env: dict[str, str | None] = {"RELAY_CONFIG": None, "TZ": "UTC", "COLUMNS": "200", "NO_COLOR": None, **environ}
    if dsn is not None:
        env["RELAY_POSTGRES__DSN"] = dsn
    return CliRunner().invoke(main, args, env=env)


def done(dsn: str | None, *args: str, **environ: str) -> Result:
    """Run a command that must succeed."""
    result = relay(dsn, *args, **environ)
    assert result.exit_code == 0, result.output
    return result


def once_begun(conn: psycopg.Connection, statement: str) -> None:
    """Run a statement right after a command has written down what it begins, in the same transaction."""
    conn.execute(
        "CREATE FUNCTION once_begun() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {statement}; RETURN NULL; END $$;"
        "CREATE TRIGGER once_begun AFTER INSERT ON outbox_audit FOR EACH STATEMENT EXECUTE FUNCTION once_begun()"
    )
