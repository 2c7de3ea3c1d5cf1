"""The dashboard asks for metrics that exist, shows every one of them, and can be read by Grafana."""

import json
import re
from typing import Any

import pytest

from tests.support.fix_prometheus import DASHBOARD, panel_queries
from tests.support.promql import faults, table
from tests.unit.observe.test_alerts import known

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
QUERIES = panel_queries(namespace=".*", job=".*")
ROWS = ["Health", "Flow", "Lag", "Failures", "Database", "Read models", "Projections"]
# What is shown in another way: by its age, or by the objective.
ELSEWHERE = {"outbox_relay_oldest_pending_timestamp_seconds", "outbox_relay_watermark_seq"}


def test_it_has_a_row_for_each_question() -> None:
    assert [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"] == ROWS


@pytest.mark.parametrize("title", QUERIES)
def test_each_query_names_a_metric_that_exists(title: str) -> None:
    assert QUERIES[title]
    for query in QUERIES[title]:
        assert faults(query, known()) == [], query
        assert "$" not in query


def test_each_query_is_narrowed_to_what_is_chosen() -> None:
    texts = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", [])]
    for text in texts:
        for selector in re.findall(
            r"\b(?:outbox_relay|outbox_projection|process)_\w+(?:\{[^}]*\})?|job:\w+:bool(?:\{[^}]*\})?", text
        ):
            assert '{namespace=~"$namespace", job=~"$job"' in selector, text
    names = {variable["name"] for variable in BOARD["templating"]["list"]}
    assert {name for text in texts for name in re.findall(r"\$(\w+)", text)} - {"__rate_interval"} <= names


def test_each_metric_of_the_relay_is_shown() -> None:
    text = " ".join(query for queries in QUERIES.values() for query in queries)
    missing = {name for name in table() if name.startswith("outbox_") and name not in text}
    assert missing == ELSEWHERE


def test_panels_lie_side_by_side_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["title"] and panel["description"]
            assert panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
