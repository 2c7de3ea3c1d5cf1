"""Events and commands through SQLAlchemy 2: Session, AsyncSession, Connection, AsyncConnection, SQLModel's Session."""

from outbox_client.sqlalchemy.commands import once, once_async, remember, remember_async
from outbox_client.sqlalchemy.publishing import Outbox, Records

__all__ = ["Outbox", "Records", "once", "once_async", "remember", "remember_async"]
