"""The gaps below the cursor: nothing that commits is lost, and what cannot come is given up."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rules.order.gaps import Gaps, Holder
from tests.unit.rules.order.transactions import Database, Reader, Transaction


def gap_of(database: Database, owner: Transaction) -> Reader:
    """Make a reader that has passed over a row of `owner`, and has not looked at the locks yet."""
    reader = Reader(database)
    database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    assert len(reader.gaps) == 1
    return reader


def test_a_late_commit_is_found_once() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.round()
    assert reader.found == {2: 1}
    database.end(owner, commit=True)
    reader.round()
    reader.round()
    assert reader.found == {1: 1, 2: 1}
    assert len(reader.gaps) == 0


def test_a_commit_between_the_look_and_the_read_is_found() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.look()
    database.end(owner, commit=True)
    reader.ask()
    reader.read()
    assert reader.found == {1: 1, 2: 1}


def test_a_rolled_back_gap_is_given_up_in_the_next_round_while_others_stay_open() -> None:
    database = Database()
    owner, unrelated = database.begin(), database.begin()
    reader = gap_of(database, owner)
    reader.round()
    database.end(owner, commit=False)
    assert unrelated in database.open
    assert reader.round() == 1
    assert len(reader.gaps) == 0


def test_a_lock_taken_after_the_first_look_keeps_no_gap() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.round()
    database.draw(database.begin())
    database.end(owner, commit=False)
    assert reader.round() == 1


def test_a_gap_waits_for_its_owner_prepared_before_the_first_look() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    database.prepare(owner)
    assert reader.round() == 0
    database.end(owner, commit=True)
    reader.round()
    assert reader.found[1] == 1


def test_a_gap_waits_for_its_owner_prepared_between_two_looks_though_another_holder_stays() -> None:
    database = Database()
    owner, other, earlier = database.begin(), database.begin(), database.begin()
    database.draw(other)
    database.draw(earlier)
    database.prepare(earlier)
    reader = gap_of(database, owner)
    reader.round()
    database.prepare(owner)
    reader.round()
    database.end(other, commit=False)
    reader.round()
    database.end(earlier, commit=False)
    reader.round()
    reader.round()
    database.end(owner, commit=True)
    reader.round()
    assert reader.found[database.last_seq - 1] == 1


def test_a_gap_waits_for_owners_that_are_prepared_one_after_another() -> None:
    database = Database()
    reader = Reader(database)
    owners = [database.begin() for _ in range(3)]
    for owner in owners:
        database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    reader.round()
    for owner in owners:
        database.prepare(owner)
        reader.round()
    for owner in owners:
        database.end(owner, commit=True)
        reader.round()
    assert reader.found == {1: 1, 2: 1, 3: 1, 4: 1}


def test_an_owner_prepared_between_look_and_read_is_still_waited_for() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.look()
    reader.ask()
    database.prepare(owner)
    reader.read()
    reader.round()
    database.end(owner, commit=True)
    reader.round()
    assert reader.found == {1: 1, 2: 1}


def test_a_steady_flow_of_two_phase_commits_keeps_no_rolled_back_gap() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.round()
    database.end(owner, commit=False)
    prepared: list[Transaction] = []
    for _ in range(5):
        newest = database.begin()
        database.draw(newest)
        database.prepare(newest)
        prepared.append(newest)
        if len(prepared) > 2:
            database.end(prepared.pop(0), commit=False)
        reader.round()
    assert len(reader.gaps) == 0


def test_a_prepared_owner_that_is_rolled_back_leaves_no_gap_in_a_flow_of_two_phase_commits() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    database.prepare(owner)
    reader.round()
    database.end(owner, commit=False)
    newcomer = database.begin()
    database.draw(newcomer)
    database.prepare(newcomer)
    reader.round()
    assert len(reader.gaps) == 0


def test_a_gap_is_never_given_up_before_the_locks_were_looked_at() -> None:
    database = Database()
    owner = database.begin()
    reader = gap_of(database, owner)
    reader.ask()
    assert reader.read() == 0
    database.end(owner, commit=True)
    reader.round()
    assert reader.found == {1: 1, 2: 1}


def test_a_gap_that_appears_after_the_look_is_not_given_up_in_the_same_round() -> None:
    database = Database()
    reader = Reader(database)
    owner = database.begin()
    reader.look()
    database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    reader.ask()
    assert reader.read() == 0


def test_what_is_yet_to_be_drawn_below_a_row_far_ahead_stays_open_until_it_was_drawn_and_given_up() -> None:
    database = Database()
    reader = Reader(database)
    database.insert_by_hand(4)
    reader.fetch()
    for _ in range(3):
        assert reader.round() == 0
    assert reader.missing() == [1, 2, 3]
    owner = database.begin()
    database.draw(owner, 2)
    for _ in range(3):
        assert reader.round() == 0
    database.end(owner, commit=False)
    assert (reader.round(), reader.missing()) == (1, [3])


def test_what_is_drawn_between_the_look_at_the_sequence_and_that_at_the_locks_stays_open() -> None:
    database = Database()
    reader = Reader(database)
    database.insert_by_hand(3)
    reader.fetch()
    reader.look_at_the_sequence()
    owner = database.begin()
    database.draw(owner, 2)
    reader.look_at_the_locks()
    database.end(owner, commit=False)
    reader.ask()
    assert (reader.read(), reader.missing()) == (0, [1, 2])


def test_without_a_right_to_the_sequence_everything_missing_counts_as_drawn() -> None:
    gaps = Gaps()
    gaps.passed(0, [3], 3)
    gaps.observe({}, None)
    gaps.ask()
    assert gaps.close() == 1


def test_gaps_reach_beyond_what_was_drawn_only_at_their_end() -> None:
    gaps = Gaps()
    assert not gaps.reach_beyond(0)
    gaps.passed(0, [3], 3)
    assert gaps.reach_beyond(1)
    assert not gaps.reach_beyond(2)


def test_what_is_left_of_a_gap_waits_for_the_same_owners() -> None:
    database = Database()
    one, two = database.begin(), database.begin()
    for owner in (one, two, one):
        database.draw(owner)
    reader = gap_of(database, database.begin())
    reader.round()
    database.end(two, commit=True)
    reader.round()
    assert reader.missing() == [1, 3, 4]
    database.end(one, commit=True)
    reader.round()
    assert reader.missing() == [4]
    assert all(times == 1 for times in reader.found.values())


def test_what_is_left_of_a_gap_when_all_owners_have_ended_is_given_up_in_the_same_round() -> None:
    database = Database()
    one, two = database.begin(), database.begin()
    for owner in (one, two, one):
        database.draw(owner)
    reader = gap_of(database, database.begin())
    database.end(one, commit=True)
    database.end(two, commit=False)
    database.end(database.open[0], commit=False)
    assert reader.round() == 2
    assert reader.found == {1: 1, 3: 1, 5: 1}
    assert len(reader.gaps) == 0


def test_a_read_that_was_cut_short_gives_up_nothing_beyond_its_end() -> None:
    gaps = Gaps()
    gaps.passed(0, [3, 6, 9], 9)
    gaps.observe({})
    gaps.ask()
    gaps.found([(4, 4)])
    assert gaps.close(up_to=4) == 1
    assert gaps.lowest() == 5
    gaps.observe({})
    gaps.ask()
    assert gaps.close() == 2
    assert gaps.lowest() is None


def test_a_read_beyond_its_last_row_leaves_a_gap_at_its_end() -> None:
    gaps = Gaps()
    gaps.passed(10, [12], 20)
    assert gaps.ask() == ([11, 13], [11, 20])
    gaps.passed(20, [], 25)
    assert gaps.ask() == ([11, 13, 21], [11, 20, 25])


@given(
    st.sets(st.integers(1, 60)),
    st.integers(0, 10),
    st.lists(st.tuples(st.integers(1, 70), st.integers(0, 9)), max_size=12),
)
def test_what_is_missing_is_what_was_passed_and_not_found(
    seqs: set[int], beyond: int, found: list[tuple[int, int]]
) -> None:
    gaps = Gaps()
    reached = max(seqs, default=0) + beyond
    gaps.passed(0, sorted(seqs), reached)
    ranges = [(lo, lo + more) for lo, more in found]
    gaps.found(ranges)
    expected = {seq for seq in range(1, reached + 1) if seq not in seqs}
    expected -= {seq for lo, hi in ranges for seq in range(lo, hi + 1)}
    los, his = gaps.ask()
    assert [seq for lo, hi in zip(los, his, strict=True) for seq in range(lo, hi + 1)] == sorted(expected)
    assert gaps.lowest() == min(expected, default=None)
    assert all(lo <= hi for lo, hi in zip(los, his, strict=True))


def test_a_chain_of_unrelated_prepared_transactions_keeps_no_gap() -> None:
    gaps = Gaps()
    gaps.passed(0, [1, 3], 3)
    gaps.observe({"-1/1": Holder(prepared=True, xid=1)})
    for name in range(2, 6):
        gaps.observe({f"-1/{name}": Holder(prepared=True, xid=name)})
    gaps.ask()
    assert gaps.close() == 1


def test_the_oldest_gap_is_the_lowest_also_when_a_part_of_it_is_found() -> None:
    gaps = Gaps()
    assert gaps.oldest_since() is None
    gaps.passed(0, [5], 5, now=100.0)
    gaps.passed(5, [7], 7, now=200.0)
    gaps.found([(2, 2)])
    assert gaps.oldest_since() == 100.0
    gaps.found([(1, 4)])
    assert gaps.oldest_since() == 200.0


def many_gaps(database: Database, owner: Transaction) -> Reader:
    """Make a reader that has passed over five rows of `owner`, and has looked into these gaps."""
    reader = Reader(database, few=0)
    for _ in range(5):
        database.draw(owner)
        later = database.begin()
        database.draw(later)
        database.end(later, commit=True)
    reader.fetch()
    reader.round()
    return reader


def test_a_gap_is_not_read_again_while_all_who_may_own_it_are_at_work() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    assert reader.asked == 5
    for _ in range(3):
        later = database.begin()
        database.draw(later)
        database.end(later, commit=True)
        reader.begin_fetch(10)
        reader.ask()
        reader.read()
        reader.round()
        assert reader.asked == 0
    database.end(owner, commit=True)
    reader.round()
    assert reader.missing() == []
    assert reader.found == dict.fromkeys(range(1, 14), 1)


def test_a_look_adds_nothing_to_what_is_read_of_older_gaps() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    for _ in range(4):
        database.draw(owner)
        later = database.begin()
        database.draw(later)
        database.end(later, commit=True)
        reader.fetch()
        reader.look()
        reader.ask()
        assert reader.asked == 1
        reader.read()


def test_an_owner_that_ends_before_a_newer_row_is_read_is_taken_in_first() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    database.draw(owner)
    database.end(owner, commit=True)
    reader.begin_fetch(10)
    reader.ask()
    reader.read()
    assert reader.taken[5:] == [1, 3, 5, 7, 9, 11]


def test_an_owner_that_ends_between_what_was_asked_and_its_read_is_read_whole() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    reader.ask()
    assert reader.asked == 1
    database.end(owner, commit=True)
    reader.read()
    assert reader.taken[6:] == [1, 3, 5, 7, 9, 11]


def test_a_lock_that_outlives_its_commit_hides_no_row() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    database.end_and_keep_the_lock(owner, commit=True)
    reader.begin_fetch(10)
    reader.ask()
    reader.read()
    assert reader.missing() == []


def test_gaps_of_a_holder_without_an_id_are_read_each_time() -> None:
    database = Database()
    owner = database.begin()
    database.draw_only(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader = Reader(database, few=0)
    reader.fetch()
    reader.round()
    database.end(owner, commit=True)
    reader.begin_fetch(10)
    reader.ask()
    assert reader.asked == 1
    reader.read()
    assert reader.found == {1: 1, 2: 1}


def test_gaps_that_need_not_be_read_are_read_in_turn() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    asked = [reader.gaps.ask(spare=2)[0] for _ in range(4)]
    assert asked == [[1, 3], [5, 7], [9], [1, 3]]


def test_few_gaps_are_all_read_each_time() -> None:
    database = Database()
    owner = database.begin()
    many_gaps(database, owner)
    reader = Reader(database, few=5)
    reader.fetch()
    reader.round()
    reader.ask()
    assert (reader.asked, reader.gaps.skipped()) == (5, set())


def test_many_gaps_are_at_rest_while_their_owners_are_at_work() -> None:
    """Then a snapshot says all: each round spares the look at the locks."""
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    assert reader.gaps.are_at_rest()
    database.prepare(owner)
    reader.round()
    assert reader.gaps.are_at_rest(), "it is at work under another name"
    database.end(owner, commit=True)
    reader.round()
    assert reader.missing() == []


def test_a_round_at_rest_gives_up_what_is_rolled_back_by_the_one_read_that_follows() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    database.end(owner, commit=False)
    assert reader.gaps.are_at_rest()
    assert reader.round() == 5
    assert len(reader.gaps) == 0


def test_new_gaps_or_holders_without_an_id_are_not_at_rest() -> None:
    database = Database()
    owner = database.begin()
    reader = many_gaps(database, owner)
    database.draw(owner)
    later = database.begin()
    database.draw(later)
    database.end(later, commit=True)
    reader.fetch()
    assert not reader.gaps.are_at_rest()
    reader.round()
    assert reader.gaps.are_at_rest()
    reader.gaps.observe({"other": Holder(False, None)})
    assert not reader.gaps.are_at_rest()
