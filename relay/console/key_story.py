"""The order of one key: who blocks whom. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from relay.operate.events import ListedEvent
from relay.operate.sent_again import late


@dataclass(frozen=True, slots=True)
class KeyStory:
    """What is known of a key.

    Attributes:
        events: In the order of seq.
        blocker: The event that the others of the key wait for; None if nothing is in the way.
        waiting: How many of the events wait behind it.
        verdict: One sentence.
        is_part: Whether more of them may.
        late: Seqs of events that their stream had lost, and that stand behind newer ones since they were sent again.
    """

    events: tuple[ListedEvent, ...]
    blocker: ListedEvent | None
    waiting: int
    verdict: str
    late: tuple[int, ...] = ()
    is_part: bool = False


def key_story(
    found: Iterable[Sequence[ListedEvent]], *, ordered: bool, on_dead: str, is_part: bool = False
) -> KeyStory:
    """Put together what several searches have found of a key.

    Args:
        ordered: Whether each key keeps its order (``delivery.ordering``).
        on_dead: What the key of a dead letter does: ``skip`` it or ``block``.
        is_part: Whether a search has ended before all events of the key.
    """
    story = _in_order(found, ordered=ordered, on_dead=on_dead, is_part=is_part)
    return replace(story, late=late(story.events)) if ordered else story


def _in_order(found: Iterable[Sequence[ListedEvent]], *, ordered: bool, on_dead: str, is_part: bool) -> KeyStory:
    by_seq = {event.seq: event for events in found for event in events}
    events = tuple(by_seq[seq] for seq in sorted(by_seq))
    open_events = [event for event in events if not event.settled]
    dead = [event for event in events if event.state == "dead"]
    if not ordered:
        return KeyStory(
            events, None, 0, 'Keys keep no order here (delivery.ordering = "none"): none waits for another.'
        )
    blocked_by = [event for event in dead if on_dead == "block" and any(event.seq < one.seq for one in open_events)]
    blocker = min([*blocked_by, *open_events[:1]], key=lambda event: event.seq, default=None)
    if blocker is None:
        return KeyStory(events, None, 0, "Nothing waits." if events else "No events of this key were found.")
    waiting = sum(event.seq > blocker.seq for event in open_events)
    least = "at least " if is_part else ""
    behind = f"{least}{waiting} wait{'s' if waiting == 1 else ''} behind it" if waiting else "nothing waits behind it"
    if blocker.state == "dead":
        verdict = f"The key waits for an operator to decide about dead letter {blocker.seq}; {behind}."
    elif blocker.state == "retry":
        verdict = f"Event {blocker.seq} was refused and is tried again; {behind}."
    elif blocker.last_error:
        verdict = f"Event {blocker.seq} is held back; {behind}."
    else:
        verdict = f"Event {blocker.seq} is next; {behind}."
    return KeyStory(events, blocker, waiting, verdict, is_part=is_part)
