"""Runs the command line inside the test's own process."""

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
