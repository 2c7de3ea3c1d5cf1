"""Metrics and probes of `relay projection run`, on real servers."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from relay.demo.servers import free_port
from tests.integration.projection.fix_runner import run_by_command
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.test_refresh import FRAGILE
from tests.integration.projection.world import TABLES, Events, run_sql, state
from tests.support.fix_prometheus import promtool
from tests.support.fix_proxy import Proxy
from tests.support.fix_relay import wait_until
from tests.support.relay_cli import done, relay

# The time at which the stream stored an event counts then.
NOT_SAID: dict[str, Any] = {"Outbox-Created-At": None}


class Http:
    """The HTTP server of a runner."""

    def __init__(self) -> None:
        self.port = free_port()

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def value(self, name: str, **labels: str) -> float | None:
        """Return one sample of the projection, None if it is not there."""
        wanted = {"projection": "trail", **({} if "view" in labels else {"partition": "0"}), **labels}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == f"outbox_projection_{name}" and sample.labels == wanted:
                    return sample.value
        return None

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one projection."""
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    return tmp_path


@contextmanager
def runner(dsn: str, url: str, folder: Path) -> Iterator[Http]:
    """Run the projection by command, with a port of its own."""
    served = Http()
    with run_by_command(dsn, url, folder, RELAY_PROJECTION_HTTP__PORT=str(served.port)):
        yield served


def test_a_runner_says_how_far_it_is_and_what_it_has_done(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    now = run_sql(empty_database, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")[0][0]
    events.send((1, "a"), (2, "b"), **{"Outbox-Created-At": now})
    events.send((3, "a"), payload={"i": "x"}, **NOT_SAID)
    events.send((4, "a"), (5, "b"), (2, "b"), **NOT_SAID)
    with runner(empty_database, events.url, folder) as served:
        wait_until("it is ready", served.is_ready)
        wait_until("all is settled", lambda: served.value("position") == 6)
        assert served.get("/readyz")[1] == "ready: 1 running\n"
        assert served.get("/healthz") == (200, "ok\n")
        asked = ("health", "--projections", "--http-port", str(served.port))
        assert relay(None, *asked).stdout == "ok\n"
        assert relay(None, *asked, "--ready").stdout == "ready: 1 running\n"
        wait_until("nothing waits", lambda: served.value("lag_seconds") == 0.0)
        shown = {
            name: served.value(name) for name in ("owner", "parked_events", "pending_events", "applied_events_total")
        }
        assert shown == {"owner": 1, "parked_events": 2, "pending_events": 0, "applied_events_total": 3}
        assert served.value("refused_events_total") == 1
        assert served.value("repeats_total", why="settled") == 1
        assert served.value("status", status="running") == 1 and served.value("status", status="waiting") == 0
        assert served.value("latency_seconds_count") == 2
        assert (served.value("batch_duration_seconds_count") or 0) >= 1
        promtool("check", "metrics", stdin=served.get("/metrics")[1])

        number = run_sql(empty_database, "SELECT min(number) FROM projection.parked")[0][0]
        done(empty_database, "projection", "skip", "trail", "--number", str(number), "--yes")
        wait_until("it is skipped", lambda: served.value("parked_events") == 0)
        assert (served.value("skipped_events_total"), served.value("applied_events_total")) == (1, 4)

        done(empty_database, "projection", "pause", "trail", "--yes")
        wait_until("it is paused", lambda: served.value("status", status="paused") == 1)
        assert served.get("/readyz") == (200, "ready: 1 paused\n")
        assert (served.value("owner"), served.value("lag_seconds"), served.value("position")) == (0, None, 6)


def test_a_runner_is_not_ready_while_its_projection_has_stopped_also_after_a_restart(
    empty_database: str, events: Events, folder: Path
) -> None:
    events.make()
    events.fill(1, 10)
    events.streams.api("STREAM.PURGE.ORDERS", {"seq": 6})
    for _ in range(2):
        with runner(empty_database, events.url, folder) as served:
            wait_until("it has stopped", lambda: served.value("status", status="stopped") == 1)
            status, text = served.get("/readyz")
            assert status == 503 and text.startswith("trail partition 0: stopped: ") and "sequences 1 to 5" in text
            assert served.get("/healthz")[0] == 200
            assert state(empty_database)["owner"] is None


def test_the_margin_says_how_close_a_reader_is_to_what_its_stream_drops(
    empty_database: str, events: Events, folder: Path
) -> None:
    events.make()
    events.fill(1, 10)
    with runner(empty_database, events.url, folder) as served:
        wait_until("all is settled", lambda: served.value("position") == 10)
        config = events.streams.api("STREAM.INFO.ORDERS")["config"]
        events.streams.api("STREAM.UPDATE.ORDERS", {**config, "max_age": 3_600_000_000_000})
        wait_until("by age", lambda: served.value("retention_margin_seconds") == 3600.0)
        events.streams.api("STREAM.UPDATE.ORDERS", {**config, "max_msgs": 5})
        wait_until("by number", lambda: served.value("retention_margin_seconds") not in (None, 3600.0))
        assert (served.value("retention_margin_seconds") or 0.0) < 60.0
        events.streams.api("STREAM.UPDATE.ORDERS", config)
        wait_until("it drops nothing", lambda: served.value("retention_margin_seconds") is None)


@pytest.mark.parametrize("link", ["PostgreSQL", "NATS"])
def test_a_runner_is_not_ready_while_a_server_is_away_and_its_lag_grows(
    empty_database: str, events: Events, folder: Path, proxy: Callable[[int], Proxy], link: str
) -> None:
    events.make()
    events.fill(1, 3)
    known = conninfo_to_dict(empty_database)
    between = proxy(int(known.get("port") or 5432) if link == "PostgreSQL" else int(events.url.rpartition(":")[2]))
    dsn, url = empty_database, f"nats://127.0.0.1:{between.port}"
    if link == "PostgreSQL":
        dsn, url = make_conninfo(empty_database, host="127.0.0.1", port=between.port), events.url
    with runner(dsn, url, folder) as served:
        wait_until("all is applied", lambda: served.value("lag_seconds") == 0.0)
        between.refuse(True)
        between.cut()
        events.send((4, "k4"), **NOT_SAID)
        wait_until("it is not ready", lambda: not served.is_ready())
        wait_until("it waits", lambda: f"trail partition 0: waiting: {link}: " in served.get("/readyz")[1])
        wait_until("the lag grows", lambda: (served.value("lag_seconds") or 0) > 1.0)
        assert (served.value("failures_total", **{"class": "outage"}) or 0) >= 1
        between.flow()
        wait_until("it is ready again", served.is_ready, timeout_s=60)
        wait_until("all is applied", lambda: served.value("lag_seconds") == 0.0)
        assert served.value("position") == 4


def test_a_standby_is_ready_and_a_port_that_is_taken_is_said(empty_database: str, events: Events, folder: Path) -> None:
    events.make()
    with runner(empty_database, events.url, folder) as first, runner(empty_database, events.url, folder) as second:
        wait_until("both are ready", lambda: first.is_ready() and second.is_ready())
        owners = [one.value("owner") for one in (first, second)]
        assert sorted(str(one) for one in owners) == ["0.0", "1.0"]
        standby = (first, second)[owners.index(0.0)]
        assert standby.get("/readyz")[1] == "ready: 1 standby\n"
        refused = relay(
            empty_database, "projection", "run", str(folder), "--http-port", str(first.port),
            RELAY_NATS__SERVERS=events.url,
        )  # fmt: skip
        assert refused.exit_code == 2
        assert f"[projection_http] cannot listen on 127.0.0.1 port {first.port}" in refused.stderr


def test_the_age_of_a_view_and_failures_in_a_row_are_shown(empty_database: str, events: Events, folder: Path) -> None:
    (folder / "trail.sql").write_text(TABLES + FRAGILE, "utf-8")
    text = (folder / "trail.toml").read_text("utf-8")
    (folder / "trail.toml").write_text(f'{text}\n[[refresh]]\nview = "fragile"\nevery = "1s"\n', "utf-8")
    events.make()
    events.fill(1, 1)
    with runner(empty_database, events.url, folder) as served:

        def value(name: str) -> float | None:
            return served.value(f"refresh_{name}", view="fragile")

        wait_until("it fails again and again", lambda: (value("failures") or 0) >= 2)
        assert (value("age_seconds"), value("duration_seconds")) == (None, None)
        events.send((2, "mend"))
        wait_until("it is refreshed", lambda: value("age_seconds") is not None)
        assert (value("failures"), served.is_ready()) == (0, True)
        assert 0 < (value("duration_seconds") or 0) < 10


def test_a_runner_whose_database_is_silent_is_not_called_well(
    empty_database: str, events: Events, folder: Path, proxy: Callable[[int], Proxy]
) -> None:
    events.make()
    events.fill(1, 3)
    between = proxy(int(conninfo_to_dict(empty_database).get("port") or 5432))
    with runner(make_conninfo(empty_database, host="127.0.0.1", port=between.port), events.url, folder) as served:
        wait_until("all is applied", lambda: served.value("lag_seconds") == 0.0)
        between.swallow()
        events.send((4, "k4"), **NOT_SAID)
        wait_until("it is not ready", lambda: not served.is_ready(), timeout_s=60)
        assert served.get("/readyz")[1].startswith(("trail partition 0: stalled: ", "trail partition 0: waiting: "))
        assert served.get("/healthz")[0] == 200
        assert (served.value("lag_seconds") or 0) > 1
        between.flow()
        wait_until("it is ready again", served.is_ready, timeout_s=60)
        wait_until("all is applied", lambda: served.value("position") == 4, timeout_s=60)
