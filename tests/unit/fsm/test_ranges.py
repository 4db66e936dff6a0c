"""Ranges are sets of numbers: each operation does what the one on sets does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker.fsm import ranges

numbers = st.integers(0, 20)
sets = st.frozensets(numbers)
pairs = st.lists(st.tuples(st.integers(-5, 30), st.integers(-5, 30)), max_size=6)


def numbers_of(found):
    """Return the set, having seen that its ranges are in order, apart, and none is empty."""
    ends = [end for one in found for end in one]
    assert ends == sorted(set(ends))
    return {number for start, end in found for number in range(start, end)}


@given(sets)
def test_ranges_hold_the_numbers_when_made_of_them(given_set):
    found = ranges.of(given_set)
    assert numbers_of(found) == given_set
    assert ranges.count(found) == len(given_set)


@given(sets, numbers)
def test_ranges_contain_a_number_when_it_is_in_the_set(given_set, number):
    assert ranges.contains(ranges.of(given_set), number) == (number in given_set)


@given(sets, numbers)
def test_ranges_hold_one_more_when_a_number_is_added(given_set, number):
    assert numbers_of(ranges.added(ranges.of(given_set), number)) == given_set | {number}


@given(sets, sets)
def test_ranges_hold_the_rest_when_others_are_taken_away(given_set, others):
    found = ranges.without(ranges.of(given_set), ranges.of(others))
    assert numbers_of(found) == given_set - others


@given(pairs)
def test_ranges_are_in_order_and_within_the_limit_when_made_of_any_pairs(given_pairs):
    wanted = {number for start, end in given_pairs for number in range(start, end) if 0 <= number < 20}
    assert numbers_of(ranges.below(given_pairs, 20)) == wanted


@pytest.mark.parametrize("count", [1, 10_000])
def test_ranges_are_small_when_the_numbers_are_dense(count):
    assert ranges.of(range(count)) == ((0, count),)
