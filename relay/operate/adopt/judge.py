"""What speaks against an adoption, and what an operator should know. Pure: no I/O."""

from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from typing import Literal, NamedTuple

from relay.errors import Exit, RelayError
from relay.operate.adopt.mapping import ZONED, Mapping, Source, faults, order_of, topic_fields
from relay.rules.database.adoption import Carried
from relay.rules.database.uncopied import Uncopied
from relay.rules.stream.subjects import key_token, subject_fault
from relay.text import quoted


class Refused(RelayError):
    """It cannot be done safely. Nothing was changed."""

    exit_code = Exit.UNFIT


Level = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """One line.

    Attributes:
        level: ``fault``: it is refused; ``warning``: something is at risk.
        do: What to do; empty if there is nothing.
    """

    level: Level
    seen: str
    do: str = ""


class Rights(NamedTuple):
    """What this login may do.

    Attributes:
        login: Its role.
        owner: Whose the foreign table is.
        owned: Whether the login may do what that owner may.
        missing: What else an adoption takes and the login lacks: what it may not do, and the statement that permits it.
        mighty: Whether that owner is a superuser, or may become one.
    """

    login: str
    owner: str
    owned: bool
    missing: Sequence[tuple[str, str]]
    mighty: bool = False


class Publication(NamedTuple):
    """A publication.

    Attributes:
        of_all: Whether it is of all tables, or of all tables of a schema: it does not name the table.
        owned: Whether this login may do what its owner may.
        owner: Whose it is.
        carried: How it carries the foreign table.
        mighty: Whether its owner is a superuser, or may become one.
    """

    name: str
    of_all: bool
    owned: bool
    owner: str
    carried: Carried
    mighty: bool = False


class Facts(NamedTuple):
    """What the database says of a foreign table and of the outbox.

    Attributes:
        kind: Of the foreign table, as PostgreSQL's catalogue has it: ``r`` a table, ``p`` a partitioned one.
        uncopied: What keeps rows of the foreign table from its triggers.
        rights: Of this login.
        server: The major version of PostgreSQL.
        encoding: Of the database.
        outbox: The outbox in SQL, with its schema.
        payload_type: Of the outbox.
        relay_runs: Whether a relay works on the outbox now.
        unpreparable: Whether transactions may be prepared here, but none that has inserted into the outbox.
        publications: Those that carry the foreign table.
        hidden: Whether row-level security hides rows of the foreign table from this login.
        ours: Whether the table is an outbox of a relay, or stands beside one.
        adopted: Whether the foreign table has this outbox's trigger already.
        sample: Topic and key that the mapping makes of at most 1,000 rows.
    """

    source: Source
    kind: str
    uncopied: Sequence[Uncopied]
    rights: Rights
    server: int
    encoding: str
    outbox: str
    payload_type: str
    relay_runs: bool
    unpreparable: bool
    publications: Sequence[Publication]
    hidden: bool
    ours: bool
    adopted: bool
    sample: Sequence[tuple[str, str | None]]


def refusals(mapping: Mapping, facts: Facts) -> list[Finding]:
    """Return why this adoption is refused; empty if it is not. The sample is not looked at."""
    name = facts.source.label
    found = [Finding("fault", fault) for fault in faults(mapping, facts.source, facts.payload_type, facts.server)]
    if facts.kind not in ("r", "p"):
        found.append(Finding("fault", f"{name} is not a table, so it can have no such trigger"))
    if facts.encoding != "UTF8":
        found.append(
            Finding(
                "fault",
                f"the database is encoded as {facts.encoding}: a conversion could fail the application's insert",
            )
        )
    if facts.ours:
        seen = f"{name} is an outbox of a relay, or stands beside one: its events would be copied again and again"
        found.append(Finding("fault", seen, "--source is the table of the other tool, --table the relay's outbox"))
    found += [Finding("fault", one.words, one.do) for one in facts.uncopied if one.sure]
    if facts.hidden and mapping.purge:
        seen = f"row-level security hides rows of {name} from {facts.rights.login}, so --purge would leave them"
        found.append(Finding("fault", seen, f"ALTER TABLE {facts.source.sql} NO FORCE ROW LEVEL SECURITY"))
    rights = facts.rights
    if not rights.owned:
        found.append(not_owned(name, f"TABLE {facts.source.sql}", rights.owner, rights.mighty, rights.login))
    found += [Finding("fault", f"this login, {rights.login}, may not {what}", do) for what, do in rights.missing]
    return found


def not_owned(name: str, sql: str, owner: str, mighty: bool, login: str) -> Finding:
    """Return that something is another role's, and what permits this login to change it.

    Args:
        name: Of what is not owned, for people.
        sql: The same as ``ALTER`` names it, with its kind.
        mighty: Whether the owner is a superuser, or may become one: a member of it could do anything.
    """
    permit = f"ALTER {sql} OWNER TO {quoted(login)}" if mighty else f"GRANT {quoted(owner)} TO {quoted(login)}"
    return Finding("fault", f"{name} belongs to {owner}, and this login is {login}", f"{permit}, or log in as {owner}")


def hidden_rows(facts: Facts, then: str) -> Finding:
    """Return that a policy hides rows from this login.

    Args:
        then: What follows from it.
    """
    return Finding(
        "warning",
        f"row-level security hides rows of {facts.source.label} from {facts.rights.login}: {then}",
        f"ALTER TABLE {facts.source.sql} NO FORCE ROW LEVEL SECURITY for the time of it, or a login with BYPASSRLS",
    )


def unseen_rows(mapping: Mapping, publication: Publication) -> Finding | None:
    """Return that a publication leaves rows out which would become events; None if it does not, or --when is given."""
    if publication.carried.rows is None or mapping.when is not None:
        return None
    return Finding(
        "warning",
        f"publication {publication.name} carries only the rows for which {publication.carried.rows}: its reader never "
        "saw the others",
        "name the same by --when, over the row `new`, such as --when 'new.kind = 1'; for all rows --when true",
    )


def judge(mapping: Mapping, facts: Facts, template: str) -> list[Finding]:
    """Return every finding, faults first.

    Args:
        template: The relay's subject template.
    """
    name = facts.source.label
    found = refusals(mapping, facts)
    if facts.adopted:
        found.append(Finding("warning", f"{name} is adopted already", "relay adopt install puts this in its place"))
    if mapping.key is None:
        found.append(Finding("warning", "without a key no order is kept", "name it with --key if the table has one"))
    if mapping.created_at is not None:
        found.append(Finding("warning", "created_at is the application's: a time of the past shows as lag"))
    elif facts.source.columns.get(mapping.id, "uuid") != "uuid":
        seen = f"column {mapping.id} is no uuid and no time of the row is mapped: if an id comes again with the same "
        seen += "contents, as after a sequence was restarted, it is taken for the same event, and not copied"
        found.append(Finding("warning", seen, "name it with --created-at if the table has one"))
    if (zoned := _zoned(mapping, facts.source)) is not None:
        seen = f"column {mapping.created_at} is read in the time zone of the session that inserts, and so is the text "
        seen += f"of {zoned}: it is another one in another time zone"
        found.append(Finding("warning", seen, f"leave --created-at out, or map another column than {zoned}"))
    found += [Finding("warning", one.words, one.do) for one in facts.uncopied if not one.sure]
    if facts.hidden:
        found.append(hidden_rows(facts, "no row was mapped, and a backfill is refused"))
    if facts.kind == "p":
        seen = "rows that a table holds when it becomes a partition are not copied"
        found.append(Finding("warning", seen, "copy them by relay adopt backfill"))
    if facts.unpreparable:
        found.append(
            Finding(
                "warning",
                "PREPARE TRANSACTION will fail after an insert: the outbox notifies the relay",
                "if the application uses two-phase commit: relay migrate --no-bell first",
            )
        )
    for publication in facts.publications:
        found.append(
            Finding(
                "warning",
                f"publication {publication.name} carries {name}: its reader sends the same events"
                + (", and now those of the outbox too" if publication.of_all else ""),
                "a trial leaves it so; relay adopt cutover ends it without loss and without a repeat"
                if not publication.of_all
                else "let it name its tables, without the outbox",
            )
        )
        if (unseen := unseen_rows(mapping, publication)) is not None:
            found.append(unseen)
    bad = {subject: fault for subject in subjects_of(facts, template) if (fault := subject_fault(subject)) is not None}
    for subject, fault in list(bad.items())[:5]:
        found.append(
            Finding("warning", f"{fault}: {subject[:100]!r}: such events become dead letters", "change --topic")
        )
    keyless = sum(key is None for _, key in facts.sample)
    if mapping.key is not None and keyless:
        found.append(
            Finding("warning", f"{keyless:,} of {len(facts.sample):,} rows have no key: their order is not kept")
        )
    if not any(one.level == "fault" for one in found):
        if mapping.key is not None:
            order = order_of(mapping, facts.source)
            told = "no column is known that orders older rows: a backfill takes --order-by, or --created-at"
            found.append(
                Finding("ok", told if order is None else f"a backfill copies older rows in the order of {order}")
            )
        subjects = sorted({topic for topic, _ in facts.sample})
        seen = f"{len(facts.sample):,} rows were mapped to {len(subjects):,} topics: {', '.join(subjects[:10])}"
        if not facts.hidden:
            found.append(Finding("ok", seen if facts.sample else "the table is empty: nothing was mapped"))
    return found


def _zoned(mapping: Mapping, source: Source) -> str | None:
    """Return a column that is copied as text and holds a time with a zone, if the trigger leaves the zone as it is."""
    if mapping.created_at is None or source.columns.get(mapping.created_at) != "timestamp without time zone":
        return None
    fields = [mapping.id, mapping.key, *topic_fields(mapping), *(field for _, field in mapping.headers)]
    zoned = [one for one in fields if one is not None and source.columns.get(one) in ZONED]
    return zoned[0] if zoned else None


def subjects_of(facts: Facts, template: str) -> list[str]:
    """Return the subjects that the sample makes, each once, in its order.

    Args:
        template: The relay's subject template.
    """
    made = (template.replace("{topic}", topic).replace("{key}", key_token(key)) for topic, key in facts.sample)
    return list(dict.fromkeys(made))


def judge_streams(streams: Dictionary[str, str | None]) -> list[Finding]:
    """Return what is to be known of the streams that take the subjects.

    Args:
        streams: For each subject that was looked up the stream that takes it, None if none does.
    """
    homeless = sorted(subject for subject, stream in streams.items() if stream is None)
    found = []
    if homeless:
        shown = ", ".join(homeless[:5])
        found.append(
            Finding(
                "warning",
                f"no stream takes {len(homeless):,} of {len(streams):,} subjects, such as {shown}: their events wait",
                "relay stream create NAME --subject ...",
            )
        )
    names = sorted({stream for stream in streams.values() if stream is not None})
    if names:
        found.append(Finding("ok", f"{len(streams) - len(homeless):,} subjects go to {', '.join(names)}"))
    return found
