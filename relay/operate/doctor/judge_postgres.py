"""Judge what was seen of PostgreSQL. Pure."""

from collections.abc import Iterator

from relay.operate.doctor.facts import Expectation, Holders, PostgresFacts, Server, Session, Table
from relay.operate.doctor.findings import Finding, Level, seconds
from relay.operate.doctor.judge_shards import judge_shards
from relay.postgres.tables import Tables
from relay.rules.database.adoption import Adoption
from relay.rules.order.seq_bounds import BELOW_ALL
from relay.rules.replicas.differing_settings import differing

# CREATE OR REPLACE TRIGGER, which the bell is made with.
_OLDEST = 140000
# The relay marks every row once, in place: below this much free space the mark moves to another page.
_FILLFACTOR = 60
_LONG_S = 300.0
# An update that a publication does not let happen: its row filter, or no replica identity.
_OF_PUBLICATIONS = ("42P10", "55000")
_MANY_DEAD = 100_000


def judge_postgres(facts: PostgresFacts, plan: Expectation) -> Iterator[Finding]:
    """Judge everything, in the order in which it would be put right."""
    if facts.error is not None:
        yield _line("connection", "fault", facts.error, "see [postgres] dsn, and docs/operations/security.md")
        return
    role = Tables(plan.table).name(plan.role)
    if facts.server is not None:
        yield from _server(facts.server, role, plan)
    yield _schema(facts, plan)
    if facts.unfit:
        do = "make it as `relay migrate` does (docs/reference/table.md); until then nothing is sent"
        yield _line("columns", "fault", "; ".join(facts.unfit), do)
    if facts.rights:
        yield _rights(facts, role, plan)
    for one in facts.changers:
        verbs, tables = ", ".join(one.verbs), ", ".join(one.tables)
        seen = f"{one.role} may {verbs} rows of {tables}, by grants that `relay migrate` did not make"
        do = f"REVOKE {verbs} ON {tables} FROM {one.role}; see ALTER DEFAULT PRIVILEGES of the owner"
        yield _line("other rights", "warning", seen, do)
    if facts.table is not None:
        yield _stored(facts.table, facts, plan)
        yield from _changes(facts, plan)
        yield from _table(facts.table, plan, facts.server is None or facts.server.autovacuum)
        yield from _bell(facts, facts.table, plan)
    if facts.holders is not None:
        yield from _holders(facts.holders, facts.server)
    if facts.leases is not None:
        yield from judge_shards(facts.leases, plan)
    if len(facts.members) > 1:
        yield _settings(facts.members)
    for relay, note in facts.notes:
        yield _line(
            f"relay {relay.partition(':')[0]}",
            "warning",
            note,
            "see what hinders changes above, and the log of that relay",
        )
    for adoption in facts.adoptions:
        yield _adoption(adoption)


def _line(check: str, level: Level, seen: str, do: str = "") -> Finding:
    return Finding("postgres", check, level, seen, do)


def _server(server: Server, role: str, plan: Expectation) -> Iterator[Finding]:
    if server.version_number < _OLDEST:
        yield _line("version", "fault", f"PostgreSQL {server.version}", "the outbox needs PostgreSQL 14 or newer")
    else:
        yield _line("version", "ok", f"PostgreSQL {server.version}")
    if server.encoding != "UTF8":
        do = "the outbox needs a database that was made with ENCODING 'UTF8'"
        yield _line("encoding", "fault", f"this database encodes text as {server.encoding}", do)
    if server.in_recovery:
        yield _line("primary", "fault", "a standby: nothing can be marked here", "use the address of the primary")
    elif server.read_only and plan.role == "reader":
        yield _line("primary", "ok", "transactions are read-only by default, as suits who looks")
    elif server.read_only:
        do = f"ALTER ROLE {server.role} RESET default_transaction_read_only, or the same for the database"
        yield _line("primary", "fault", "transactions are read-only by default", do)
    else:
        yield _line("primary", "ok", "takes writes")
    if server.superuser:
        do = f"log in with a role that has {role} granted, and nothing else (docs/operations/security.md)"
        yield _line("role", "warning", f"{server.role} is a superuser", do)
    else:
        yield _line("role", "ok", f"{server.role}, no superuser")
    off = [name for name, on in (("fsync", server.fsync), ("full_page_writes", server.full_page_writes)) if not on]
    if off:
        do = f"set {' and '.join(off)} = on"
        yield _line("durability", "fault", f"{' and '.join(off)} off: a crash can take committed events", do)
    else:
        yield _line("durability", "ok", "fsync and full_page_writes are on")


def _schema(facts: PostgresFacts, plan: Expectation) -> Finding:
    found, wanted = facts.schema_version, facts.wanted_version
    if found is None and any(right.refusal is not None for right in facts.rights):
        return _line("schema", "fault", f"{plan.table} is there; this login may not read its version", "see rights")
    if found is None:
        return _line("schema", "fault", f"{plan.table} is not in this database", "run `relay migrate`")
    if found < wanted:
        return _line("schema", "fault", f"version {found}, this relay needs {wanted}", "run `relay migrate`")
    if (facts.oldest_relay or found) > wanted:
        return _line("schema", "fault", f"version {found}, this relay knows {wanted}", "use a newer relay")
    if found > wanted:
        return _line("schema", "ok", f"version {found} of {plan.table}, on which relays that know {wanted} may work")
    return _line("schema", "ok", f"version {found} of {plan.table}, payload {facts.payload_type}")


def _rights(facts: PostgresFacts, role: str, plan: Expectation) -> Finding:
    refused = [right for right in facts.rights if right.refusal is not None]
    if not refused:
        uses = "the relay uses" if plan.role == "relay" else "looking takes"
        return _line("rights", "ok", f"each of {len(facts.rights)} that {uses} was tried and rolled back")
    missing = "; ".join(f"{right.verb} on {right.table}: {right.refusal}" for right in refused)
    if all(_is_no_right(right.refusal or "") for right in refused):
        return _line("rights", "fault", missing, "no right is missing: see what hinders changes, below")
    return _line("rights", "fault", missing, f"GRANT {role} to this role; `relay migrate` renews what it holds")


def _is_no_right(refusal: str) -> bool:
    """Report whether an update failed for a publication of the table."""
    return any(f"SQLSTATE {state}" in refusal for state in _OF_PUBLICATIONS)


def _changes(facts: PostgresFacts, plan: Expectation) -> Iterator[Finding]:
    """Report what may keep an event that is stored from being marked."""
    refused = any(_is_no_right(right.refusal or "") for right in facts.rights)
    for one in facts.hindrances:
        is_fault = one.kind in ("rule", "identity") or (one.kind == "filter" and refused)
        yield _line("changes", "fault" if is_fault else "warning", one.seen(), one.mend(plan.table))
    if not facts.hindrances:
        yield _line("changes", "ok", "no rule, trigger or publication stands in the way of a mark")
    for own in facts.own_hindrances:
        yield _line("own tables", "warning", own.seen(), own.mend())


def _stored(table: Table, facts: PostgresFacts, plan: Expectation) -> Finding:
    if table.persistence != "p":
        return _line("table", "fault", "it is unlogged: a crash empties it", f"ALTER TABLE {plan.table} SET LOGGED")
    if facts.hidden is not None:
        do = "ALTER ROLE ... BYPASSRLS, or policies USING (true) that show the relay every row"
        return _line("table", "fault", f"row-level security hides rows of {facts.hidden} from this role", do)
    if facts.unreachable:
        seen = f"a row has the seq {BELOW_ALL}: no range of seqs includes it, so it is never delivered"
        return _line("table", "fault", seen, f"have it draw another one: in {plan.table}, SET seq = DEFAULT")
    return _line("table", "ok", f"logged, {table.size / 1024**2:,.1f} MiB")


def _table(table: Table, plan: Expectation, server_vacuums: bool) -> Iterator[Finding]:
    yield _sequence(table, plan)
    yield from _heap(table, plan, server_vacuums)
    if table.subscribed:
        yield _line(
            "replication",
            "warning",
            "rows come by logical replication: they ring no bell, and draw no seq here",
            f"polling finds them within {seconds(plan.poll_max_s)}; let one side alone insert",
        )


def _sequence(table: Table, plan: Expectation) -> Finding:
    cache = table.sequence_cache
    alter = f"ALTER TABLE {plan.table} ALTER COLUMN seq SET"
    if cache is None:
        return _line(
            "sequence", "fault", "seq has no sequence of its own", "restore the table as `relay migrate` makes it"
        )
    if table.sequence_increment != 1 or table.sequence_cycles:
        return _line("sequence", "fault", "seq does not only rise by one", f"{alter} INCREMENT 1 SET NO CYCLE")
    if cache > 1:
        seen = (
            f"seq has a cache of {cache}: sessions take numbers in advance, so that later commits may have lower ones"
        )
        return _line("sequence", "fault", f"{seen}, out of order and long after", f"{alter} CACHE 1")
    return _line("sequence", "ok", "rises by one, without a cache")


def _heap(table: Table, plan: Expectation, server_vacuums: bool) -> Iterator[Finding]:
    if table.marked_indexes:
        names = ", ".join(table.marked_indexes)
        do = f"DROP INDEX {names}, or leave out what a delivery changes"
        yield _line("marks", "warning", f"a delivery changes a column in {names}: twice the cost, and bloat", do)
    elif table.fillfactor > _FILLFACTOR:
        do = f"ALTER TABLE {plan.table} SET (fillfactor = 45); pages that are written from then on have room"
        yield _line("marks", "warning", f"fillfactor {table.fillfactor} leaves a mark no room on its page", do)
    else:
        share = f", {table.updated_hot / table.updated:.1%} of marks were heap-only" if table.updated else ""
        yield _line("marks", "ok", f"fillfactor {table.fillfactor}, no index on what a delivery changes{share}")
    if not (table.autovacuum and server_vacuums):
        do = f"ALTER TABLE {plan.table} RESET (autovacuum_enabled), and autovacuum = on"
        yield _line("autovacuum", "fault", "it is off: the table grows, and ids run out", do)
    elif table.dead > _MANY_DEAD and table.dead > table.live / 2:
        seen = f"{table.dead:,} dead rows beside {table.live:,} living"
        yield _line("autovacuum", "warning", seen, "look for old transactions and slots below; VACUUM by hand once")
    else:
        yield _line("autovacuum", "ok", f"on, {table.dead:,} dead rows beside {table.live:,} living")


def _bell(facts: PostgresFacts, table: Table, plan: Expectation) -> Iterator[Finding]:
    yield from _session(facts, plan)
    prepared = 0 if facts.server is None else facts.server.max_prepared
    polls = f"new events are found within {seconds(plan.poll_max_s)}"
    if table.bell is None and plan.bell:
        yield _line("bell", "ok", f"no trigger rings it: {polls}", "`relay migrate` adds it")
    elif table.bell is not None and table.bell not in ("O", "A"):
        do = f"ALTER TABLE {plan.table} ENABLE TRIGGER outbox_bell"
        yield _line("bell", "warning", f"its trigger is switched off: {polls}", do)
    elif table.bell is not None and prepared > 0:
        seen = f"max_prepared_transactions is {prepared}: PREPARE TRANSACTION fails after an insert that rings"
        yield _line("bell", "warning", seen, "if producers use two-phase commit: `relay migrate --no-bell`")
    elif not plan.bell:
        yield _line("bell", "ok", f"delivery.bell is off: {polls}")
    else:
        yield _line("bell", "ok", "inserts ring it")


def _session(facts: PostgresFacts, plan: Expectation) -> Iterator[Finding]:
    session = facts.session
    if facts.bell_error is not None:
        yield _line("bell address", "fault", facts.bell_error, "see [postgres] bell_dsn")
    if session is None:
        return
    way = "bell_dsn" if plan.bell_dsn else "dsn"
    yield _line(
        "session",
        "ok" if not session.shared or not plan.bell else "warning",
        _way(session, way),
        _direct(session, plan),
    )
    if not plan.bell:
        return
    if session.ring_s is None:
        do = "set postgres.bell_dsn to a direct address, or set delivery.bell = false to rely on polling"
        yield _line("notifications", "warning", f"LISTEN over {way} hears nothing: polling alone finds events", do)
    else:
        yield _line("notifications", "ok", f"LISTEN over {way} heard one after {seconds(session.ring_s)}")


def _way(session: Session, way: str) -> str:
    if session.shared:
        return f"{way} leads through a pooler in transaction mode: a session's locks and LISTEN do not hold"
    if session.pooler:
        return f"{way} leads through a pooler that keeps sessions"
    return f"{way} leads to the server itself"


def _direct(session: Session, plan: Expectation) -> str:
    return "set postgres.bell_dsn to a direct address" if session.shared and plan.bell else ""


def _holders(holders: Holders, server: Server | None) -> Iterator[Finding]:
    if holders.prepared and (holders.prepared_age_s or 0) > _LONG_S:
        age = seconds(round(holders.prepared_age_s or 0))
        seen = f"{holders.prepared} prepared, the oldest {age} ago: what follows its events waits in the watermark"
        yield _line("prepared", "warning", seen, "COMMIT PREPARED or ROLLBACK PREPARED; see pg_prepared_xacts")
    else:
        yield _line("prepared", "ok", f"{holders.prepared} prepared transactions")
    if (holders.oldest_s or 0) > _LONG_S:
        seen = f"one is open for {seconds(round(holders.oldest_s or 0))}"
        do = "see pg_stat_activity; it keeps dead rows, and the watermark if it has inserted events"
        yield _line("transactions", "warning", seen, do)
    elif server is not None and not server.sees_all and holders.hidden:
        seen = f"none of its own is old; those of {holders.hidden} other sessions cannot be seen"
        yield _line("transactions", "ok", seen, f"to see them: GRANT pg_read_all_stats TO {server.role}")
    else:
        yield _line("transactions", "ok", f"none is older than {seconds(_LONG_S)}")
    if holders.idle_slots:
        seen = f"nobody reads {', '.join(holders.idle_slots)}: WAL and dead rows are kept for it"
        yield _line("slots", "warning", seen, "start its reader, or SELECT pg_drop_replication_slot(...)")
    else:
        yield _line("slots", "ok", "no replication slot is left behind")


def _settings(members: tuple[str, ...]) -> Finding:
    found = differing(members)
    if not found:
        return _line("settings", "ok", f"{len(members)} relays work, and none says that its settings are others")
    seen = f"of {len(members)} relays that work some differ in {'; '.join(found)}"
    do = "give all relays of an outbox one configuration; while one is rolled out this passes"
    return _line("settings", "warning", seen, do)


def _adoption(adoption: Adoption) -> Finding:
    check = f"adoption {adoption.source}"
    seen = f"{adoption.state} (into {adoption.outbox})"
    do = (
        "relay adopt install again, with the options of then: it puts the trigger in the place of the one that is there"
    )
    if adoption.sound:
        if adoption.shared:
            do = "ALTER PUBLICATION ... DROP TABLE, and let the reader take none (publication.autocreate.mode=disabled)"
        elif adoption.outdated:
            pass
        elif adoption.doubts:
            do = adoption.doubts[0].do
        else:
            return _line(check, "ok", seen)
        return _line(check, "warning", seen, do)
    if adoption.missed:
        do = adoption.missed[0].do
    if adoption.gone:
        do = "relay adopt install again and backfill what was missed; or relay adopt remove, if nothing is to be copied"
    elif not adoption.enabled:
        do = "ALTER TABLE ... ENABLE TRIGGER, and copy what was missed with `relay adopt backfill`"
    return _line(check, "fault", seen, do)
