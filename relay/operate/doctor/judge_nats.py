"""Judge what was seen of NATS and its streams. Pure."""

import shlex
from collections.abc import Iterator, Sequence

from relay.operate.create_command import create_command
from relay.operate.doctor.facts import Expectation, NatsFacts, StreamReport, SubjectFacts, Topic
from relay.operate.doctor.findings import Finding, Level, seconds
from relay.operate.message_size import OWN_HEADERS_BYTES, command_to_raise
from relay.operate.stream_room import Limit, of_messages, option_to_raise, raised_limit

# Rows this close to a limit will exceed it sooner or later.
_NEAR = 0.8
_API = "$JS.API."


def judge_nats(facts: NatsFacts, plan: Expectation) -> Iterator[Finding]:
    """Judge everything, the connection first."""
    if facts.error is not None:
        do = "see whether a server runs at [nats] servers and lets this login in (docs/operations/security.md)"
        yield _line("connection", "fault", facts.error, do)
        return
    yield _line(
        "version", "ok", f"nats-server {facts.version}{'' if facts.takes_atomic else ', without atomic batches'}"
    )
    yield _encryption(facts)
    yield _inbox(facts, plan)
    yield from _gone(facts)
    yield from _subjects(facts, plan)
    yield from _sizes(facts)
    for stream in facts.streams:
        yield from _stream(stream, facts, plan)


def _line(check: str, level: Level, seen: str, do: str = "") -> Finding:
    return Finding("nats", check, level, seen, do)


def _encryption(facts: NatsFacts) -> Finding:
    if facts.encrypted:
        return _line("connection", "ok", "encrypted, and the server's name is verified")
    if facts.local:
        return _line("connection", "ok", "not encrypted, to this machine")
    return _line(
        "connection",
        "warning",
        "not encrypted: events and secrets can be read on the way",
        "use tls:// and [nats] tls_ca_file",
    )


def _inbox(facts: NatsFacts, plan: Expectation) -> Finding:
    heard = facts.names_allowed or any(one.answer or one.stream for one in facts.subjects)
    if heard:
        return _line("inbox", "ok", f"answers are heard on {plan.inbox_prefix}.>")
    do = f"allow publish on {_API}STREAM.NAMES, or name a subject by --subject"
    return _line("inbox", "warning", f"subscribed to {plan.inbox_prefix}.>, and there was nothing to be answered", do)


def _gone(facts: NatsFacts) -> Iterator[Finding]:
    for one in facts.gone:
        seen = f"it is gone: NATS has none of this name; {one.pending:,} of its events wait, and what it held is lost"
        yield _line(f"stream {one.name}", "fault", seen, create_command(one.name, one.subjects))


def _subjects(facts: NatsFacts, plan: Expectation) -> Iterator[Finding]:
    if not facts.names_allowed:
        do = f"allow publish on {_API}STREAM.NAMES and {_API}STREAM.INFO.*"
        seen = (
            "streams cannot be looked up: a missing one is not told from one without a leader, and batches are not used"
        )
        yield _line("look-up", "warning", seen, do)
    if not facts.subjects:
        yield _line("subjects", "ok", "the table is empty: no subject to try", "name some by --subject")
        return
    good: list[str] = []
    for one in facts.subjects:
        finding = _subject(one, plan)
        if finding is None:
            good.append(one.subject or "")
        else:
            yield finding
    if good:
        shown = ", ".join(good[:5]) + (f" and {len(good) - 5} more" if len(good) > 5 else "")
        tried = all(one.answer for one in facts.subjects)
        yield _line("subjects", "ok", f"{shown}: each has a stream{', and may be published' if tried else ''}")


def _subject(one: SubjectFacts, plan: Expectation) -> Finding | None:
    """Judge one subject; None if it is good."""
    rows = f"{one.topic.pending:,} of its events wait" if one.topic.pending else "none of its events waits now"
    if one.subject is None:
        return _line(
            f"topic {one.topic.topic}",
            "fault",
            f"{one.fault}: its events become dead letters; {rows}",
            "correct the topic where it is written, or [subject] template and allow",
        )
    check = f"subject {one.subject}"
    if not one.permitted:
        rows = rows if one.stream is not None or not one.looked_up else f"no stream takes it either; {rows}"
        return _line(
            check,
            "fault",
            f"no right to publish; {rows}",
            f'allow publish on "{one.subject}" (docs/operations/security.md)',
        )
    if one.looked_up and one.stream is None:
        add = "[stream] subjects" if plan.manages_stream else "`relay stream edit` (with all of its subjects)"
        do = f"add the subject to a stream by {add}, or make one: `{create_command('NAME', (one.subject,))}`"
        if one.gone is not None:
            return _line(check, "fault", f"no stream takes it: {one.gone} is gone; {rows}", f"make {one.gone} again")
        return _line(check, "fault", f"no stream takes it; {rows}", do)
    if one.answer == "silence":
        return _line(check, "fault", f"a trial was not answered; {rows}", "see the stream below, and the server's log")
    if one.answer == "nobody":
        return _line(check, "fault", f"nobody answers: the stream has no leader now; {rows}", _see_copies(one.stream))
    return None


def _see_copies(stream: str | None) -> str:
    """Return where the copies of a stream are shown: no command of ours asks for them."""
    named = "" if stream is None else f" {shlex.quote(stream)}"
    return f"`nats stream info{named}` shows its copies and which one leads, which `relay stream show` does not"


def _sizes(facts: NatsFacts) -> Iterator[Finding]:
    largest = max((one.topic for one in facts.subjects), key=lambda topic: topic.largest, default=None)
    if largest is None:
        yield _line("max_payload", "ok", f"{facts.max_payload:,} bytes")
        return
    size = largest.largest + OWN_HEADERS_BYTES
    seen = f"{facts.max_payload:,} bytes; the largest row seen takes {size:,} ({largest.topic})"
    do = "raise max_payload on every server, or store large things elsewhere and send their address"
    yield _line("max_payload", *_against(size, facts.max_payload, seen, do))


def _against(size: int, limit: int, seen: str, do: str) -> tuple[Level, str, str]:
    if size > limit:
        return "fault", f"{seen}: it becomes a dead letter, to be retried once the limit is raised", do
    if size > limit * _NEAR:
        return "warning", seen, do
    return "ok", seen, ""


def _stream(stream: StreamReport, facts: NatsFacts, plan: Expectation) -> Iterator[Finding]:
    yield from _acknowledges(stream)
    yield from _removes(stream, plan)
    yield from _keeps(stream)
    yield _room(stream, facts)
    yield from _limits_of_size(stream, facts)
    yield _window(stream, plan)
    yield from _abilities(stream, facts, plan)
    yield from _questions(stream)


def _of(stream: StreamReport, check: str, level: Level, seen: str, do: str = "") -> Finding:
    return _line(f"stream {stream.name}: {check}", level, seen, do)


def _acknowledges(stream: StreamReport) -> Iterator[Finding]:
    config = stream.config
    if config.get("no_ack"):
        yield _of(stream, "answers", "fault", "no_ack: nothing could ever be marked delivered", "set no_ack to false")
    if config.get("sealed"):
        yield _of(
            stream, "answers", "fault", "it is sealed: it takes no more events", "make another stream for the subjects"
        )
    retention, consumers = config.get("retention", "limits"), stream.state.get("consumer_count", 0)
    if retention == "interest" and consumers == 0:
        seen = "retention is interest and there is no consumer: events are acknowledged and dropped"
        yield _of(stream, "retention", "fault", seen, "make the consumers first, or use retention limits")
    elif retention != "limits":
        seen = f"retention is {retention}: what was consumed is gone, and cannot be told from what was lost"
        yield _of(stream, "retention", "warning", seen, "use retention limits if read models are to be rebuilt")
    else:
        yield _of(stream, "retention", "ok", "limits")


def _removes(stream: StreamReport, plan: Expectation) -> Iterator[Finding]:
    """Report what lets messages go from between others: after a set-back they count as lost, and are sent again."""
    config = stream.config
    causes = [setting for setting in ("allow_msg_ttl", "allow_rollup_hdrs") if config.get(setting)]
    if config.get("retention", "limits") != "limits":
        causes.append(f"retention {config['retention']}")
    if config.get("max_msgs_per_subject", -1) > 0 and config.get("discard", "old") == "old":
        causes.append("max_msgs_per_subject")
    if causes and plan.heals:
        seen = (
            f"by {', '.join(causes)} messages go from between others: if the stream is set back or made again, these"
            " count as lost and are sent again"
        )
        do = 'let consumers pass over old events, or set healing.on_loss = "alert" to decide about each loss'
        yield _of(stream, "removals", "warning", seen, do)


def _keeps(stream: StreamReport) -> Iterator[Finding]:
    replicas = stream.config.get("num_replicas", 1)
    if stream.config.get("storage") == "memory":
        seen = "in memory: a restart takes what was acknowledged"
        yield _of(stream, "storage", "warning", seen, "use file storage (a new stream: it cannot be changed)")
    elif stream.config.get("persist_mode") == "async":
        seen = "persist_mode is async: a crash of the server takes what it has acknowledged and not yet written"
        yield _of(
            stream, "storage", "warning", seen, "set persist_mode to default (a new stream, if it cannot be changed)"
        )
    else:
        yield _of(stream, "storage", "ok", "file")
    followers = (stream.cluster or {}).get("replicas") or []
    away = [one["name"] for one in followers if one.get("offline") or not one.get("current", True)]
    clustered = bool((stream.cluster or {}).get("name"))
    if away:
        yield _of(
            stream,
            "replicas",
            "warning",
            f"{', '.join(away)} of {replicas} behind or offline",
            _see_copies(stream.name),
        )
    elif replicas == 1 and clustered:
        seen = "one copy in a cluster: with its server the stream is away, with its disk it is lost"
        yield _of(stream, "replicas", "warning", seen, f"relay stream edit {stream.name} --replicas 3")
    elif replicas == 1:
        yield _of(stream, "replicas", "ok", "one, on a server without a cluster")
    else:
        yield _of(stream, "replicas", "ok", f"{replicas}, all current")


def _room(stream: StreamReport, facts: NatsFacts) -> Finding:
    config, state, server = stream.config, stream.state, facts.version
    limits = [
        (name, state.get(held, 0), config[name])
        for name, held in (("max_msgs", "messages"), ("max_bytes", "bytes"))
        if config.get(name, -1) > 0
    ]
    if config.get("max_msgs_per_subject", -1) > 0:
        limits.append(("max_msgs_per_subject", 0, config["max_msgs_per_subject"]))
    shown = ", ".join(f"{name} {held:,} of {most:,}" if held else f"{name} {most:,}" for name, held, most in limits)
    if not limits:
        return _of(stream, "room", "ok", "no limit but the disk")
    discard = config.get("discard", "old")
    if discard == "old":
        seen = (
            f"discard is old with {shown}: when it is full, unread events are dropped; with new the relay waits instead"
        )
        return _of(stream, "room", "warning", seen, f"relay stream edit {shlex.quote(stream.name)} --discard new")
    if server.startswith("2.9.") and config.get("max_bytes", -1) > 0:
        # Seen on 2.9.10, which reckons without what it writes beside each message.
        seen = f"with {shown} nats-server {server} drops its oldest messages when it is full, whatever discard says"
        return _of(stream, "room", "warning", seen, "limit it by max_msgs, or use a newer nats-server")
    fullest = max(held / limit for _, held, limit in limits)
    if fullest >= _NEAR:
        do = _raise(stream, [one.topic for one in facts.subjects if one.stream == stream.name])
        if fullest >= 1:
            return _of(stream, "room", "fault", f"full, {shown}: it refuses new messages, and its events wait", do)
        return _of(stream, "room", "warning", f"nearly full, {shown}: then its events wait", do)
    return _of(stream, "room", "ok", f"discard new, {shown}")


def _raise(stream: StreamReport, topics: Sequence[Topic]) -> str:
    """Return the command that makes room, or what to do if the narrowest limit is one that no option sets."""
    messages, size = stream.state.get("messages", 0), stream.state.get("bytes", 0)
    names: tuple[Limit, ...] = ("max_msgs", "max_bytes")
    used = {"max_msgs": messages, "max_bytes": size}
    set_ones = [name for name in names if stream.config.get(name, -1) > 0]
    if not set_ones:
        return "raise the limit"
    name = max(set_ones, key=lambda one: used[one] / stream.config[one])
    more = of_messages(sum(one.pending for one in topics), name, messages, size)
    rates = [one.rate for one in topics if one.rate is not None]
    grows = of_messages(sum(rates), name, messages, size) if rates else None
    to = raised_limit(used[name], stream.config[name], more, grows)
    return f"relay stream edit {stream.name} {option_to_raise(name, to)}"


def _limits_of_size(stream: StreamReport, facts: NatsFacts) -> Iterator[Finding]:
    limit = stream.config.get("max_msg_size", -1)
    sizes = [one.topic.largest for one in facts.subjects if one.stream == stream.name]
    if limit > 0 and sizes:
        size = max(sizes) + OWN_HEADERS_BYTES
        seen = f"max_msg_size {limit:,}; the largest row seen takes {size:,}"
        yield _of(stream, "size", *_against(size, limit, seen, command_to_raise(stream.name, size)))


def _window(stream: StreamReport, plan: Expectation) -> Finding:
    window = stream.config.get("duplicate_window", 0) / 1e9
    seen = f"{seconds(window)}; an unanswered event is sent again for up to {seconds(plan.resend_s)}"
    do = f"relay stream edit {stream.name} --duplicate-window {max(120, round(plan.resend_s * 2))}s"
    if window <= plan.ack_timeout_s:
        return _of(stream, "duplicates", "fault", f"{seen}: what is sent again can be stored twice", do)
    if window < plan.resend_s:
        return _of(stream, "duplicates", "warning", seen, do)
    return _of(stream, "duplicates", "ok", seen)


def _abilities(stream: StreamReport, facts: NatsFacts, plan: Expectation) -> Iterator[Finding]:
    if stream.config.get("allow_atomic"):
        yield _of(stream, "batches", "ok", "allow_atomic")
    elif plan.strategy == "atomic":
        do = (
            f"relay stream edit {shlex.quote(stream.name)} --allow-atomic"
            if facts.takes_atomic
            else "use nats-server 2.12.1 or newer"
        )
        yield _of(stream, "batches", "fault", 'delivery.strategy is "atomic", and it takes no batches', do)
    else:
        hint = "allow_atomic would deliver more and keep batches whole" if facts.takes_atomic else ""
        yield _of(stream, "batches", "ok", "events are sent one by one", hint)
    if stream.config.get("allow_direct"):
        yield _of(stream, "reads", "ok", "allow_direct")
    else:
        seen = "without allow_direct, what is in the stream is read message by message"
        yield _of(stream, "reads", "warning", seen, f"relay stream edit {shlex.quote(stream.name)} --allow-direct")


def _questions(stream: StreamReport) -> Iterator[Finding]:
    if stream.refused:
        seen = f"nobody answers {', '.join(stream.refused)}"
        yield _of(stream, "rights", "warning", seen, "allow publish on them (docs/operations/security.md)")
    else:
        yield _of(stream, "rights", "ok", "its messages and its consumers can be looked at")
