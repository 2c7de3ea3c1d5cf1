"""What a table or trigger that was dropped leaves behind: the function of its adoption."""

from relay.operate.access import Reader, Row
from relay.operate.adopt import script
from relay.operate.adopt.facts import adoptions, outbox_of
from relay.operate.adopt.judge import Facts, Refused
from relay.operate.adopt.races import overtaken
from relay.operate.changes import Changer
from relay.rules.database.adoption import Adoption
from relay.text import quoted


def find(changer: Changer, table: str) -> Adoption | None:
    """Return what is left of the adoption of a table by this outbox; None if its trigger is there, or nothing is.

    Args:
        table: As SQL names it; it may be gone.
    """
    with overtaken(), changer.step():
        outbox = outbox_of(changer)
        found = changer.rows("adopt/source", (table,))
        label = f"{found[0][0]}.{found[0][1]}" if found else table
        ours = [one for one in adoptions(changer) if one.outbox == outbox and label in (one.table, one.source)]
    return ours[0] if ours and all(one.gone for one in ours) else None


def drop(changer: Changer, adoption: Adoption) -> None:
    """Drop what is left of an adoption.

    Raises:
        Refused: A trigger has come to it meanwhile. Nothing was changed.
        Denied: The function is another role's. Nothing was changed.
    """
    needs = "run this as the owner of the function, which is whoever has installed it"
    with (
        changer.audited("adopt remove", {"table": adoption.table, "publication": None}, 1) as audit,
        overtaken(),
        changer.step(needs),
    ):
        changer.cursor.execute(script.drop_function(adoption.function, changer.tables).encode())
        audit.add(1)


def require_room(reader: Reader, facts: Facts) -> None:
    """Refuse an adoption whose function another table has: that was renamed, and this one has taken its name.

    Raises:
        Refused: It has it.
    """
    for is_own, trigger, table in _users(reader, facts):
        if trigger is not None and not is_own:
            raise Refused(
                f"{table} was called {facts.source.label} when it was adopted, and still is: end that by relay adopt "
                f"remove --source {table}"
            )


def make_room(changer: Changer, facts: Facts) -> None:
    """Drop what is left of an adoption of the table, once its trigger is gone or has lost its comment; in an open step.

    Raises:
        Refused: See `require_room`.
    """
    require_room(changer, facts)
    function = script.names(facts.source, facts.outbox, changer.tables).function
    found = _users(changer, facts)
    for _, trigger, _ in found:
        if trigger is not None:
            changer.cursor.execute(f"DROP TRIGGER {quoted(trigger)} ON {facts.source.sql}".encode())
    if found:
        changer.cursor.execute(script.drop_function(function, changer.tables).encode())


def _users(reader: Reader, facts: Facts) -> list[Row]:
    """Return the triggers that run the function which an adoption would make; one without names if none does."""
    function = script.names(facts.source, facts.outbox, reader.tables).function
    return reader.rows("adopt/function", (f"{function}()", facts.source.sql))
