"""Events that an aggregate records itself, written in the flush that writes the aggregate.

What an object has recorded shares the fate of its values. A rollback expires an object that has a row, and drops what
it recorded since the last flush. An object whose row was rolled back keeps its values and could be added again, but its
events were rolled back too: such an object is refused, so that no event is lost in silence.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction, object_session
from sqlalchemy.orm.attributes import flag_dirty

from outbox_client.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

LISTENER = "_outbox_listener"
"""The attribute of a session, or of its class, that holds the outbox."""

_RECORDED = "_outbox_recorded"
_WRITTEN = "_outbox_written"
_ROLLED_BACK = "_outbox_rolled_back"
_LATE = "_outbox_late"
_MOST_ROUNDS = 100
_order = itertools.count()


class Records:
    """Mixin of a mapped class: the events of an aggregate, written in the flush that writes the aggregate.

    Bulk statements and ``session.execute(insert(...))`` flush no object, so they write no event, and ``session.merge``
    copies none. After a rollback make the change on a fresh object, or on one that is loaded again: a new object whose
    events were rolled back fails the flush if it is added again.
    """

    def record(self, event: Event | Callable[[], Event]) -> None:
        """Record an event of this object.

        Args:
            event: The event, or what makes it after the flush, if it needs values that the database has generated.

        Raises:
            RuntimeError: The row of this object is deleted already, so that no flush would write the event.
        """
        if sa.inspect(self).deleted:
            name = type(self).__name__
            raise RuntimeError(f"the row of this {name} is deleted: record its events before the flush that deletes it")
        self.__dict__.setdefault(_RECORDED, []).append((next(_order), event))
        late = getattr(object_session(self), _LATE, None)
        if late is None:
            # So that a flush comes even if no column has changed, and the session keeps the object until then.
            flag_dirty(self)
        else:
            late.append(self)


@sa.event.listens_for(Session, "after_flush")
def _write_recorded(session: Session, _: Any) -> None:
    """Write what the flushed objects have recorded, in the order of recording."""
    new = list(session.new)
    for added in new:
        if isinstance(added, Records) and _ROLLED_BACK in added.__dict__:
            name = type(added).__name__
            raise RuntimeError(f"the events of this {name} were rolled back with its row: use a fresh object")
    # The end of the flush forgets which objects are dirty. What is recorded until then is remembered here, be it by
    # what makes an event or by another listener.
    late: list[object] = []
    setattr(session, _LATE, late)
    objects = [*new, *session.dirty, *session.deleted]
    for _round in range(_MOST_ROUNDS):
        if not _write(session, objects):
            return
        objects = _with_rows(session, late, new)
    raise RuntimeError("what makes the recorded events records others without end")


@sa.event.listens_for(Session, "after_flush_postexec")
def _write_late(session: Session, _: Any) -> None:
    """Write what was recorded after the events of the flush had been written."""
    _write(session, _with_rows(session, session.__dict__.pop(_LATE, ()), ()))


@sa.event.listens_for(Session, "after_soft_rollback")
def _forget_late(session: Session, previous: SessionTransaction) -> None:
    """End a flush that has failed; a savepoint of a listener ends none."""
    if not previous.nested:
        session.__dict__.pop(_LATE, None)


def _with_rows(session: Session, objects: Iterable[object], flushed: Collection[object]) -> list[object]:
    """Return the objects that are not to come with a flush of their own: those that were added during this one."""
    waiting = {id(one) for one in session.new} - {id(one) for one in flushed}
    return [one for one in objects if id(one) not in waiting]


def _write(session: Session, objects: list[object]) -> bool:
    """Write what objects have recorded, in the order of recording; return whether there was something."""
    recorders = {id(one): one for one in objects if isinstance(one, Records) and one.__dict__.get(_RECORDED)}
    if not recorders:
        return False
    outbox = getattr(session, LISTENER, None)
    if outbox is None:
        raise RuntimeError("an aggregate has recorded events, and no outbox listens: call Outbox.listen on the factory")
    recorded = sorted(
        itertools.chain.from_iterable(one.__dict__[_RECORDED] for one in recorders.values()), key=lambda pair: pair[0]
    )
    outbox.publish_many(session, [event if isinstance(event, Event) else event() for _, event in recorded])
    # Only now: if writing fails, an object that keeps its values keeps what it recorded.
    written = {place for place, _ in recorded}
    for one in recorders.values():
        left = [pair for pair in one.__dict__.pop(_RECORDED, ()) if pair[0] not in written]
        if left:
            one.__dict__[_RECORDED] = left
        one.__dict__[_WRITTEN] = True
    return True


@sa.event.listens_for(Session, "transient_to_pending")
def _forget_written(_: Session, instance: object) -> None:
    """Forget what the object has written before it was made a new one (``make_transient``)."""
    instance.__dict__.pop(_WRITTEN, None)


@sa.event.listens_for(Session, "pending_to_transient")
@sa.event.listens_for(Session, "persistent_to_transient")
def _notice_loss(_: Session, instance: object) -> None:
    """Notice that the row of an object was rolled back, and with it the events that it had recorded."""
    if instance.__dict__.pop(_WRITTEN, False):
        instance.__dict__[_ROLLED_BACK] = True


@sa.event.listens_for(Records, "expire", propagate=True)
def _drop_recorded(target: Records, attributes: Iterable[str] | None) -> None:
    """Drop what was recorded with the values that an object loses, as in a rollback."""
    if attributes is None:
        target.__dict__.pop(_RECORDED, None)
