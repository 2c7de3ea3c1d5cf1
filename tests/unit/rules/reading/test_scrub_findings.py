"""What the scrub finds is sent once, and never again if it is found again."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.reading.scrub_findings import ScrubFindings


@given(st.lists(st.sets(st.integers(1, 20)), max_size=20))
def test_each_is_sent_once_and_reported_once(findings: list[set[int]]) -> None:
    again = ScrubFindings()
    sent: Counter[int] = Counter()
    reported: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    for seqs in findings:
        not_sent = {seq for seq in seqs if not again.has_sent(seq)}
        to_send, in_vain = again.found(seqs)
        assert to_send == not_sent
        assert to_send | in_vain <= seqs
        sent.update(to_send)
        reported.update(in_vain)
        seen.update(seqs)
    assert sent == Counter(dict.fromkeys(seen, 1))
    assert reported == Counter({seq: 1 for seq, times in seen.items() if times > 1})


@given(st.integers(1, 5), st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_with_its_memory_full_no_event_is_sent_without_end(most: int, seqs: list[int]) -> None:
    again = ScrubFindings(most)
    again.found([1000])
    again.found([1000])
    assert sum(len(again.found([seq])[0]) for seq in seqs * 3) < most, "one of them was sent in vain before"


def test_without_any_in_vain_a_full_memory_begins_again() -> None:
    again = ScrubFindings(2)
    assert [again.found([seq])[0] for seq in range(5)] == [{0}, {1}, {2}, {3}, {4}]


def test_another_connection_may_find_them_again() -> None:
    again = ScrubFindings()
    again.found([1])
    again.clear()
    assert again.found([1]) == ({1}, set())


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.integers(-1, 9), st.integers(-1, 9))
def test_what_was_seen_settled_is_sent_again(sent: set[int], pending: set[int], above: int, up_to: int) -> None:
    again = ScrubFindings()
    again.found(sent)
    again.passed(above, up_to, pending)
    seen_settled = {seq for seq in sent - pending if above < seq <= up_to}
    assert {seq for seq in range(10) if again.has_sent(seq)} == sent - seen_settled
    assert again.found(sent) == (seen_settled, sent - seen_settled)


def test_what_was_sent_in_vain_and_is_settled_later_is_sent_again() -> None:
    again = ScrubFindings()
    again.found([1])
    again.found([1])
    again.passed(0, 1, [])
    assert again.found([1]) == ({1}, set())
