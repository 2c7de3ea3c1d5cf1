"""Describe to Django the model, for permissions and the admin. The table is not touched."""

from typing import ClassVar

from django.db import migrations, models

from outbox_client.django.models import db_table, payload_field


class Migration(migrations.Migration):
    """Unmanaged."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("id", models.UUIDField(unique=True)),
                ("topic", models.TextField()),
                ("key", models.TextField(null=True)),
                ("payload", payload_field()),
                ("headers", models.JSONField(null=True)),
                ("created_at", models.DateTimeField()),
                ("delivered_at", models.DateTimeField(null=True)),
                ("stream", models.TextField(null=True)),
                ("stream_seq", models.BigIntegerField(null=True)),
                ("attempts", models.IntegerField()),
                ("retry_at", models.DateTimeField(null=True)),
                ("dead_at", models.DateTimeField(null=True)),
                ("discarded_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(null=True)),
            ],
            options={
                "db_table": db_table(),
                "ordering": ["-seq"],
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
