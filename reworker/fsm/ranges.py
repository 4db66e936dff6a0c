"""Sets of numbers as sorted ranges: `((0, 5), (7, 8))` is 0 to 4 and 7; small as long as they are dense."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

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


def numbers(ranges: Ranges) -> Iterator[int]:
    """Yield the numbers of the set in order."""
    for start, end in ranges:
        yield from range(start, end)
