"""``relay doctor`` on a database with projections, on real servers."""

import json
from pathlib import Path
from typing import Any

from tests.integration.projection.fix_runner import run_by_command
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import TABLES, run_sql, state
from tests.support.fix_relay import Outbox, wait_until
from tests.support.fix_rights import NATS_USER, as_relay
from tests.support.fix_stream import Streams
from tests.support.relay_cli import relay

HEADERS = {f"RELAY_HEADERS__{name}": "true" for name in ("KEY", "SEQ", "CREATED_AT")}


def of_projections(dsn: str, url: str, **environ: str) -> dict[str, dict[str, Any]]:
    """Return what the doctor says of projections, by check."""
    user = {f"RELAY_{name.upper()}": value for name, value in NATS_USER.items()}
    result = relay(dsn, "doctor", "--output", "json", RELAY_NATS__SERVERS=url, **user, **environ)
    assert "Traceback" not in result.output
    return {one["check"]: one for one in json.loads(result.stdout)["findings"] if one["part"] == "projections"}


def test_the_doctor_says_what_projections_need_and_which_one_does_not_flow(
    outbox: Outbox, streams: Streams, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>", allow_atomic=True, allow_direct=True)
    before = of_projections(as_relay(outbox.dsn), streams.url)
    assert {check: one["level"] for check, one in before.items()} == {"headers": "ok"}
    assert "not sent: key, seq, created_at;" in before["headers"]["seen"]

    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    with run_by_command(outbox.dsn, streams.url, tmp_path):
        wait_until("it runs", lambda: state(outbox.dsn).get("owner") is not None)
        wait_until("it is well", lambda: of_projections(outbox.dsn, streams.url)["projection trail"]["level"] == "ok")
        found = of_projections(outbox.dsn, streams.url)
        assert found["headers"]["level"] == "warning", "they are needed now"
        assert of_projections(outbox.dsn, streams.url, **HEADERS)["headers"]["level"] == "ok"
        hidden = of_projections(as_relay(outbox.dsn), streams.url, **HEADERS)
        assert "may not read" in hidden["state"]["seen"] and "projection trail" not in hidden
    assert of_projections(outbox.dsn, streams.url)["projection trail"]["seen"] == "nobody runs it"
    run_sql(outbox.dsn, "UPDATE projection.state SET status = 'stopped', error = 'a gap'")
    stopped = of_projections(outbox.dsn, streams.url)["projection trail"]
    assert (stopped["level"], stopped["seen"]) == ("fault", "stopped: a gap")
    assert "relay projection resume trail" in stopped["do"]
