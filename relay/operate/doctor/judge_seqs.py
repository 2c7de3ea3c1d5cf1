"""Judge whether seqs name one event each. Pure."""

from collections.abc import Iterable, Iterator

from relay.operate.doctor.facts import SeqFacts
from relay.operate.doctor.findings import Finding

_DO = (
    "run `relay migrate --new-origin`, on the copy if another database was copied from this one, then"
    " `relay projection verify`"
)


def judge_seqs(facts: Iterable[SeqFacts]) -> Iterator[Finding]:
    """Judge each stream whose messages were compared with the table."""
    for one in facts:
        check = f"seqs in {one.stream}"
        if one.reused:
            seen = (
                f"{one.reused} of its {one.compared} newest events of this origin, from seq {one.first} on, are other"
                " rows' here, or are yet to be drawn: the database has lost commits, its sequence was set back, or"
                " another database, of which one is a copy of the other, sends to the same stream"
            )
            yield Finding("postgres", check, "fault", seen, _DO)
        else:
            yield Finding("postgres", check, "ok", f"its {one.compared} newest events agree with the table")
