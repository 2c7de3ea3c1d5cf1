"""The alerts name metrics that exist, lead to a page that helps, and are tried in both directions."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.fix_prometheus import RULES
from tests.support.fix_relay import ROOT
from tests.support.promql import Labels, documented, faults

GROUPS = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
ALL = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in ALL if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
CASES = yaml.safe_load((ROOT / "tests" / "alerts" / "rules_test.yaml").read_text("utf-8"))


def known() -> dict[str, Labels]:
    """Return what can be asked for: the documented metrics, and what the rules record."""
    recorded: dict[str, Labels] = {rule["record"]: {} for rule in ALL if "record" in rule}
    return {**documented(), **recorded}


def tried(name: str) -> Iterator[list[dict[str, Any]]]:
    """Yield what each case expects of an alert: the labels of those that fire, perhaps none."""
    for case in CASES["tests"]:
        for moment in case["alert_rule_test"]:
            if moment["alertname"] == name:
                yield [alert["exp_labels"] for alert in moment["exp_alerts"]]


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_rule_asks_for_what_a_relay_exports(rule: dict[str, Any]) -> None:
    assert faults(rule["expr"], known()) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(outbox_relay_nonsense)", "no metric outbox_relay_nonsense"),
        ('outbox_relay_role{rule="active"}', "outbox_relay_role has no label rule"),
        ('outbox_relay_role{role=~"active|asleep"}', "outbox_relay_role has no role asleep"),
        ("sum by (topic) (outbox_relay_dead_letters_total)", "no series of it has the label topic"),
        (
            "outbox_relay_stalled > on (job) group_left (color) outbox_relay_stalled",
            "no series of it has the label color",
        ),
        ("sum(rate(outbox_relay_stalled))", "expected type matrix"),
    ],
)
def test_a_query_for_what_nobody_exports_is_found(expression: str, fault: str) -> None:
    found = faults(expression, documented())
    assert len(found) == 1 and fault in found[0]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_each_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("OutboxRelay")
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations/runbooks/{rule['alert']}.md"


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_tried_where_it_fires_and_where_it_does_not(name: str) -> None:
    severities = {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name}
    moments = list(tried(name))
    assert {labels["severity"] for moment in moments for labels in moment} == severities
    assert [] in moments
