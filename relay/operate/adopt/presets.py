"""What the outbox tables of known tools are like, and which of them cannot be adopted. Pure: no I/O."""

from dataclasses import dataclass

from relay.operate.adopt.mapping import Mapping


@dataclass(frozen=True, slots=True)
class Preset:
    """One tool's table.

    Attributes:
        table: Its usual name.
        mapping: Which column becomes what; a topic that is empty must be given.
        before: What has to be done to the tool beforehand.
    """

    table: str
    mapping: Mapping
    before: str


# The first type of a message: urn:message:Shop:OrderPlaced becomes Shop.OrderPlaced.
_MASSTRANSIT_TOPIC = """replace(regexp_replace(split_part(new."MessageType", ';', 1), '^urn:message:', ''), ':', '.')"""

PRESETS = {
    "debezium": Preset(
        "public.outbox",
        Mapping(
            topic="outbox.event.{aggregatetype}",
            key="aggregateid",
            headers=(("id", "id"), ("type", "type")),
        ),
        "set the connector's publication.autocreate.mode to disabled, and its heartbeat.interval.ms; then relay adopt "
        "cutover hands the table over",
    ),
    "eventuate": Preset(
        "eventuate.message",
        Mapping(
            topic="{destination}",
            key="headers->PARTITION_ID",
            header_object="headers",
            order_by="creation_time",
        ),
        "stop the CDC or poller service, then install with --backfill 'published = 0'",
    ),
    "open-outbox": Preset(
        "public.openoutbox_events",
        Mapping(
            topic="{event_type}",
            id="event_id",
            key="partition_key",
            header_object="headers",
            order_by="available_at",
        ),
        'stop its relay, then install with --backfill "delivered_at IS NULL"',
    ),
    "watermill": Preset(
        "public.watermill_TOPIC",
        Mapping(id="uuid", header_object="metadata", order_by="offset"),
        "stop the subscribers; the topic is in the table's name, so --topic is needed",
    ),
    "django-outbox-pattern": Preset(
        "public.published",
        Mapping(
            topic_sql="regexp_replace(new.destination, '^/(topic|queue)/', '')",
            payload="body",
            header_object="headers",
            order_by="added",
        ),
        "stop manage.py publish, then install with --backfill 'status = 1'",
    ),
    "masstransit": Preset(
        'public."OutboxMessage"',
        Mapping(
            topic_sql=_MASSTRANSIT_TOPIC,
            id="MessageId",
            key="CorrelationId",
            payload="Body",
            headers=(
                ("Content-Type", "ContentType"),
                ("MessageType", "MessageType"),
                ("ConversationId", "ConversationId"),
            ),
            header_object="Headers",
            when='new."OutboxId" IS NOT NULL',
            order_by="SequenceNumber",
        ),
        "turn its sender off, UseBusOutbox(o => o.DisableDeliveryService()), and install with --purge: nobody else "
        "deletes the rows then",
    ),
    "pg-transactional-outbox": Preset(
        "public.outbox",
        Mapping(
            topic="{aggregate_type}.{message_type}",
            key="aggregate_id",
            header_object="metadata",
            order_by="created_at",
        ),
        "stop its listener; with replication hand the table over by relay adopt cutover, with polling install with "
        '--backfill "processed_at IS NULL AND abandoned_at IS NULL"',
    ),
    "sbmt-outbox": Preset(
        "public.TOPIC_outbox_items",
        Mapping(
            id="uuid",
            key="event_key",
            # Its daemon makes these two of the row, and sends them beside those of the options.
            headers=(("Idempotency-Key", "uuid"), ("Sequence-ID", "id")),
            header_object="options->headers",
            order_by="id",
        ),
        "stop its daemon; the topic is in the table's name, so --topic is needed",
    ),
    "active-outbox": Preset(
        "public.outboxes",
        Mapping(topic="{aggregate}.{event}", id="identifier", key="aggregate_identifier", order_by="id"),
        "nothing reads this table",
    ),
    "faststream-outbox": Preset(
        "public.outbox",
        Mapping(topic="{queue}", header_object="headers", when="new.timer_id IS NULL", order_by="id"),
        "remove its subscribers",
    ),
    "columns": Preset("", Mapping(), "stop whatever reads the table"),
}

REFUSED = {
    "wolverine": "its rows hold an envelope of its own binary form, which SQL cannot read; it publishes to NATS itself",
    "gruelbox": "a row is a serialized call of a method, not an event",
    "jaiminho": "a row is a call of a Python function, not an event",
    "cap": "its sender cannot be switched off, so each event would be sent twice; CAP publishes to NATS itself",
    "namastack": "it writes one row for each handler, so each event would come several times; adopt it with --preset "
    "columns and --when for one handler_id",
    "spring-modulith": "it writes one row for each listener, so each event would come several times; adopt it with "
    "--preset columns and --when for one listener_id",
    "logical-message": "pg_logical_emit_message writes no row, so there is nothing that a trigger could copy",
}
