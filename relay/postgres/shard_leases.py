"""Which shards are ours: claimed, kept by a beat, handed over, given back.

An epoch rises with each claim of a shard and fences every write. A lease is counted from before the statement that
took or renewed it, by a clock of ours that no suspension stops, so that we stop sending before anybody else may begin.
"""

import logging
import time
from dataclasses import dataclass, field

from relay.errors import LeaseLost
from relay.lease_clock import lease_now
from relay.observe.logs import event as log_event
from relay.postgres.database import Database
from relay.postgres.presence import Presence
from relay.postgres.rows import BeatRow, ClaimedRow
from relay.postgres.tables import Tables, array
from relay.rules.database.database_state import UNKNOWN, DatabaseState
from relay.rules.database.table_shape import TableShape
from relay.rules.replicas.shard_shares import fair_share, surplus
from relay.rules.settling.watermark import Watermark

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a beat found.

    Attributes:
        others: The other relays that are alive, and how many shards each of them owns.
        share: How many shards we should own.
        free: How many shards nobody owns.
        at: When the statement came; Unix seconds of the database's clock.
        database: How it found the database.
        shape: What the table of events was; None if there was none.
        sent_at: When it was sent; monotonic seconds.
    """

    others: dict[str, int] = field(default_factory=dict)
    share: int = 0
    free: int = 0
    at: float = 0.0
    database: DatabaseState = UNKNOWN
    shape: TableShape | None = None
    sent_at: float = 0.0


@dataclass
class Ownership:
    """The shards of one relay.

    Args:
        presence: The name of this process, and which of the others have ended.
        ttl_s: For how many seconds a lease is taken.

    Attributes:
        epochs: The epoch of each shard that is ours.
        shards: How many shards there are in all; 0 before the first beat.
        crashes: How many owners in a row of any of them ended without giving it back; 0 once that is over.
        until: `lease_now` at which the first of our leases could run out.
        identity: The database that watermarks are of; in another one none is persisted. None: no term has begun.
    """

    database: Database
    tables: Tables
    presence: Presence
    ttl_s: float
    epochs: dict[int, int] = field(default_factory=dict)
    shards: int = 0
    crashes: int = 0
    until: float = 0.0
    identity: str | None = None

    @property
    def member(self) -> str:
        """The name of this process alone."""
        return str(self.presence.member)

    @property
    def fence(self) -> tuple[str, int]:
        """What each write asks for: that we are the owner, and that the epochs of what we own still add up to this.

        An epoch only rises, and during a term we claim nothing, so the sum changes when a shard was taken from us.
        """
        return self.member, sum(self.epochs.values())

    @property
    def leads(self) -> bool:
        """Whether this relay does what one does for all: the owner of shard 0 does."""
        return 0 in self.epochs

    @property
    def all_of_them(self) -> bool:
        """Whether every shard is ours."""
        return len(self.epochs) == self.shards

    async def beat(self, watermark: Watermark) -> Beat:
        """Report that we live, renew our leases, and persist the watermark of our shards, which never moves back.

        The lease of a relay that has provably ended is not waited for: it is over before this returns.

        Raises:
            LeaseLost: Some are not ours any more; `epochs` holds what is left.
        """
        found = await self._beat(watermark)
        ended = self.presence.ended(found.others)
        if not ended:
            return found
        await self.database.run(self.tables.query("ownership/expire"), (ended,))
        for member in ended:
            log_event(
                log,
                "warning",
                "lease.expired",
                "another relay of this machine has crashed: its lease is not waited for",
                owner=member,
            )
        return await self._beat(watermark)

    async def _beat(self, watermark: Watermark) -> Beat:
        before, sent_at = lease_now(), time.monotonic()
        rows = await self.database.run(
            self.tables.query("ownership/beat"),
            (
                self.member,
                self.ttl_s,
                array(self.epochs),
                array(self.epochs.values()),
                watermark.seq,
                watermark.at,
                self.identity,
                self.presence.notes,
                list(self.presence.allow_nats),
            ),
        )
        row = BeatRow._make(rows[0])
        self.shards = row.shards
        self.until = before + self.ttl_s
        lost = self.epochs.keys() - set(row.kept)
        if lost:
            for shard in lost:
                del self.epochs[shard]
            raise LeaseLost(f"{len(lost)} shards, from shard {min(lost)} on, are not this relay's any more")
        others = row.others or {}
        share = fair_share(self.member, len(self.epochs), others, self.shards)
        shape = TableShape.read(row.columns or ())
        return Beat(others, share, row.free, row.at, row.database(), shape, sent_at)

    async def claim(self, limit: int) -> None:
        """Claim at most `limit` free shards. Safe to repeat if the reply was lost."""
        before = lease_now()
        rows = await self.database.run(self.tables.query("ownership/claim"), (self.member, self.ttl_s, limit))
        if not self.epochs:
            self.until = before + self.ttl_s
        claimed = [ClaimedRow._make(row) for row in rows]
        self.epochs.update((row.shard, row.epoch) for row in claimed)
        self.crashes = max([self.crashes, *(row.crashes for row in claimed)])

    async def table_shape(self) -> TableShape | None:
        """Return what the table of events is now; None if there is none."""
        return TableShape.read(await self.database.run(self.tables.query("ownership/columns")))

    async def reset_crashes(self) -> None:
        """Reset the crash counter: what the previous owners held did not crash this relay."""
        await self.database.run(self.tables.query("ownership/reset_crashes"), (self.member,))
        self.crashes = 0

    def begin_term(self, identity: str) -> None:
        """Persist watermarks only in this database from now on."""
        self.identity = identity

    async def lower_watermark(self, seq: int) -> None:
        """Lower the watermark of our shards to `seq`, and floors with it: rows below may be pending again."""
        held = array(self.epochs), array(self.epochs.values())
        await self.database.run(self.tables.query("ownership/lower_watermark"), (*held, seq))

    async def hand_over(self, share: int, watermark: Watermark) -> int:
        """Give back what is above our share, after its last event was settled; return how many shards that were."""
        given = surplus(self.epochs, share)
        if given:
            epochs = [self.epochs.pop(shard) for shard in given]
            await self.database.run(
                self.tables.query("ownership/release"),
                (array(given), array(epochs), watermark.seq, watermark.at, self.identity),
            )
        return len(given)

    async def leave(self, watermark: Watermark) -> None:
        """Give everything back, what a claim took that was broken off included, so that others take over at once."""
        await self.hand_over(0, watermark)
        await self.database.run(self.tables.query("ownership/leave"), (self.member,))
