"""The size of reads: it follows what was found, and nothing keeps it large or small for ever."""

from hypothesis import given
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.reading.read_batch_size import Read, ReadSize

ROWS, BUFFER = 1000, 32 * 1024 * 1024


def events(count: int, size: int = 10) -> list[Event]:
    return [Event(seq, str(seq), "t", None, b"x" * size, None, 0.0, 0, None) for seq in range(1, count + 1)]


def read(count: int, *, size: int = 10, cut: bool = False, crowded: bool = False) -> Read:
    found = events(count, size)
    return Read(found, [event.seq for event in found], cut or crowded, crowded)


def test_it_grows_only_while_there_is_more() -> None:
    size = ReadSize(ROWS, BUFFER)
    first = size.room().rows
    for _ in range(10):
        size.took(read(0))
        size.took(read(first - 1))
    assert size.room().rows == first
    for _ in range(10):
        size.took(read(size.room().rows, cut=True))
    assert size.room().rows == ROWS


def test_after_a_large_row_each_is_measured_until_only_small_ones_come() -> None:
    size = ReadSize(ROWS, BUFFER)
    size.took(read(ROWS, cut=True))
    assert not size.room().careful
    size.took(read(3, crowded=True))
    assert size.room().careful
    assert size.room().rows <= 32
    for _ in range(100):
        size.took(read(5, size=5_000))
        assert size.room().careful
    for _ in range(16):
        assert size.room().careful
        size.took(read(5))
    assert not size.room().careful


def test_one_that_is_too_slow_is_halved_down_to_one_row_and_grows_again() -> None:
    size = ReadSize(ROWS, BUFFER)
    seen = [(size.room().rows, size.seqs)]
    for _ in range(40):
        size.too_slow()
        seen.append((size.room().rows, size.seqs))
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == (1, 1)
    for _ in range(15):
        size.took(read(size.room().rows, cut=True))
        assert size.room().rows == 1, "what was too slow is not tried again at once"
    for _ in range(200):
        size.took(read(size.room().rows, cut=True))
    assert (size.room().rows, size.seqs) == (ROWS, ReadSize(ROWS, BUFFER).seqs)


def test_a_read_at_which_the_server_fails_is_made_carefully_and_smaller_down_to_one_row() -> None:
    size = ReadSize(ROWS, BUFFER)
    size.took(read(size.room().rows, cut=True))
    seen = []
    while size.failed():
        assert size.room().careful
        seen.append(size.room().rows)
    assert seen == [32, 16, 8, 4, 2, 1]
    for rows in (2, 4, 8):
        size.took(read(size.room().rows, cut=True))
        assert size.room().rows == rows, "what was done grows again at once"


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.booleans(), st.booleans()), max_size=60),
    st.integers(1, 10_000),
    st.integers(1024 * 1024, 2**40),
)
def test_a_read_has_always_room_for_a_row_and_never_for_more_than_twice_the_buffer(
    story: list[tuple[int, bool, bool, bool]], rows: int, buffer_bytes: int
) -> None:
    size = ReadSize(rows, buffer_bytes)
    for count, cut, crowded, slow in story:
        size.too_slow() if slow else size.took(read(count, cut=cut, crowded=crowded))
        room = size.room()
        assert 1 <= room.rows <= rows
        assert size.seqs >= 1
        # The rows share their bytes, but for the first one.
        assert max(room.payload_bytes, room.row_bytes) <= 2 * buffer_bytes
