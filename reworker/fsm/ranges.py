"""Sets of numbers as sorted ranges: `((0, 5), (7, 8))` is 0 to 4 and 7; small as long as they are dense."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

#: half-open, sorted, apart from each other.
Ranges = tuple[tuple[int, int], ...]


def contains(ranges: Ranges, number: int) -> bool:
    """Tell whether the number is in the set."""
    place = bisect_right(ranges, number, key=lambda one: one[0])
    return place > 0 and number < ranges[place - 1][1]


def added(ranges: Ranges, number: int) -> Ranges:
    """Return the set with the number in it."""
    place = bisect_right(ranges, number, key=lambda one: one[0])
    if place and number < ranges[place - 1][1]:
        return ranges
    start, end = number, number + 1
    first = last = place
    if place and ranges[place - 1][1] == number:
        first, start = place - 1, ranges[place - 1][0]
    if place < len(ranges) and ranges[place][0] == end:
        last, end = place + 1, ranges[place][1]
    return (*ranges[:first], (start, end), *ranges[last:])


def without(ranges: Ranges, others: Ranges) -> Ranges:
    """Return the set without the numbers of another one."""
    found: list[tuple[int, int]] = []
    for start, end in ranges:
        place = bisect_right(others, start, key=lambda one: one[1])
        while start < end and place < len(others) and others[place][0] < end:
            if start < others[place][0]:
                found.append((start, others[place][0]))
            start = others[place][1]
            place += 1
        if start < end:
            found.append((start, end))
    return tuple(found)


def below(given: Iterable[tuple[int, int]], limit: int) -> Ranges:
    """Return the numbers from 0 to below `limit` that any pairs of start and end stand for."""
    found: list[tuple[int, int]] = []
    for start, end in sorted((max(start, 0), min(end, limit)) for start, end in given):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return tuple(found)


def count(ranges: Ranges) -> int:
    """Return how many numbers are in the set."""
    return sum(end - start for start, end in ranges)


def of(numbers: Iterable[int]) -> Ranges:
    """Return the set of these numbers."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return tuple(found)
