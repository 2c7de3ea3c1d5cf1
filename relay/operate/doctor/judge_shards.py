"""Judge the shards, and what is stored with them by the clock of the database. Pure."""

from collections.abc import Iterator

from relay.operate.doctor.facts import Expectation, Leases
from relay.operate.doctor.findings import Finding, Level, seconds

_SHARDS = 64
# A lease is renewed once a second, and taken for its whole length each time.
_ROOM_S = 2.0


def judge_shards(leases: Leases, plan: Expectation) -> Iterator[Finding]:
    """Judge whether each event has a shard that somebody can own, and whether times of the future hold them up."""
    if leases.shards == _SHARDS and leases.complete:
        yield _line("shards", "ok", f"{_SHARDS}")
    else:
        seen = f"{leases.shards} of {_SHARDS} are in outbox_shards: two relays would leave events of the others"
        do = (
            "stop every relay, then INSERT INTO outbox_shards (shard)"
            f" SELECT generate_series(0, {_SHARDS - 1}) ON CONFLICT DO NOTHING"
        )
        yield _line("shards", "fault", seen, do)
    ahead_s = leases.ahead_s or 0.0
    if ahead_s > plan.lease_ttl_s + _ROOM_S:
        seen = (
            f"one runs for {seconds(round(ahead_s))} more, and lease.ttl_s is {plan.lease_ttl_s:g} here: another"
            " relay has a longer one, or the clock of the database was set back. If its owner is gone, its shards wait"
            " as long"
        )
        do = "once that relay has ended: DELETE FROM outbox_members, and UPDATE outbox_shards SET lease_until = now()"
        yield _line("leases", "warning", seen, do + ", for that owner alone")
    else:
        yield _line("leases", "ok", "none runs for longer than lease.ttl_s")
    if leases.settled_ahead_s is not None:
        seen = (
            f"it lies {seconds(round(leases.settled_ahead_s))} in the future: the clock of the database was set back,"
            " and transactions commit before a time that was called complete"
        )
        yield _line(
            "complete_up_to", "fault", seen, "start a relay: its next beat takes it back; let NTP slew the clock"
        )
    else:
        yield _line("complete_up_to", "ok", "not in the future")


def _line(check: str, level: Level, seen: str, do: str = "") -> Finding:
    return Finding("postgres", check, level, seen, do)
