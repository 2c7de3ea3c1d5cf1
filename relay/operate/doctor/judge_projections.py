"""Judge what read models need of the relay, and the projections that were found in the database. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from relay.operate.doctor.facts import Expectation, PartitionFacts, PostgresFacts, RedisFacts
from relay.operate.doctor.findings import Finding, Level, seconds

# How old the completeness of a projection may be that is applied all the time.
_OLD_S = 300.0


class _Commands(NamedTuple):
    """The commands for projections of one store: the group, and what looks at one of them."""

    group: str
    look: str


_IN_POSTGRES = _Commands("relay projection", "relay projection status {name}")
_IN_REDIS = _Commands("relay projection redis", "relay projection redis list")


def judge_projections(found: PostgresFacts, plan: Expectation, redis: RedisFacts | None = None) -> Iterator[Finding]:
    """Judge the headers that a projection reads, and each projection of this database and of Redis.

    Args:
        found: Nothing is said of what is in PostgreSQL if it did not answer.
        redis: None: nothing is said of Redis.
    """
    if found.error is None:
        yield from _of_postgres(found, plan, beside=redis is not None and bool(redis.partitions))
    if redis is not None:
        yield from _of_redis(redis, plan)


def _of_redis(found: RedisFacts, plan: Expectation) -> Iterator[Finding]:
    if found.error is not None:
        yield _line("redis", "fault", found.error, "correct [redis] url, or what it refuses; projections in it wait")
        return
    yield _line("redis", "ok", "it answers, and evicts no key of a read model")
    for name in dict.fromkeys(one.projection for one in found.partitions):
        yield from _projection(name, [one for one in found.partitions if one.projection == name], plan, _IN_REDIS)


def _of_postgres(found: PostgresFacts, plan: Expectation, *, beside: bool) -> Iterator[Finding]:
    facts = found.projections
    yield _headers(plan, found.has_origin, is_needed=bool(facts.partitions) or facts.refused is not None or beside)
    if facts.partitions and not plan.watermark:
        do = "set [watermark] subject, for the relay and for the runners"
        yield _line("watermark", "ok", "not published: up to when a read model is complete is not known", do)
    if facts.refused is not None:
        do = "GRANT USAGE ON SCHEMA projection, and SELECT on its tables, to this role, or ask as the runners' role"
        yield _line("state", "ok", f"there are projections here: {facts.refused}", do)
    for name in dict.fromkeys(one.projection for one in facts.partitions):
        yield from _projection(name, [one for one in facts.partitions if one.projection == name], plan, _IN_POSTGRES)


def _line(check: str, level: Level, seen: str, do: str = "") -> Finding:
    return Finding("projections", check, level, seen, do)


def _headers(plan: Expectation, has_origin: bool, *, is_needed: bool) -> Finding:
    settings = (("key", plan.sends_key), ("seq", plan.sends_seq), ("created_at", plan.sends_created_at))
    missing = [name for name, is_sent in settings if not is_sent]
    if missing:
        seen = f"not sent: {', '.join(missing)}; a projection orders by the key and knows repeats by the seq"
        do = "set them to true in [headers]" + ("" if is_needed else " before a projection runs")
        vital = is_needed and missing != ["created_at"]
        return _line("headers", "warning" if vital else "ok", seen, do)
    if not has_origin:
        seen = "Outbox-Origin is not sent: a restored outbox would use its seqs again unnoticed"
        return _line("headers", "warning" if is_needed else "ok", seen, "relay migrate")
    return _line("headers", "ok", "key, seq, created_at and Outbox-Origin are sent")


def _projection(
    name: str, partitions: Sequence[PartitionFacts], plan: Expectation, commands: _Commands
) -> Iterator[Finding]:
    check = f"projection {name}"
    alone = len(partitions) == 1
    troubles = [found for one in partitions for found in _troubles(check, one, plan, commands, alone=alone)]
    if troubles:
        yield from troubles
        return
    at = ", ".join(f"{one.position:,}" for one in partitions)
    ages = [one.complete_s for one in partitions if one.complete_s is not None]
    complete = f", complete up to {seconds(round(max(ages), 1))} ago" if len(ages) == len(partitions) else ""
    yield _line(check, "ok", f"running, at sequence {at} of its stream{complete}")


def _troubles(
    check: str, one: PartitionFacts, plan: Expectation, commands: _Commands, *, alone: bool
) -> Iterator[Finding]:
    where = "" if alone else f"partition {one.partition}: "
    because = f": {one.reason}" if one.reason else ""
    name = one.projection
    group, look = commands.group, commands.look.format(name=one.projection)
    match one.status:
        case "stopped":
            do = f"{look}; once the cause is gone, {group} resume {name}"
            yield _line(check, "fault", f"{where}stopped{because}", do)
        case "paused":
            yield _line(check, "warning", f"{where}paused by an operator", f"{group} resume {name}")
        case _ if not one.owned:
            yield _line(check, "fault", f"{where}nobody runs it", "start relay projection run, or see why it has ended")
        case "waiting":
            do = "restore what is away; relay projection check says what a start would refuse"
            yield _line(check, "warning", f"{where}waits{because}", do)
    if one.parked:
        seen = f"{where}{one.parked:,} events are parked: they and what comes after them of their keys are missing"
        yield _line(check, "warning", seen, f"{group} parked {name}; then retry or skip them")
    if one.crashes > 1:
        seen = f"{where}{one.crashes} processes in a row have ended without giving it back"
        yield _line(check, "warning", seen, "see the log of the runner, and whether it was killed for its memory")
    if plan.watermark and one.owned and one.complete_s is not None and one.complete_s > _OLD_S:
        seen = f"{where}it was complete {seconds(round(one.complete_s))} ago, and not since"
        yield _line(check, "warning", seen, f"{look}; is the relay's own watermark up to date?")
