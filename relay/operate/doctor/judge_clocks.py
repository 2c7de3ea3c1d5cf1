"""Judge the clocks of all three. Pure."""

from collections.abc import Iterator

from relay.operate.doctor.facts import NatsFacts, PostgresFacts
from relay.operate.doctor.findings import Finding

# The latency that is measured is wrong by as much.
_APART_S = 1.0
# Certificates, tokens and ages of messages are judged by these clocks.
_FAR_APART_S = 60.0


def judge_clocks(postgres: PostgresFacts, nats: NatsFacts) -> Iterator[Finding]:
    """Judge how far each server's clock is from ours; nothing is said of one that did not tell."""
    for name, skew in (("PostgreSQL", postgres.skew_s), ("NATS", nats.skew_s)):
        if skew is None:
            continue
        apart = abs(skew)
        seen = f"{apart:.3f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        do = "let NTP or chrony set the clock of every machine"
        if apart > _FAR_APART_S:
            yield Finding("clocks", name, "fault", f"{seen}: certificates, tokens and ages cannot be trusted", do)
        elif apart > _APART_S:
            yield Finding("clocks", name, "warning", f"{seen}: latencies are measured wrong", do)
        else:
            yield Finding("clocks", name, "ok", f"{apart:.3f} s apart from this machine's")
