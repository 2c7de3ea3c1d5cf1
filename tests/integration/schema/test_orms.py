"""ORMs insert events with the rights of a producer, and read back what the database made: seq and id, nothing else."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import BigInteger, FetchedValue, Identity, Text, create_engine
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

# In a process of its own: Django is configured once for all.
DJANGO = """
import sys, uuid
import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

parts = conninfo_to_dict(sys.argv[1])
names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
base = {"ENGINE": "django.db.backends.postgresql"} | {name: parts.get(key, "") for name, key in names.items()}
settings.configure(DATABASES={"default": base}, USE_TZ=True)
django.setup()
from django.db import models

class OutboxEvent(models.Model):
    seq = models.BigAutoField(primary_key=True)
    id = models.UUIDField(default=uuid.uuid4)
    topic = models.TextField()
    key = models.TextField(null=True)
    payload = models.JSONField()

    class Meta:
        app_label = "shop"
        managed = False
        db_table = "outbox_events"

print(OutboxEvent.objects.create(topic="orders.placed", key="k", payload={"i": 1}).seq)
more = [OutboxEvent(topic="orders.placed", payload={"i": i}) for i in (2, 3)]
print(*[one.seq for one in OutboxEvent.objects.bulk_create(more)])
"""


class Base(DeclarativeBase):
    pass


class OutboxEvent(Base):
    __tablename__ = "outbox_events"

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), server_default=FetchedValue())
    topic: Mapped[str] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[dict[str, int]] = mapped_column(JSONB)


@pytest.fixture
def producer(database: str) -> Iterator[str]:
    """The address of the database for a login that is a producer, and nothing else."""
    name = f"orm_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'produce' IN ROLE outbox_producer").format(sql.Identifier(name))
        )
        parts = urlsplit(database)
        yield urlunsplit(parts._replace(netloc=f"{name}:produce@{parts.netloc.rpartition('@')[2]}"))
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def stored(database: str) -> list[tuple[int, uuid.UUID, int]]:
    with psycopg.connect(database) as conn:
        return conn.execute("SELECT seq, id, (payload ->> 'i')::int FROM outbox_events ORDER BY seq").fetchall()


@pytest.mark.denials
def test_sqlalchemy_inserts_and_reads_back_seq_and_id_with_a_producers_rights(database: str, producer: str) -> None:
    engine = create_engine(producer.replace("postgresql://", "postgresql+psycopg://", 1))
    with Session(engine) as session:
        events = [OutboxEvent(topic="orders.placed", key="k", payload={"i": i}) for i in range(3)]
        session.add_all(events)
        session.flush()
        made = [(event.seq, event.id, event.payload["i"]) for event in events]
        session.commit()
    assert sorted(made) == stored(database)
    with Session(engine) as session, pytest.raises(ProgrammingError, match="permission denied"):
        session.query(OutboxEvent).all()
    engine.dispose()


def test_django_inserts_and_reads_back_seq_with_a_producers_rights(database: str, producer: str) -> None:
    done = subprocess.run([sys.executable, "-c", DJANGO, producer], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [int(word) for word in done.stdout.split()] == [seq for seq, _, _ in stored(database)]
    assert [i for _, _, i in stored(database)] == [1, 2, 3]
