"""Events and commands through SQLAlchemy 2: Session, AsyncSession, Connection, AsyncConnection, SQLModel's Session."""

from outbox_client.errors import InvalidEvent, KeyReused, NotBegun, NotInTransaction
from outbox_client.sqlalchemy.commands import once, once_async, remember, remember_async
from outbox_client.sqlalchemy.publishing import Outbox
from outbox_client.sqlalchemy.reading import token, token_async, wait_applied, wait_applied_async
from outbox_client.sqlalchemy.records import Records

__all__ = [
    "InvalidEvent",
    "KeyReused",
    "NotBegun",
    "NotInTransaction",
    "Outbox",
    "Records",
    "once",
    "once_async",
    "remember",
    "remember_async",
    "token",
    "token_async",
    "wait_applied",
    "wait_applied_async",
]
