"""The alerts, as Prometheus itself judges them."""

from functools import partial
from pathlib import Path

from relay.demo.servers import NatsServer, free_port
from tests.integration.projection.fix_runner import run_by_command
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import TABLES
from tests.support.fix_prometheus import RULES, MakePrometheus, panel_queries, promtool
from tests.support.fix_relay import ROOT, MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams
from tests.support.relay_cli import done
from tests.unit.observe.test_runbooks import PAGES, blocks

REFRESH = """
[[refresh]]
view = "keys"
every = "1s"
"""
VIEW = """;
CREATE MATERIALIZED VIEW keys AS SELECT key FROM trail;
CREATE UNIQUE INDEX ON keys (key);
"""


def test_prometheus_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", str(ROOT / "tests" / "alerts" / "rules_test.yaml"))


def test_the_sql_of_the_runbooks_runs(outbox: Outbox) -> None:
    statements = [block for page in PAGES.values() for block in blocks(page, "sql")]
    assert len(statements) >= 4
    for statement in statements:
        outbox.conn.execute(statement.encode())


def test_the_alert_of_lag_fires_when_nats_is_stopped(
    own_nats: NatsServer, outbox: Outbox, make_relay: MakeRelay, make_prometheus: MakePrometheus
) -> None:
    Streams(own_nats.url).make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, delivery__objective_s="2").start()
    outbox.insert("orders.placed")
    outbox.drained()
    promtool("check", "metrics", stdin=relay.get("/metrics")[1])
    prometheus = make_prometheus(relay.target)
    prometheus.scrapes()
    wait_until("every rule was judged", lambda: not prometheus.unhealthy())
    assert prometheus.firing() == set()
    own_nats.stop()
    outbox.insert("orders.placed")
    late = ("OutboxRelayLagOverObjective", "critical")
    wait_until("the alert fires", lambda: late in prometheus.firing())
    assert ("OutboxRelayDown", "critical") not in prometheus.firing()
    own_nats.start()
    outbox.drained()
    wait_until("no lag is seen", lambda: prometheus.query("job:outbox_relay_lag_over_objective:bool") == [0.0])


def test_each_panel_of_the_dashboard_has_something_to_show(
    streams: Streams,
    outbox: Outbox,
    empty_database: str,
    tmp_path: Path,
    make_relay: MakeRelay,
    make_prometheus: MakePrometheus,
) -> None:
    streams.make("ORDERS", "orders.>", max_age=3_600_000_000_000, max_msgs=1_000_000)
    outbox.conn.execute("CREATE TABLE theirs (id uuid PRIMARY KEY, topic text NOT NULL, payload jsonb NOT NULL)")
    done(outbox.dsn, "adopt", "install", "--source", "theirs", "--topic", "{topic}", "--yes")
    consumer = {"durable_name": "list", "ack_policy": "explicit"}
    streams.api("CONSUMER.DURABLE.CREATE.ORDERS.list", {"stream_name": "ORDERS", "config": consumer})
    settings = {
        "headers__key": "true",
        "headers__seq": "true",
        "headers__created_at": "true",
        "watermark__subject": "orders.watermark",
    }
    relay = make_relay(
        outbox.dsn, streams.url, consumers__poll_every_s="1", retention__delivered_age_s="3600", **settings
    ).start()
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each") + REFRESH, "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES + VIEW, "utf-8")
    port, subject = free_port(), settings["watermark__subject"]
    with run_by_command(
        empty_database, streams.url, tmp_path, RELAY_PROJECTION_HTTP__PORT=str(port), RELAY_WATERMARK__SUBJECT=subject
    ):
        prometheus = make_prometheus(relay.target, f"127.0.0.1:{port}")
        prometheus.scrapes()
        outbox.fill("orders.placed", 100, 10)
        outbox.drained()
        for title, queries in panel_queries(namespace=".*", job="relay").items():
            for query in queries:
                wait_until(f"{title}: {query}", partial(prometheus.query, query))
