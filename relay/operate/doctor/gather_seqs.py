"""Compare the newest messages of the streams with the rows of their seqs, as relays do at their start."""

from collections.abc import Iterable

import psycopg

from relay.operate.doctor.facts import SeqFacts, StreamReport
from relay.postgres.session import conninfo, pin_now
from relay.postgres.tables import Tables, array
from relay.rules.database.origins import Origins


def gather_seqs(dsn: str, table: str, connect_timeout_s: float, streams: Iterable[StreamReport]) -> list[SeqFacts]:
    """Return what each stream says whose newest messages were read; nothing of one that holds no event of this outbox.

    The messages were read before: their rows were visible before they were sent.
    """
    read = [stream for stream in streams if stream.newest]
    if not read:
        return []
    tables = Tables(table)
    try:
        name = "outbox-relay doctor"
        with psycopg.connect(conninfo(dsn, name, connect_timeout_s), autocommit=True, prepare_threshold=None) as conn:
            pin_now(conn)
            cursor = psycopg.RawCursor(conn)
            row = cursor.execute(tables.query("operate/origin")).fetchone()
            origins = Origins((row and row[0]) or "")
            found = []
            for stream in read:
                ours = [
                    one
                    for one in stream.newest
                    if origins.is_newest(one.seq) and one.origin and one.origin == origins.of(one.seq)
                ]
                ids = "{" + ",".join(one.event_id for one in ours) + "}"
                seqs = array(one.seq for one in ours)
                reused = cursor.execute(tables.query("integrity/reused_seqs"), (seqs, ids)).fetchall() if ours else []
                first = min((seq for seq, *_ in reused), default=None)
                found.append(SeqFacts(stream.name, len(ours), len(reused), first))
            return [one for one in found if one.compared]
    except psycopg.Error:
        return []  # Other findings say why PostgreSQL cannot be asked.
