"""What an operator orders: which events, what is to become of them, and up to when. Pure.

A preview fixes what is meant: its moment becomes the end of the filter, so that what comes later is not among it. The
form that confirms carries exactly that, and the number that was shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args
from urllib.parse import parse_qsl, urlencode

from relay.console.filter_form import FilterForm, command, form_of, read_form
from relay.operate.unfinished import Unfinished
from relay.rules.stream.subjects import subject_fault, template_fault
from relay.text import events_of, iso

Action = Literal["retry", "discard", "replay", "replay-discarded"]
ACTIONS = get_args(Action)

# Beyond this the number has to be typed; and by so much more than was shown nothing is done.
TYPED_ABOVE = 10_000
_MORE = 1.1
_RATE = 2000.0
_HIGHEST_RATE = 100_000.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        form: Which events.
        everything: All of them is meant if the form is empty.
        subject: Where a replay sends them instead; empty: to their own subjects.
        rate: Events a second of a replay.
        rest_of: The number of the change that is gone on with; None: it is a new one.
        faults: What is wrong with it; then nothing is looked for.
    """

    action: Action
    form: FilterForm
    everything: bool
    subject: str
    rate: float
    faults: tuple[str, ...]
    rest_of: int | None = None

    @property
    def is_replay(self) -> bool:
        """Whether events are sent again without a change to their rows."""
        return self.action in ("replay", "replay-discarded")

    def fixed(self, now: float, newest: int) -> "Order":
        """Return it as a preview at `now` fixes it.

        Args:
            newest: The highest seq of now; a replay goes no further.
        """
        filters = self.form.filters
        until = now if filters.until is None else min(filters.until, now)
        typed = {**self.form.typed, "until": iso(until) or ""}
        if filters.since is not None:
            typed["since"] = iso(filters.since) or ""
        if self.is_replay:
            last = newest if filters.last_seq is None else min(newest, filters.last_seq)
            first = "" if filters.first_seq is None else filters.first_seq
            # No range ends before it begins; what gets its first seq later is delivered later, and not among it.
            typed["seq"] = f"{first}..{max(last, filters.first_seq or 0)}"
        return replace(self, form=read_form(typed, now), everything=False)

    def command(self) -> str:
        """Return the same as a command, which shows and asks before it does anything."""
        if self.is_replay and self.rest_of is not None:
            return command("replay", "--resume", str(self.rest_of))
        words = {"retry": ["dead", "retry"], "discard": ["dead", "discard"]}.get(self.action, ["replay"])
        words += self.form.flags()
        if self.action == "replay-discarded":
            words.append("--discarded")
        if self.is_replay and self.subject:
            words += ["--subject", self.subject]
        if self.is_replay and self.rate != _RATE:
            words += ["--rate", f"{self.rate:g}"]
        return command(*words)

    def sentence(self, count: int) -> str:
        """Return what would be done to that many events."""
        match self.action:
            case "retry":
                return f"Send {events_of(count, 'dead letter')} again, as if never tried"
            case "discard":
                return f"Discard {events_of(count, 'dead letter')}, for good; keys continue without what is discarded"
            case _:
                kind = "discarded event" if self.action == "replay-discarded" else "delivered event"
                where = self.subject or "their own subjects, where every consumer gets them again"
                return f"Replay {events_of(count, kind)} to {where}"

    def packed(self) -> str:
        """Return it as one text for a form: a browser would change line ends in fields of their own."""
        if self.rest_of is not None:
            return urlencode({"resume": self.rest_of})
        pairs = {"action": self.action, **self.form.typed}
        if self.is_replay:
            pairs |= {"subject": self.subject, "rate": f"{self.rate:g}"}
        return urlencode(pairs)


def rest_of(found: Unfinished) -> Order:
    """Return the order to do what is left of a change."""
    plan = found.plan
    if found.kind != "replay" or plan is None:
        action: Action = "discard" if found.kind == "discard" else "retry"
        return Order(action, form_of(found.filters), False, "", _RATE, (), found.line.number)
    action = "replay-discarded" if plan.discarded else "replay"
    rest = replace(found.filters, first_seq=plan.above + 1, last_seq=max(plan.above + 1, plan.up_to))
    return Order(action, form_of(rest), False, plan.subject or "", plan.rate, (), found.line.number)


def asked_to_go_on(given: Mapping[str, str]) -> int | None:
    """Return the number of the change that a query or a form asks to go on with, None if it asks for another thing."""
    given = {**dict(parse_qsl(given.get("order", ""), keep_blank_values=True)), **given}
    return number_of(given.get("resume", ""))


def number_of(text: str) -> int | None:
    """Return a number of digits alone, None if it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def read_order(given: Mapping[str, str], now: float) -> Order:
    """Read an order from a query or a form; what is in the text of `Order.packed` (``order``) goes below the rest."""
    given = {**dict(parse_qsl(given.get("order", ""), keep_blank_values=True)), **given}
    action = given.get("action", "")
    form = read_form(given, now)
    faults = list(form.faults.values())
    if action not in ACTIONS:
        faults.append("there is no such action")
        action = "retry"
    everything = given.get("all") == "1"
    if not form and not everything:
        faults.append("say which events with a filter")
    subject = given.get("subject", "").strip()
    if subject:
        fault = template_fault(subject) if "{" in subject else subject_fault(subject)
        if fault is not None:
            faults.append(f"subject: {fault}")
    rate = _rate(given.get("rate", ""))
    if rate is None:
        faults.append(f"rate: a number from 0.1 to {_HIGHEST_RATE:,.0f}")
    return Order(cast(Action, action), form, everything, subject, rate or _RATE, tuple(faults))


def _rate(text: str) -> float | None:
    if not text.strip():
        return _RATE
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0.1 <= rate <= _HIGHEST_RATE else None


def objection(shown: int | None, typed: str, found: int) -> str | None:
    """Return why what was confirmed is not done and has to be looked at again; None if it may be.

    Args:
        shown: How many the preview has shown.
        typed: The number that was typed, if that was asked for.
        found: How many match now.
    """
    if shown is None:
        return "this form does not say how many were shown"
    if found > shown * _MORE:
        return f"{found:,} match now, and {shown:,} were shown: look again"
    if found > TYPED_ABOVE and typed.replace(",", "").strip() != str(shown):
        return f"type {shown} to confirm so many"
    return None
