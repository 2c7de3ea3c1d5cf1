"""The filters of ``relay list`` as the query of an address: read, written again, and as a command to copy. Pure."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from relay.operate import filter_text
from relay.operate.filters import Filters
from relay.text import iso

NAMES = ("topic", "key", "since", "until", "seq", "id", "error")
# The commands that a page shows and that ask, but for `relay verify`, which does with an option.
_ASKING = ("relay dead retry", "relay dead discard", "relay replay", "relay stream create", "relay stream edit")


@dataclass(frozen=True, slots=True)
class FilterForm:
    """What was typed, field by field; a field that was left empty is not in it.

    Attributes:
        filters: What it means; nothing if there are faults.
        faults: What is wrong, by field.
    """

    typed: Mapping[str, str]
    filters: Filters
    faults: Mapping[str, str]

    def value(self, name: str) -> str:
        """Return what was typed into a field."""
        return self.typed.get(name, "")

    def query(self, **others: object) -> str:
        """Return it as the query of an address, with other parameters before it; empty values are left out."""
        pairs = {**{name: value for name, value in others.items() if value not in (None, "")}, **self.typed}
        return urlencode(pairs)

    def flags(self) -> list[str]:
        """Return it as the flags of a command."""
        words = []
        for name in NAMES:
            values = self.typed[name].split() if name == "id" and name in self.typed else [self.value(name)]
            for value in values:
                if value:
                    words += [f"--{name}", value] if not value.startswith("-") else [f"--{name}={value}"]
        return words

    def __bool__(self) -> bool:
        """Report whether anything is asked for."""
        return bool(self.typed)


def form_of(filters: Filters) -> FilterForm:
    """Return filters as if they had been typed."""
    seqs = (
        ""
        if filters.first_seq is None and filters.last_seq is None
        else "{}..{}".format(*("" if seq is None else seq for seq in (filters.first_seq, filters.last_seq)))
    )
    typed = {
        "topic": filters.topic,
        "key": filters.key,
        "since": iso(filters.since),
        "until": iso(filters.until),
        "seq": seqs,
        "id": " ".join(filters.ids),
        "error": filters.error,
    }
    return FilterForm({name: value for name, value in typed.items() if value}, filters, {})


def read_form(given: Mapping[str, str], now: float) -> FilterForm:
    """Read the filters of a query; what belongs to no filter is passed over.

    Args:
        now: Unix seconds, from which spans are counted back.
    """
    typed = {name: given[name].strip() for name in NAMES if given.get(name, "").strip()}
    faults: dict[str, str] = {}
    since = until = None
    seqs: tuple[int | None, int | None] = (None, None)
    ids: tuple[str, ...] = ()
    for name, text in typed.items():
        try:
            match name:
                case "since":
                    since = filter_text.moment_or_span(text, now)
                case "until":
                    until = filter_text.moment_or_span(text, now)
                case "seq":
                    seqs = filter_text.seq_range(text)
                case "id":
                    ids = tuple(map(filter_text.event_id, text.split()))
                case _ if "\x00" in text:
                    faults[name] = "no text of PostgreSQL holds a zero byte"
        except ValueError as error:
            faults[name] = str(error)
    if faults:
        return FilterForm(typed, Filters(), faults)
    # The key is compared as it was typed: spaces at its ends are part of it.
    key = given.get("key") or None if "key" in typed else None
    if key is not None:
        typed["key"] = key
    return FilterForm(typed, Filters(typed.get("topic"), key, since, until, ids, *seqs, typed.get("error")), {})


def events_path(form: FilterForm) -> str | None:
    """Return the page of what a form means, whatever has become of it since; None if only its state or time tells.

    That is the page of the event if it means one, else the list of those with its topic, key, seqs and ids.
    """
    first, dots, last = form.value("seq").partition("..")
    if first and (not dots or first == last):
        return f"/events/{first}"
    kept = {name: value for name, value in form.typed.items() if name in ("topic", "key", "seq", "id")}
    if not kept.keys() - {"seq"} and not first:
        return None
    return f"/events?{FilterForm(kept, Filters(), {}).query(state='any')}"


def command(*words: str) -> str:
    """Write a command for a shell; what a page shows as an escape, bash and zsh read as one."""
    return " ".join(("relay", *map(_quoted, words)))


def asks(text: str) -> bool:
    """Report whether a command that a page shows asks before it changes something."""
    return text.startswith(_ASKING) or (text.startswith("relay verify ") and " --redeliver" in text)


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    safe = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(char if char.isprintable() else _escaped(char) for char in safe) + "'"


def _escaped(char: str) -> str:
    # Always of full length: a digit that follows is not part of it.
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
