"""What the doctor says of read models: the headers they need, and each projection that does not flow."""

from dataclasses import replace
from typing import Any

import pytest

from relay.operate.doctor.facts import Expectation, PartitionFacts, PostgresFacts, ProjectionFacts, RedisFacts
from relay.operate.doctor.findings import Finding
from relay.operate.doctor.judge_projections import judge_projections

PLAN = Expectation(sends_key=True, sends_seq=True, sends_created_at=True, watermark=True)
GOOD = PartitionFacts("order_list", 0, "running", None, True, 4711, 0, 1.2, 0)


def judged(*partitions: PartitionFacts, plan: Expectation = PLAN, has_origin: bool = True) -> list[Finding]:
    facts = PostgresFacts(has_origin=has_origin, projections=ProjectionFacts(partitions))
    return list(judge_projections(facts, plan))


def told(*partitions: PartitionFacts, plan: Expectation = PLAN) -> list[tuple[str, str]]:
    """Return level and text of what is not well."""
    return [(one.level, one.seen) for one in judged(*partitions, plan=plan) if one.level != "ok"]


def test_a_projection_that_flows_gets_one_line_and_says_how_complete_it_is() -> None:
    _, found = judged(GOOD)
    assert (found.check, found.level) == ("projection order_list", "ok")
    assert found.seen == "running, at sequence 4,711 of its stream, complete up to 1.2 s ago"


@pytest.mark.parametrize(
    ("changes", "level", "seen"),
    [
        ({"status": "stopped", "reason": "a gap", "owned": False}, "fault", "stopped: a gap"),
        ({"status": "paused", "owned": False}, "warning", "paused by an operator"),
        ({"status": "idle", "owned": False}, "fault", "nobody runs it"),
        ({"status": "waiting", "reason": "NATS: gone", "owned": False}, "fault", "nobody runs it"),
        ({"status": "waiting", "reason": "NATS: gone"}, "warning", "waits: NATS: gone"),
        ({"parked": 2}, "warning", "2 events are parked"),
        ({"crashes": 2}, "warning", "2 processes in a row have ended"),
        ({"complete_s": 4000.0}, "warning", "it was complete 4000 s ago, and not since"),
    ],
)
def test_each_trouble_of_a_projection_has_its_line_and_an_advice(
    changes: dict[str, Any], level: str, seen: str
) -> None:
    (found,) = [one for one in judged(replace(GOOD, **changes)) if one.level != "ok"]
    assert (found.level, found.do != "") == (level, True)
    assert found.seen.startswith(seen)


def test_of_several_partitions_the_one_is_named_that_does_not_flow() -> None:
    found = told(GOOD, replace(GOOD, partition=1, status="stopped", reason="a gap", owned=False))
    assert found == [("fault", "partition 1: stopped: a gap")]


@pytest.mark.parametrize(
    ("plan", "has_origin", "without", "beside"),
    [
        (PLAN, True, "ok", "ok"),
        (replace(PLAN, sends_key=False), True, "ok", "warning"),
        (replace(PLAN, sends_seq=False), True, "ok", "warning"),
        (replace(PLAN, sends_created_at=False), True, "ok", "ok"),
        (PLAN, False, "ok", "warning"),
    ],
)
def test_a_missing_header_is_a_warning_if_there_is_a_projection_that_needs_it(
    plan: Expectation, has_origin: bool, without: str, beside: str
) -> None:
    assert judged(plan=plan, has_origin=has_origin)[0].level == without
    assert judged(GOOD, plan=plan, has_origin=has_origin)[0].level == beside


def test_projections_that_this_login_may_not_read_are_said_and_are_no_fault() -> None:
    facts = PostgresFacts(has_origin=True, projections=ProjectionFacts(refused="this role may not read them"))
    found = list(judge_projections(facts, replace(PLAN, watermark=False)))
    assert [one.level for one in found] == ["ok", "ok"]
    assert "may not read" in found[1].seen and "GRANT" in found[1].do


def test_without_a_watermark_it_is_said_that_completeness_is_not_known() -> None:
    found = judged(replace(GOOD, complete_s=None), plan=replace(PLAN, watermark=False))
    assert [(one.check, one.level) for one in found[1:]] == [("watermark", "ok"), ("projection order_list", "ok")]
    assert found[2].seen == "running, at sequence 4,711 of its stream"


@pytest.mark.parametrize(
    ("partitions", "level"), [((), "ok"), ((GOOD,), "warning")], ids=["no projection", "a projection in Redis"]
)
def test_headers_are_needed_by_projections_in_redis_too(partitions: tuple[PartitionFacts, ...], level: str) -> None:
    facts, plan = PostgresFacts(has_origin=True), replace(PLAN, sends_seq=False)
    assert next(iter(judge_projections(facts, plan, RedisFacts(partitions)))).level == level


def test_of_a_projection_in_redis_the_commands_for_it_are_named_also_if_postgres_is_gone() -> None:
    stopped = replace(GOOD, status="stopped", reason="a gap", owned=False)
    _, found = judge_projections(PostgresFacts(error="gone"), PLAN, RedisFacts((stopped,)))
    assert (found.level, found.seen) == ("fault", "stopped: a gap")
    assert found.do == "relay projection redis list; once the cause is gone, relay projection redis resume order_list"


def test_a_redis_that_cannot_be_used_is_a_fault() -> None:
    (found,) = judge_projections(PostgresFacts(error="gone"), PLAN, RedisFacts(error="Redis: refused"))
    assert (found.level, found.check, found.seen) == ("fault", "redis", "Redis: refused")


def test_nothing_is_said_of_projections_if_the_database_does_not_answer() -> None:
    assert list(judge_projections(PostgresFacts(error="gone"), PLAN)) == []
