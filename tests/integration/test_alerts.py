"""The alerts, as Prometheus itself judges them."""

from tests.fix_prometheus import RULES, promtool
from tests.fix_relay import ROOT


def test_prometheus_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", str(ROOT / "tests" / "alerts" / "rules_test.yaml"))
