"""Apply batches to a read model in PostgreSQL, and find the event that alone keeps its batch from being applied.

What is known of such an event is kept in memory, over stays at the stream: another runner searches again. The
rules are in `relay.projection.rules.suspects`.
"""

from collections.abc import Sequence

from relay.projection.applier import Applier
from relay.projection.definition import Definition
from relay.projection.outcome import Suspected
from relay.projection.ports import Batch, Due, Move, Parked, Redone, Work
from relay.projection.retrier import Retrier
from relay.projection.rules.suspects import Suspects
from relay.projection.store import Store

# How many other events are tried in turn, to learn whether it is the event's fault or everybody's.
_WITNESSES = 10


class PostgresEffects:
    """Applies the events of one projection.

    Args:
        store: Of the partition that the events are of.
    """

    def __init__(self, definition: Definition, store: Store) -> None:
        self._store = store
        self._applier = Applier(definition, store)
        self._retrier = Retrier(definition, store, self._applier)
        self._suspects = Suspects()

    @property
    def limit(self) -> int:
        """How many messages may be applied at once."""
        return self._suspects.limit

    async def apply(self, epoch: int, move: Move, work: Work) -> Batch:
        """Apply a batch; what is refused for a reason of its own, or alone keeps others waiting, is parked.

        Raises:
            Suspected: The session or the transaction was ended: the text says at which events. Whether it was committed
                is not known.
            Exception: As from `Applier.apply`.
        """
        suspects = self._suspects
        suspects.begin(work.created, move.previous)
        try:
            if suspects.active:
                # The state says meanwhile what is searched.
                await self._store.beat(epoch, suspects.reason)
                work = await self._judged(epoch, move, work)
            careful = suspects.active and len(work.due) == 1
            batch = await self._applier.apply(epoch, move, work, careful=careful)
        except Suspected as error:
            if not work.due:
                raise
            seqs = [event.stream_seq for event, _ in work.due]
            reason = suspects.reason if suspects.alone is not None else f"{error}: {_place(work.due)}"
            suspects.failed(work.created, move.previous, seqs, reason)
            raise Suspected(reason) from error
        suspects.passed(move.position)
        return batch

    async def do_as_wanted(self, epoch: int, move: Move, rows: Sequence[Parked]) -> Redone:
        """Retry or skip parked events of one key, as `Retrier.do_as_wanted` does."""
        return await self._retrier.do_as_wanted(epoch, move, rows)

    async def _judged(self, epoch: int, move: Move, work: Work) -> Work:
        """Return a batch in which the events that are known to be at fault say so.

        Raises:
            Suspected: No other event could be applied either.
        """
        suspects = self._suspects
        due = list(work.due)
        if suspects.alone is not None:
            if not due or due[0][0].stream_seq != suspects.alone:
                suspects.acquit()
            elif await self._can_apply_another(epoch, move, due):
                try:
                    await self._applier.would_apply(epoch, move, due[0])
                except Suspected as error:
                    suspects.convict(f"{error}: twice, while another event could be applied")
                else:
                    suspects.acquit()
        guilty = suspects.convicted
        due = [(event._replace(fault=guilty.get(event.stream_seq, event.fault)), handler) for event, handler in due]
        return work._replace(due=due, alike=None)

    async def _can_apply_another(self, epoch: int, move: Move, due: Sequence[Due]) -> bool:
        """Return whether another event than the first one could be applied now; nothing of that stays.

        Those of another key and the same handler say most; only if there are none, others do.

        Raises:
            Suspected: It failed in the same way. The next time another one is tried.
        """
        (suspect, handler), others = due[0], [one for one in due[1:] if one[0].fault is None]

        def rank(other: Due) -> tuple[bool, bool]:
            return suspect.key is not None and other[0].key == suspect.key, other[1] is not handler

        best = min(map(rank, others), default=None)
        others = [one for one in others if rank(one) == best][:_WITNESSES]
        first = self._suspects.tries % max(1, len(others))
        for other in others[first:] + others[:first]:
            if await self._applier.would_apply(epoch, move, other):
                return True
        return False


def _place(due: Sequence[Due]) -> str:
    """Return which events have failed together."""
    first, last = due[0][0], due[-1][0]
    if len(due) > 1:
        return (
            f"at one of the {len(due)} events at stream sequences {first.stream_seq} to {last.stream_seq}; they are "
            "tried in smaller groups"
        )
    return (
        f"at the event at stream sequence {first.stream_seq} ({first.topic}); it is refused if it fails again while "
        "another event can be applied"
    )
