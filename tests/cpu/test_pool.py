"""Work on many items with few of them at hand."""

import threading
import time
from itertools import count

import pytest

from nucleiseg import pool


@pytest.mark.parametrize("in_order", [True, False])
def test_few_items_are_at_hand_however_many_there_are(in_order):
    taken = []

    def items():
        for number in count():
            taken.append(number)
            yield number

    results = pool.each(lambda number: number, items(), 3, in_order=in_order)
    for seen in range(1, 50):
        next(results)
        assert len(taken) <= seen + 2
    results.close()


def test_results_come_in_order_or_as_soon_as_they_are_there():
    first_may_end = threading.Event()

    def do(number):
        if number == 0:
            assert first_may_end.wait(60)
        return number

    results = pool.each(do, range(5), 2, in_order=False)
    assert [next(results) for _ in range(4)] == [1, 2, 3, 4]
    first_may_end.set()
    assert list(results) == [0]
    assert list(pool.each(do, range(5), 2)) == [0, 1, 2, 3, 4]


def test_an_error_comes_in_place_of_its_result():
    results = pool.each(lambda number: 1 // number, [1, 0, 1], 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_who_stops_early_waits_for_what_has_begun_and_no_more():
    begun, ended = [], []

    def do(number):
        begun.append(number)
        time.sleep(0.01)
        ended.append(number)

    results = pool.each(do, range(1000), 2)
    next(results)
    results.close()
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 10
