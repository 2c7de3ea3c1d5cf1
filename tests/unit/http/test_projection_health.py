"""What the probes of `relay projection run` say."""

from relay.http.projection_health import ProjectionProbes
from relay.observe.projection_metrics import ProjectionMetrics
from relay.observe.projection_progress import Standing
from relay.observe.snapshot import STUCK_AFTER_S, UNREADY_AFTER_S


def test_a_partition_that_does_not_flow_is_named_with_its_reason() -> None:
    metrics = ProjectionMetrics()
    probes = ProjectionProbes(metrics)
    first, second = metrics.partition("order_list", 0), metrics.partition("alarms", 3)
    assert probes.ready_faults() == ["order_list partition 0: starting", "alarms partition 3: starting"]
    first.claimed()
    first.reading(1, 0)
    second.fails("outage", "PostgreSQL:\ngone")
    assert probes.ready_faults() == ["alarms partition 3: waiting: PostgreSQL:\\ngone"]
    second.not_ours(Standing("stopped", "a gap", 1, 0, None))
    assert probes.ready_faults() == ["alarms partition 3: stopped: a gap"]


def test_a_standby_and_what_an_operator_has_paused_are_no_fault_and_are_said() -> None:
    metrics = ProjectionMetrics()
    probes = ProjectionProbes(metrics)
    for partition, standing in enumerate(
        (Standing("standby", None, 1, 0, None), *[Standing("paused", None, 1, 0, None)] * 2)
    ):
        metrics.partition("order_list", partition).not_ours(standing)
    assert probes.ready_faults() == []
    assert probes.standing() == "2 paused, 1 standby"


def test_only_a_loop_that_does_not_turn_asks_for_a_restart() -> None:
    metrics = ProjectionMetrics()
    probes = ProjectionProbes(metrics)
    metrics.partition("order_list", 0).fails("outage", "gone")
    assert probes.health_faults() == []
    metrics.turned_at -= UNREADY_AFTER_S + 1
    assert (probes.health_faults(), probes.ready_faults()) == ([], ["the loop has not turned for 6 s"])
    metrics.turn()
    metrics.turned_at -= STUCK_AFTER_S + 1
    assert probes.health_faults() == ["the loop has not turned for 16 s"]
    metrics.turn()
    assert probes.health_faults() == []
