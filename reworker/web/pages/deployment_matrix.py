"""The matrix host x step of a deployment, folded so that a thousand hosts fit a page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from reworker.fsm.plan import Plan
from reworker.fsm.playbook import Sequence, SequenceKind
from reworker.web.pages.deployment_cells import ASKS, BAD, LIVE, LOOKS, OVER, Cell, Look

#: hosts above which a sequence is folded, and rows of a page at most.
FOLDED_COUNT, PAGE_ROW_COUNT = 40, 120
#: rows of a group on a page that cannot show all hosts: for all sequences, and for one at least.
SHARED_ROW_COUNT, LEAST_ROW_COUNT = 16, 5
#: columns up to which each cell has its words; beyond, neighbours of one kind are one cell.
WORD_COLUMN_COUNT = 8
#: sequences that show their hosts on one page; of more, those at work or in trouble do.
SEQUENCE_COUNT = 12
_CALM = ("good", "plain")
#: part of a strip below which a single host could not be seen; one in trouble is drawn as wide as that.
SEEN_PART = 250
#: tones in the order in which they are drawn: trouble lies on top.
_TONES = ("plain", "good", "back", "live", "ask", "bad")

#: groups of hosts, those that somebody looks for first.
GROUPS = (
    ("ask", "waits for people"),
    ("bad", "failed"),
    ("live", "running"),
    ("stopped", "stopped on the way"),
    ("back", "rolled back"),
    ("plain", "not begun"),
    ("good", "completed"),
)
_GROUP_WORDS = dict(GROUPS)
_BACK = frozenset({Cell.ROLLED_BACK})
_NOTHING = frozenset({Cell.PENDING, Cell.SKIPPED, Cell.LEFT_OUT})


class Run(msgspec.Struct, frozen=True):
    """Neighbouring cells of one kind: `index` is that of the first step, `offset` its column from 0."""

    look: Look
    index: int
    offset: int
    count: int
    note: str = ""


class HostRow(msgspec.Struct, frozen=True):
    """One host of a sequence: `group` is its group's name, `index` that of its first step."""

    name: str
    group: str
    index: int
    runs: tuple[Run, ...]


class Group(msgspec.Struct, frozen=True):
    """Hosts in one state: `rows` are the first of them, `count` counts all."""

    name: str
    words: str
    count: int
    rows: tuple[HostRow, ...]

    @property
    def more_count(self) -> int:
        """How many hosts are not shown."""
        return self.count - len(self.rows)


class StepSum(msgspec.Struct, frozen=True):
    """One step of a sequence over all its hosts: `counts` are the kinds of its cells, the worst first.

    `stripes` draw it in little: ``(tone, path)`` of an SVG in which each host is a unit wide.
    """

    offset: int
    key: str
    title: str
    counts: tuple[tuple[Look, int], ...]
    stripes: tuple[tuple[str, str], ...] = ()


class SequenceView(msgspec.Struct, frozen=True):
    """One sequence: its steps are the columns, its hosts the rows, in groups."""

    number: int
    title: str
    kind: str
    notes: tuple[str, ...]
    steps: tuple[StepSum, ...]
    host_count: int
    groups: tuple[Group, ...]
    is_wide: bool
    is_folded: bool

    @property
    def group(self) -> str:
        """The name of the first group, which says how the sequence is."""
        return self.groups[0].name if self.groups else "plain"

    @property
    def has_rows(self) -> bool:
        """Tell whether any host is shown."""
        return any(one.rows for one in self.groups)

    @property
    def words(self) -> str:
        """How many hosts are how, in words."""
        return ", ".join(f"{one.count:,} {one.words}" for one in self.groups)


class MatrixQuery(msgspec.Struct, frozen=True):
    """What of a matrix is asked for; empty is all.

    Args:
        sequence: number of a sequence from 1; 0 is all of them.
        group: name of a group of hosts.
        host: part of a host's name.
        page: of the hosts, from 1.
    """

    sequence: int = 0
    group: str = ""
    host: str = ""
    page: int = 1

    @property
    def is_narrow(self) -> bool:
        """Tell whether less than all is asked for."""
        return bool(self.sequence or self.group or self.host)


def matrix(
    plan: Plan, cells: bytearray, *, is_over: bool, percents: dict[int, float], query: MatrixQuery
) -> list[SequenceView]:
    """Return the sequences of a plan that are asked for.

    Args:
        plan: of the deployment.
        cells: see `cells_of`.
        is_over: nothing more will happen.
        percents: progress of running steps, by index.
        query: what is asked for.
    """
    numbers = [query.sequence - 1] if query.sequence else range(len(plan.sequences))
    drawing = _Drawing(plan, cells, is_over=is_over, percents=percents, query=query)
    if query.is_narrow:
        return [drawing.sequence(number, PAGE_ROW_COUNT) for number in numbers]
    if sum(len(one.hosts) for one in plan.sequences) <= PAGE_ROW_COUNT:
        limit = PAGE_ROW_COUNT
    else:
        limit = max(SHARED_ROW_COUNT // max(len(numbers), 1), LEAST_ROW_COUNT)
    views = [drawing.sequence(number, limit) for number in numbers]
    return views if len(views) <= SEQUENCE_COUNT else list(_calmed(views))


def _calmed(views: Iterable[SequenceView]) -> Iterator[SequenceView]:
    """Yield sequences; beside the first that are at work or in trouble, none has rows."""
    shown_count = 0
    for view in views:
        is_shown = view.group not in _CALM and shown_count < SEQUENCE_COUNT
        shown_count += is_shown
        bare = tuple(msgspec.structs.replace(one, rows=()) for one in view.groups)
        yield view if is_shown else msgspec.structs.replace(view, groups=bare)


class _Drawing:
    """One look at a deployment."""

    def __init__(
        self,
        plan: Plan,
        cells: bytearray,
        *,
        is_over: bool,
        percents: dict[int, float],
        query: MatrixQuery,
    ) -> None:
        self._plan, self._cells, self._is_over = plan, cells, is_over
        self._percents, self._query = percents, query

    def sequence(self, number: int, limit: int) -> SequenceView:
        """Return one sequence, each group with so many rows at most."""
        sequence, first = self._plan.sequences[number], self._plan.first_index(number)
        size = len(sequence.steps)
        block = bytes(self._cells[first : first + size * len(sequence.hosts)])
        groups = self._groups(number, block, limit)
        is_folded = len(sequence.hosts) > FOLDED_COUNT
        return SequenceView(
            number=number + 1,
            title=title_of(self._plan, number),
            kind=str(sequence.kind),
            notes=tuple(notes_of(self._plan, number)),
            steps=tuple(_sums(sequence, block, is_folded=is_folded)),
            host_count=len(sequence.hosts),
            groups=groups,
            is_wide=size > WORD_COLUMN_COUNT,
            is_folded=is_folded,
        )

    def _groups(self, number: int, block: bytes, limit: int) -> tuple[Group, ...]:
        sequence, first = self._plan.sequences[number], self._plan.first_index(number)
        size, wanted = len(sequence.steps), self._query.host.casefold()
        members: dict[str, list[int]] = {name: [] for name, _ in GROUPS}
        for place, host in enumerate(sequence.hosts):
            if wanted and wanted not in host.casefold():
                continue
            members[self._group_of(block[place * size : (place + 1) * size])].append(place)
        found = []
        for name, words in GROUPS:
            places = members[name]
            if places and self._query.group in ("", name):
                shown = self._shown(places, name, limit, is_folded=len(sequence.hosts) > FOLDED_COUNT)
                rows = tuple(self._row(sequence, first, place, name) for place in shown)
                found.append(Group(name, words, len(places), rows))
        return tuple(found)

    def _shown(self, places: list[int], group: str, limit: int, *, is_folded: bool) -> list[int]:
        """Return those hosts of a group that get a row: of many, none of those that are as they should be."""
        if is_folded and group in _CALM and not self._query.is_narrow:
            return []
        start = (self._query.page - 1) * limit
        return places[start : start + limit]

    def _group_of(self, row: bytes) -> str:
        kinds = set(row)
        for name, wanted in (("ask", ASKS), ("bad", BAD), ("live", LIVE), ("back", _BACK)):
            if not kinds.isdisjoint(wanted):
                return name
        if kinds <= OVER and not kinds <= _NOTHING:
            return "good"
        if kinds <= _NOTHING:
            return "plain" if Cell.PENDING in kinds else "good"
        return "stopped" if self._is_over or Cell.CANCELLED in kinds else "live"

    def _row(self, sequence: Sequence, first: int, place: int, group: str) -> HostRow:
        size = len(sequence.steps)
        start = first + place * size
        row = self._cells[start : start + size]
        is_wide = size > WORD_COLUMN_COUNT
        return HostRow(
            name=sequence.hosts[place] or "(no host)",
            group=group,
            index=start,
            runs=tuple(self._runs(row, start, is_joined=is_wide)),
        )

    def _runs(self, row: bytearray, start: int, *, is_joined: bool) -> Iterator[Run]:
        offset = 0
        for value, some in groupby(row):
            count = sum(1 for _ in some)
            look = LOOKS[Cell(value)]
            pieces = [count] if is_joined and value not in BAD | ASKS | LIVE else [1] * count
            for piece in pieces:
                percent = self._percents.get(start + offset) if value == Cell.STARTED else None
                note = "" if percent is None else f"{percent:.0f} %"
                yield Run(look, start + offset, offset, piece, note)
                offset += piece


def title_of(plan: Plan, number: int) -> str:
    """Return what people call a sequence."""
    sequence = plan.sequences[number]
    if sequence.kind is not SequenceKind.EXECUTION:
        return sequence.description
    place = number + (plan.sequences[0].kind is SequenceKind.EXECUTION)
    return sequence.description or sequence.id or f"sequence {place}"


def notes_of(plan: Plan, number: int) -> Iterator[str]:
    """Yield what is unusual about a sequence."""
    sequence = plan.sequences[number]
    if sequence.kind is not SequenceKind.EXECUTION:
        return
    if sequence.needs is not None:
        needed = ", ".join(title_of(plan, one) for one in plan.needs[number])
        yield f"after {needed}" if needed else "begins at once"
    if sequence.batch_count > 1 and len(sequence.hosts) > 1:
        yield f"{min(sequence.batch_count, len(sequence.hosts))} hosts at a time"
    if sequence.max_failure_count:
        hosts = "1 host" if sequence.max_failure_count == 1 else f"{sequence.max_failure_count} hosts"
        yield f"{hosts} may fail"


def _sums(sequence: Sequence, block: bytes, *, is_folded: bool) -> Iterator[StepSum]:
    size = len(sequence.steps)
    for offset, step in enumerate(sequence.steps):
        column = block[offset::size]
        kinds = sorted(set(column), key=_badness)
        counts = tuple((LOOKS[Cell(kind)], column.count(kind)) for kind in kinds)
        drawn = tuple(stripes(column)) if is_folded else ()
        yield StepSum(offset, step.key, step.title or step.id, counts, drawn)


def _badness(kind: int) -> tuple[int, int]:
    order = (ASKS, BAD, LIVE, _BACK, frozenset({Cell.DONE}))
    return next((place for place, one in enumerate(order) if kind in one), len(order)), kind


def stripes(column: bytes) -> Iterator[tuple[str, str]]:
    """Yield (tone, path) that draw one step over all hosts; a rolling release leaves few runs."""
    paths: dict[str, list[str]] = {}
    place, least = 0, max(len(column) // SEEN_PART, 1)
    for value, some in groupby(column):
        count = sum(1 for _ in some)
        if value != Cell.PENDING:
            width = max(count, least) if value in BAD | ASKS else count
            paths.setdefault(LOOKS[Cell(value)].tone, []).append(f"M{place} 0h{width}v1h-{width}z")
        place += count
    for tone in sorted(paths, key=_TONES.index):
        yield tone, "".join(paths[tone])


def group_words(name: str) -> str:
    """Return the words of a group, or an empty text."""
    return _GROUP_WORDS.get(name, "")


def legend(views: Iterable[SequenceView]) -> list[Look]:
    """Return the kinds of cells that are there, in the order of `Cell`."""
    there = {look for one in views for step in one.steps for look, _ in step.counts}
    return [look for look in LOOKS.values() if look in there]
