"""The outbox, to be read.

Its table belongs to ``relay migrate``. Its rows are written by `publish` and by the relay.
"""

from typing import Any, ClassVar, NoReturn

from django.db import models

from outbox_client.django.configured import usable

_PAYLOADS = {"jsonb": models.JSONField, "json": models.JSONField, "text": models.TextField, "bytea": models.BinaryField}


def payload_field() -> Any:
    """Make the field that fits the type of the payload column."""
    return _PAYLOADS[usable().payload]()


def db_table() -> str:
    """Name the table as Django quotes it: it puts quotes around the whole."""
    return usable().table.replace(".", '"."')


class OutboxEvent(models.Model):
    """One row of the outbox. Reading needs the role ``outbox_reader``; saving and deleting are refused."""

    seq = models.BigIntegerField(primary_key=True)
    id = models.UUIDField(unique=True)
    topic = models.TextField()
    key = models.TextField(null=True)
    payload = payload_field()
    headers = models.JSONField(null=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)
    stream = models.TextField(null=True)
    stream_seq = models.BigIntegerField(null=True)
    attempts = models.IntegerField()
    retry_at = models.DateTimeField(null=True)
    dead_at = models.DateTimeField(null=True)
    discarded_at = models.DateTimeField(null=True)
    last_error = models.TextField(null=True)

    class Meta:
        """Unmanaged: migrations leave the table alone."""

        managed = False
        db_table = db_table()
        ordering: ClassVar = ["-seq"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        """Name the event, without its payload."""
        return f"{self.seq} {self.topic}"

    @property
    def state(self) -> str:
        """Return where the event is: ``delivered``, ``discarded``, ``dead``, ``retry`` or ``pending``."""
        for name in ("delivered", "discarded", "dead"):
            if getattr(self, f"{name}_at") is not None:
                return name
        return "pending" if self.retry_at is None else "retry"

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            TypeError: Always.
        """
        raise TypeError("publish writes events: an insert by the ORM would need rights to read the outbox")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the relay's retention deletes events")
