"""The alerts, as Prometheus itself judges them."""

from tests.fix_prometheus import RULES, promtool
from tests.fix_relay import ROOT, Outbox
from tests.unit.test_runbooks import PAGES, blocks


def test_prometheus_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", str(ROOT / "tests" / "alerts" / "rules_test.yaml"))


def test_the_sql_of_the_runbooks_runs(outbox: Outbox) -> None:
    statements = [block for page in PAGES.values() for block in blocks(page, "sql")]
    assert len(statements) >= 4
    for statement in statements:
        outbox.conn.execute(statement.encode())
