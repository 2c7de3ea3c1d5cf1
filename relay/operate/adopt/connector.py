"""A Debezium connector's configuration, translated into the options of ``relay adopt``. Pure: no I/O."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

_ROUTER = "io.debezium.transforms.outbox.EventRouter"
# The router's option, and ours.
_COLUMNS = {
    "table.field.event.id": "--id",
    "table.field.event.key": "--key",
    "table.field.event.payload": "--payload",
    "table.field.event.timestamp": "--created-at",
}
# What has no meaning here, and why that is right.
_WITHOUT_MEANING = {
    "table.field.additional.missing": "columns are checked when it is installed",
    "table.fields.additional.error.on.missing": "columns are checked when it is installed",
    "table.op.invalid.behavior": "updates are not seen at all",
    "tracing.operation.name": "no span is made on the way",
    "tracing.with.context.field.only": "no span is made on the way",
}


# A transform beside the router whose class has this in its name, and what may stand in for it.
_INSTEAD = {
    "EventRouter": "it is a second EventRouter; adopt its table by itself",
    "Router": "the subjects that it makes are not made here; write them as --topic or --topic-sql",
    "Filter": "what it drops would be sent; name the rows that it lets through by --when",
    "Header": "the headers that it sets or drops are not; write those of a column as --header",
}

# A line of Java's properties: a name, and what follows the first = or :.
_PROPERTY = re.compile(r"\s*([^\s=:#!][^\s=:]*)\s*[=:]\s*(.*?)\s*")


class Translated(NamedTuple):
    """What became of a connector's options.

    Attributes:
        options: Of ``relay adopt``, each a word; the first is ``--preset``.
        refused: What cannot be kept, each with its reason.
        notes: What an operator should know.
    """

    options: list[str]
    refused: list[str]
    notes: list[str]


def options_of(text: str) -> dict[str, str]:
    """Return the options of a connector: of its JSON, or of the properties of Kafka Connect or Debezium Server.

    Raises:
        ValueError: It is neither.
    """
    if not text.lstrip().startswith(("{", "[")):
        lines = filter(None, map(_PROPERTY.fullmatch, re.sub(r"\\\r?\n\s*", "", text).splitlines()))
        properties = {line[1]: line[2] for line in lines}
        if not properties:
            raise ValueError("it is neither JSON nor properties")
        return {re.sub(r"^debezium\.(source\.)?", "", name): value for name, value in properties.items()}
    found = json.loads(text)
    config = found.get("config", found) if isinstance(found, dict) else None
    options = config.items() if isinstance(config, dict) else ()
    if not options:
        raise ValueError("it is no JSON object with options")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in options}


def translate(config: Mapping[str, str]) -> Translated:
    """Translate the flat configuration of a connector: option names and their values."""
    transforms = _names(config.get("transforms", ""))
    routers = [name for name in transforms if config.get(f"transforms.{name}.type") == _ROUTER]
    if not routers:
        return Translated([], ["no transform that `transforms` names is Debezium's EventRouter"], [])
    prefix = f"transforms.{routers[0]}."
    router = {name.removeprefix(prefix): str(value) for name, value in config.items() if name.startswith(prefix)}
    router.pop("type", None)
    options, refused, notes = ["--preset", "debezium"], list[str](), list[str]()
    refused += [_lost(config, name) for name in transforms if name != routers[0]]
    _tables(config, options, refused, notes)
    for name, option in _COLUMNS.items():
        if name in router:
            options += [option, router.pop(name)]
    _topic(router, options, refused)
    _headers(router, options, refused)
    _payload(router, options, refused, notes)
    for name, why in _WITHOUT_MEANING.items():
        if router.pop(name, None) is not None:
            notes.append(f"{name} has no meaning here: {why}")
    router.pop("negate", None)
    if (predicate := router.pop("predicate", None)) is not None:
        kind = _short(config.get(f"predicates.{predicate}.type"))
        refused.append(
            f"predicate {predicate} ({kind}) of {routers[0]} is not asked here, and each row becomes an event; "
            "name the rows that it selects by --when, if those are not all"
        )
    refused += [f"{name} is not known here" for name in router]
    publication, slot = config.get("publication.name", "dbz_publication"), config.get("slot.name", "debezium")
    handed = ["--publication", publication, "--slot", slot]
    if refused:
        notes.append(f"once that is settled, hand the table over by relay adopt cutover, with {shlex.join(handed)}")
    else:
        notes.append(f"hand the table over by: {shlex.join(['relay', 'adopt', 'cutover', *options, *handed])}")
    if config.get("publication.autocreate.mode", "all_tables") != "disabled":
        notes.append("set publication.autocreate.mode to disabled first: otherwise the connector takes the table back")
    if str(config.get("heartbeat.interval.ms", "0")) == "0":
        notes.append(
            "set heartbeat.interval.ms first, such as to 5000: without it the slot passes the cut only if another "
            "table of the publication changes"
        )
    return Translated(options, refused, notes)


def _names(listed: str) -> list[str]:
    return [name for name in map(str.strip, listed.split(",")) if name]


def _short(kind: str | None) -> str:
    """Return the name of a class without its package and that of the class around it."""
    return "without a type" if kind is None else re.split(r"[.$]", kind.removesuffix("$Key").removesuffix("$Value"))[-1]


def _lost(config: Mapping[str, str], name: str) -> str:
    """Return that a transform cannot be kept, and what may stand in for it."""
    kind = _short(config.get(f"transforms.{name}.type"))
    instead = next((do for part, do in _INSTEAD.items() if part in kind), "what it makes of a message is not made here")
    return f"transform {name} ({kind}): {instead}"


def _tables(config: Mapping[str, str], options: list[str], refused: list[str], notes: list[str]) -> None:
    tables = config.get("table.include.list", "public.outbox")
    if "table.include.list" not in config:
        notes.append("table.include.list is not set: public.outbox is assumed, another one is named by --source")
    if "," in tables or "*" in tables or "\\" in tables:
        refused.append(f"table.include.list {tables!r} is not one table: name it with --source")
    else:
        options += ["--source", tables]


def _topic(router: dict[str, str], options: list[str], refused: list[str]) -> None:
    by = router.pop("route.by.field", "aggregatetype")
    replacement = router.pop("route.topic.replacement", "outbox.event.${routedByValue}")
    regex = router.pop("route.topic.regex", "(?<routedByValue>.*)")
    if regex != "(?<routedByValue>.*)":
        refused.append(f"route.topic.regex {regex!r} is a Java expression: write it as --topic-sql with regexp_replace")
    else:
        options += ["--topic", replacement.replace("${routedByValue}", f"{{{by}}}")]


def _headers(router: dict[str, str], options: list[str], refused: list[str]) -> None:
    kind = router.pop("table.field.event.type", "type")
    headers = [("id", router.get("table.field.event.id", "id")), ("type", kind)]
    if (version := router.pop("table.field.event.schema.version", None)) is not None:
        headers.append(("schema-version", version))
    for one in filter(None, router.pop("table.fields.additional.placement", "").split(",")):
        column, place, *alias = one.strip().split(":")
        if place == "header":
            headers.append((alias[0] if alias else column, column))
        elif place == "envelope":
            refused.append(f"{column} in the envelope would change every payload: place it as a header")
        else:
            refused.append(f"{column} as {place}: NATS has no such thing")
    for name, column in dict(headers).items():
        options += ["--header", f"{name}={column}"]
    if (span := router.pop("tracing.span.context.field", None)) is not None:
        options += ["--trace", span]


def _payload(router: dict[str, str], options: list[str], refused: list[str], notes: list[str]) -> None:
    nulls = router.pop("table.json.payload.null.behavior", "ignore")
    router.pop("table.json.payload.empty.array.behavior", None)
    if router.pop("table.expand.json.payload", "false") == "true":
        options.append("--expand")
        if nulls == "ignore":
            notes.append(
                "members of a payload that are null stay, whereas the connector leaves them out: relay adopt compare "
                "--payloads json-without-nulls takes both for the same"
            )
    if router.pop("route.tombstone.on.empty.payload", "false") == "true":
        notes.append("NATS has no tombstone: --empty send publishes an empty payload, --empty skip nothing")
        options += ["--empty", "send"]
