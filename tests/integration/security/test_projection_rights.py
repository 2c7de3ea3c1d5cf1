"""A runner of projections needs what the page on security grants it, and no more than that."""

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from relay.demo.servers import NatsServer
from tests.integration.projection.fix_runner import run_by_command
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import TABLES, Events, filled, run_sql, state, trail
from tests.support.fix_relay import ROOT, wait_until
from tests.support.fix_rights import documented_runner_permissions
from tests.support.fix_stream import Streams

PAGE = (ROOT / "docs" / "operations" / "security.md").read_text("utf-8").partition("\n## Projections\n")[2]
MARK = {"seq": 10, "origin": "", "complete_up_to": "2026-01-01T00:00:00+00:00"}
ROLE = "models_runner"


def shown(pattern: str) -> str:
    """Return what the section shows between two lines."""
    found = re.search(pattern, PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def as_runner(dsn: str) -> str:
    """Make the role as the page does; return the address under which it logs in."""
    parts = urlsplit(dsn)
    database = parts.path.removeprefix("/")
    run_sql(dsn, f"DROP ROLE IF EXISTS {ROLE}")
    for line in shown(r"^```sql\n(.*?)^```$").splitlines():
        statement = line.partition(" --")[0].replace("'...'", "'secret'")
        run_sql(dsn, statement.replace("DATABASE shop", f"DATABASE {database}"))
    return urlunsplit(parts._replace(netloc=f"{ROLE}:secret@{parts.netloc.rpartition('@')[2]}"))


def test_a_runner_keeps_a_model_with_the_rights_of_the_page(tmp_path: Path, empty_database: str) -> None:
    runner = f"user: models, password: secret, permissions: {documented_runner_permissions()}"
    users = f"users: [ {{ user: admin, password: admin }}, {{ {runner} }} ]"
    config = f"accounts {{ A {{ jetstream: enabled, {users} }} }}\nno_auth_user: admin\n"
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    with NatsServer(tmp_path / "nats", config=config) as server:
        events = Events(Streams(server.url), server.url)
        events.make()
        events.fill(1, 10)
        events.streams.publish("orders.watermark", MARK)
        dsn = as_runner(empty_database)
        try:
            with run_by_command(
                dsn,
                server.url,
                tmp_path,
                RELAY_WATERMARK__SUBJECT="orders.watermark",
                RELAY_NATS__USER="models",
                RELAY_NATS__PASSWORD="secret",
            ):
                wait_until("all is settled", lambda: state(empty_database).get("position") == 11)
                wait_until(
                    "the watermark is known",
                    lambda: run_sql(empty_database, "SELECT complete_seq FROM projection.state") == [(10,)],
                )
            assert trail(empty_database) == filled(1, 10)
        finally:
            run_sql(empty_database, f"DROP OWNED BY {ROLE} CASCADE; DROP ROLE {ROLE}")
        assert "iolation" not in server.log.read_text("utf-8")
