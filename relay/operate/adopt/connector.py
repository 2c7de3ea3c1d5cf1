"""A Debezium connector's configuration, translated into the options of ``relay adopt``. Pure: no I/O."""

import re
import shlex
from collections.abc import Mapping
from difflib import get_close_matches
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


# The router's options that are translated further below.
_KNOWN = (
    "table.field.event.schema.version",
    "table.fields.additional.placement",
    "table.expand.json.payload",
    "table.json.payload.null.behavior",
    "route.by.field",
    "route.topic.regex",
    "route.topic.replacement",
    "route.tombstone.on.empty.payload",
    "tracing.span.context.field",
)


# A transform beside the router whose class has this in its name, and what may stand in for it.
_INSTEAD = {
    "EventRouter": "it is a second EventRouter; adopt its table by itself",
    "Router": "the subjects that it makes are not made here; write them as --topic or --topic-sql",
    "Filter": "what it drops would be sent; name the rows that it lets through by --when",
    "Header": "the headers that it sets or drops are not; write those of a column as --header",
}

# What of a connector beside the router changes what its messages are, and why that is not kept.
_OTHER = re.compile(r"column\.(include|exclude|mask|truncate|propagate)\..*|message\.key\.columns|table\.exclude\.list")
# A regular expression for whatever text there is, with or without a name for it.
_WHOLE = re.compile(r"\((?:\?P?<(\w+)>)?\.[*+]\)|\.[*+]")


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


def translate(config: Mapping[str, str]) -> Translated:
    """Translate the flat configuration of a connector: option names and their values."""
    transforms = _names(config.get("transforms", ""))
    routers = [name for name in transforms if config.get(f"transforms.{name}.type") == _ROUTER]
    kind = config.get("connector.class", "io.debezium.connector.postgresql.PostgresConnector")
    if "postgres" not in kind.lower():
        return Translated([], [f"connector.class {kind}: its table is not in PostgreSQL"], [])
    if not routers:
        return Translated([], ["no transform that `transforms` names is Debezium's EventRouter"], [])
    prefix = f"transforms.{routers[0]}."
    router = {name.removeprefix(prefix): str(value) for name, value in config.items() if name.startswith(prefix)}
    router.pop("type", None)
    options, refused, notes = ["--preset", "debezium"], list[str](), list[str]()
    refused += [_lost(config, name) for name in transforms if name != routers[0]]
    asked = _Predicate.of(config, router)
    _tables(config, asked, options, refused, notes)
    # Of Debezium 1: the key of rows for which no other column is named.
    old_key = router.pop("table.field.event.payload.id", None)
    if old_key is not None:
        router.setdefault("table.field.event.key", old_key)
    event_id = router.get("table.field.event.id", "id")
    for name, option in _COLUMNS.items():
        if name in router:
            options += [option, router.pop(name)]
    _topic(router, options, refused)
    _headers(router, event_id, options, refused)
    _payload(router, options, refused, notes)
    for name, why in _WITHOUT_MEANING.items():
        if router.pop(name, None) is not None:
            notes.append(f"{name} has no meaning here: {why}")
    source = options[options.index("--source") + 1] if "--source" in options else None
    if asked is not None and not (source and asked.takes(source)):
        refused.append(
            f"predicate {asked.name} ({asked.kind}) of {routers[0]} is not asked here, and each row becomes an event; "
            "name the rows that it selects by --when, if those are not all"
        )
    refused += [_unknown(name) for name in router]
    refused += [f"{name}: messages are made of the whole row here" for name in config if _OTHER.fullmatch(name)]
    _converter(config, notes)
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


class _Predicate(NamedTuple):
    """What decides whether the router is asked.

    Attributes:
        name: What the connector calls it.
        kind: Its class, in short.
        topics: The expression for names of topics, if it is one; else None.
        negated: Whether the router is asked if it does not hold.
        prefix: What stands before the table in the name of a topic.
    """

    name: str
    kind: str
    topics: str | None
    negated: bool
    prefix: str

    @classmethod
    def of(cls, config: Mapping[str, str], router: dict[str, str]) -> "_Predicate | None":
        """Take the predicate out of the router's options; None if it has none."""
        name, negated = router.pop("predicate", None), router.pop("negate", "false") == "true"
        if name is None:
            return None
        kind = _short(config.get(f"predicates.{name}.type"))
        topics = config.get(f"predicates.{name}.pattern") if kind == "TopicNameMatches" else None
        return cls(name, kind, topics, negated, config.get("topic.prefix", config.get("database.server.name", "")))

    def takes(self, table: str) -> bool:
        """Report whether it is known to let the router have each row of a table."""
        if self.topics is None or not self.prefix:
            return False
        try:
            matches = re.fullmatch(self.topics, f"{self.prefix}.{table}") is not None
        except re.error:
            return False
        return matches != self.negated


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


def _unknown(name: str) -> str:
    """Return that an option is none of the router's, and which one it may mean: Kafka Connect passes over such."""
    known = [*_COLUMNS, *_WITHOUT_MEANING, *_KNOWN]
    meant = next((one for one in known if one == name.replace("field.", "field.event.", 1)), None)
    near = [meant] if meant else get_close_matches(name, known, n=1, cutoff=0.8)
    hint = f" (or did it mean {near[0]}?)" if near else ""
    return f"{name} is no option of the EventRouter that is known here; if Debezium passes over it too, remove it{hint}"


def _plain(pattern: str) -> str | None:
    """Return the one name that a regular expression of Debezium's lists stands for; None if it stands for several."""
    name = re.sub(r"^\^|\$$", "", pattern)
    name = re.sub(r"\[([^\w\s^\\])\]|\\([^\w\s])", lambda found: "\0" + (found[1] or found[2]), name)
    # What stood behind a backslash is itself; a bare dot is read as one.
    if re.search(r"[][*+?(){}|^$\\,]", re.sub("\0.", "", name)):
        return None
    return name.replace("\0", "")


def _listed(config: Mapping[str, str], *options: str) -> tuple[str, list[str]]:
    """Return the first of some options that is set, with its entries: an older Debezium calls them otherwise."""
    option = next((one for one in options if config.get(one, "").strip()), options[0])
    return option, _names(config.get(option, ""))


def _tables(
    config: Mapping[str, str], asked: _Predicate | None, options: list[str], refused: list[str], notes: list[str]
) -> None:
    """Find the one table that the router reads. The lists hold regular expressions, of whole names."""
    option, tables = _listed(config, "table.include.list", "table.whitelist")
    schemas_option, schemas = _listed(config, "schema.include.list", "schema.whitelist")
    if not tables:
        if schemas and schemas != ["public"]:
            refused.append(
                f"{schemas_option} {','.join(schemas)!r} without {option} names no table: name it by --source"
            )
            return
        notes.append(f"{option} is not set: public.outbox is assumed, another one is named by --source")
        tables = ["public.outbox"]
    names = [_plain(table) for table in tables]
    routed = [name for name in names if name is not None and asked is not None and asked.takes(name)]
    if asked is not None and None not in names and len(set(routed)) == 1 < len(set(names)):
        others = sorted({name for name in names if name is not None} - set(routed))
        notes.append(f"{', '.join(others)} of {option} is left as it is: {asked.name} keeps it from the router")
        names = [*routed]
    (table,) = set(names) if len(set(names)) == 1 else (None,)
    schema = "" if table is None else table.rpartition(".")[0]
    if len(set(names)) > 1:
        refused.append(f"{option} names several tables ({', '.join(tables)}): adopt each by itself, with its --source")
    elif table is None:
        refused.append(f"{option} {tables[0]!r} is a pattern, which may stand for several tables: name one by --source")
    elif table.count(".") != 1 or not all(table.split(".")):
        refused.append(f"{option} {tables[0]!r} is not of the form schema.table: name the table by --source")
    elif schemas and all(one is not None and one.lower() != schema.lower() for one in map(_plain, schemas)):
        refused.append(
            f"{option} names {table}, which {schemas_option} {','.join(schemas)!r} leaves out: the connector reads "
            "nothing; name the table by --source"
        )
    else:
        options += ["--source", table]


def _topic(router: dict[str, str], options: list[str], refused: list[str]) -> None:
    by = router.pop("route.by.field", "aggregatetype")
    replacement = router.pop("route.topic.replacement", "outbox.event.${routedByValue}")
    regex = router.pop("route.topic.regex", "(?<routedByValue>.*)")
    whole = _WHOLE.fullmatch(regex)
    if whole is None:
        refused.append(f"route.topic.regex {regex!r} is a Java expression: write it as --topic-sql with regexp_replace")
        return
    groups = r"\$[01](?!\d)" if regex.startswith("(") else r"\$0(?!\d)"
    topic = re.sub(groups, lambda _: f"{{{by}}}", replacement)
    if whole[1] is not None:
        topic = topic.replace(f"${{{whole[1]}}}", f"{{{by}}}")
    if "$" in topic:
        refused.append(
            f"route.topic.replacement {replacement!r} names a group that route.topic.regex has not: write it as --topic"
        )
    else:
        options += ["--topic", topic]


def _headers(router: dict[str, str], event_id: str, options: list[str], refused: list[str]) -> None:
    """Translate what the router puts beside a payload: the id, and the columns that it is told to."""
    headers = [("id", event_id)]
    # The router itself sends the type only if it is placed. A table may have no column `type`, which is the default.
    if (kind := router.pop("table.field.event.type", None)) is not None:
        headers.append(("type", kind))
    if (version := router.pop("table.field.event.schema.version", None)) is not None:
        headers.append(("schema-version", version))
    for one in filter(None, router.pop("table.fields.additional.placement", "").split(",")):
        column, place, *alias = [*map(str.strip, one.split(":")), ""][:3]
        if place == "header" and (alias[0] or column).lower() == "nats-msg-id":
            if column != event_id:
                refused.append(f"{column} as Nats-Msg-Id: that header is the event's id; name the column by --id")
        elif place == "header":
            headers.append((alias[0] or column, column))
        elif not place:
            refused.append(f"{column} of table.fields.additional.placement has no place: write {column}:header")
        elif place == "envelope":
            refused.append(f"{column} in the envelope would change every payload: place it as a header")
        else:
            refused.append(f"{column} as {place}: NATS has no such thing")
    for name, column in dict(headers).items():
        options += ["--header", f"{name}={column}"]
    if (span := router.pop("tracing.span.context.field", None)) is not None:
        options += ["--trace", span]


def _converter(config: Mapping[str, str], notes: list[str]) -> None:
    """Note what the connector's converter makes of a payload, which stands here as it is in its column."""
    kind = _short(config.get("value.converter", "x.StringConverter"))
    schemas = config.get("value.converter.schemas.enable", "true") == "true"
    if kind == "JsonConverter" and schemas:
        notes.append(
            "value.converter JsonConverter wraps each payload in its schema (schemas.enable); here it stands bare"
        )
    if config.get("binary.handling.mode", "bytes") != "bytes":
        notes.append("binary.handling.mode writes binary columns as text; here their bytes are sent")
    if not re.match("Json|String|ByteArray|ByteBuffer|BinaryData|Simple", kind):
        notes.append(f"value.converter {kind} encodes each payload; here it stands as it is in its column")


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
