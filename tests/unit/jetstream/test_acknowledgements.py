"""Acknowledgements are taken in runs, and nothing else of the wire is touched."""

from hypothesis import given
from hypothesis import strategies as st

from relay.jetstream.acknowledgements import Acknowledgements, Stored

_INBOX = "_INBOX_relay.x."
_SUBSCRIPTION = 7

_STORED = st.tuples(
    st.integers(0, 10**18 - 1),
    st.sampled_from(["ORDERS", "A-B", "hub/ORDERS"]),
    st.integers(1, 10**18 - 1),
    st.just(False),
)
_OTHERS = st.sampled_from(
    [
        b"PING\r\n",
        b"+OK\r\n",
        b"MSG other.subject 7 2\r\n{}\r\n",
        b"MSG _INBOX_relay.x.1 8 27\r\n" + b'{"stream":"ORDERS","seq":1}\r\n',
        b"MSG _INBOX_relay.x.1 7 reply 27\r\n" + b'{"stream":"ORDERS","seq":1}\r\n',
        b"MSG _INBOX_relay.x.b1 7 27\r\n" + b'{"stream":"ORDERS","seq":1}\r\n',
        b"MSG _INBOX_relay.x.1 7 28\r\n" + b'{"stream":"ORDERS","seq":1}\r\n\r\n',
        b"MSG _INBOX_relay.x.1 7 0\r\n\r\n",
        b"MSG _INBOX_relay.x.1 7 44\r\n" + b'{"stream":"ORDERS","seq":1,"duplicate": true}\r\n',
        b'MSG _INBOX_relay.x.1 7 42\r\n{"error":{"code":400},"stream":"A","seq":0}\r\n',
        b"MSG _INBOX_relay.x.1 7 " + b"9" * 5000 + b"\r\n",
        # What no stream says of itself, and what no bigint holds: it is read with more care.
        b"MSG _INBOX_relay.x.1 7 27\r\n" + b'{"stream":"ORDERS","seq":0}\r\n',
        b"MSG _INBOX_relay.x.1 7 24\r\n" + b'{"stream":"A B","seq":7}\r\n',
        b"MSG _INBOX_relay.x.1 7 45\r\n" + b'{"stream":"ORDERS","seq":9999999999999999999}\r\n',
        b"MSG _INBOX_relay.x." + b"9" * 5000 + b' 7 27\r\n{"stream":"ORDERS","seq":1}\r\n',
        b'HMSG _INBOX_relay.x.1 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n',
        # An acknowledgement inside of somebody's payload.
        b"MSG other.subject 1 54\r\nMSG _INBOX_relay.x.1 7 27\r\n" + b'{"stream":"ORDERS","seq":1}\r\n',
    ]
)  # fmt: skip


def _frame(stored: Stored) -> bytes:
    token, stream, seq, _ = stored
    domain, _, name = stream.rpartition("/")
    where = f',"domain":"{domain}"' if domain else ""
    body = f'{{"stream":"{name}"{where}, "seq":{seq}}}'
    return f"MSG {_INBOX}{token} {_SUBSCRIPTION} {len(body)}\r\n{body}\r\n".encode()


@given(st.lists(_STORED, max_size=5), st.one_of(st.just(b""), _OTHERS), st.lists(_STORED, max_size=2))
def test_a_run_ends_before_whatever_is_no_acknowledgement_and_what_follows_is_untouched(
    run: list[Stored], other: bytes, behind: list[Stored]
) -> None:
    following = (other + b"".join(map(_frame, behind))) if other else b""
    found = Acknowledgements(_INBOX, _SUBSCRIPTION).read(b"".join(map(_frame, run)) + following)
    assert found == (run, following, False)


@given(st.lists(_STORED, min_size=1, max_size=5), st.data())
def test_wherever_a_read_ends_each_acknowledgement_is_taken_once(run: list[Stored], data: st.DataObject) -> None:
    wire = b"".join(map(_frame, run))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    reader = Acknowledgements(_INBOX, _SUBSCRIPTION)
    taken: list[Stored] = []
    rest = b""
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        found = reader.read(rest + wire[begin:end])
        taken += found.stored
        rest = found.rest
        # The library's parser would take what it is handed to its end: only the beginning of a line may go there.
        assert found.is_incomplete == (b"\r\n" in rest)
    assert (taken, rest) == (run, b"")


def test_the_beginning_of_a_long_answer_is_left_to_the_library() -> None:
    head = f"MSG {_INBOX}1 {_SUBSCRIPTION} 100000\r\n".encode()
    assert Acknowledgements(_INBOX, _SUBSCRIPTION).read(head + b"[" * 5000) == ([], head + b"[" * 5000, False)
    assert Acknowledgements(_INBOX, _SUBSCRIPTION).read(head + b"[" * 50) == ([], head + b"[" * 50, True)


def test_many_names_take_no_memory() -> None:
    reader = Acknowledgements(_INBOX, _SUBSCRIPTION)
    names = [f"S{number}" for number in range(3000)]
    wire = b"".join(_frame((1, name, 1, False)) for name in names)
    assert [one[1] for one in reader.read(wire).stored] == names
    assert len(reader._names) <= 1000
