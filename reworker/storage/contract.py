"""What a database must do for the core: rows, writing transactions, and reads beside them.

The rows that it takes and gives are part of the contract; they stand in `rows.py`. All times are aware UTC.
Every method raises `StorageUnavailable` when the database cannot be reached or written at the moment,
`StaleVersion` when another transaction was faster, and another `StorageError` when it refuses what it was
given; nothing was changed then. One case is in doubt: a server that is lost during COMMIT may have carried
it out. To read again and try again is safe: versions, dedup keys and idempotency keys tell what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from reworker.storage.definition_contract import DefinitionReader, DefinitionUnit
from reworker.storage.heads_contract import HeadReader, HeadRow
from reworker.storage.marks_contract import MarkReader
from reworker.storage.people_contract import PeopleReader, PeopleUnit
from reworker.storage.rows import (
    ALL_DEPLOYMENTS,
    AttemptRow,
    Changes,
    DeploymentFilter,
    DeploymentRow,
    EventRow,
    InstanceRow,
    LockResult,
    LockRow,
    LogRow,
    MarkRow,
    OutboxRow,
    PlaceCount,
    PlaybookRow,
    SourceRow,
    StorageReport,
    TimerRow,
    WaitingRow,
)
from reworker.storage.task_contract import (
    CodeReader,
    CodeUnit,
    PackageStore,
    ScheduleReader,
    ScheduleUnit,
    TaskReader,
    TaskUnit,
)
from reworker.storage.work_contract import WorkReader

__all__ = [
    "ALL_DEPLOYMENTS",
    "AttemptRow",
    "Changes",
    "DeploymentFilter",
    "DeploymentReader",
    "DeploymentRow",
    "EventRow",
    "HeadReader",
    "HeadRow",
    "InstanceRow",
    "LockResult",
    "LockRow",
    "Locks",
    "LogRow",
    "LogStore",
    "MarkRow",
    "OutboxRow",
    "PlaceCount",
    "PlaybookRow",
    "Queues",
    "Reader",
    "SourceRow",
    "Storage",
    "StorageReport",
    "TimerRow",
    "Unit",
    "WaitingRow",
]


class Queues(Protocol):
    """What waits in the database for its moment: messages for the broker, and timers."""

    def waiting_outbox(self, now: datetime, limit: int) -> list[OutboxRow]:
        """Return rows that nobody has claimed, or whose claim or delay has ended, oldest first."""
        ...

    def claim_outbox(self, ids: Collection[str], owner: str, now: datetime, until: datetime) -> set[str]:
        """Claim rows for publishing; return the ids of those that still exist and were free."""
        ...

    def release_claims(self, owner: str) -> None:
        """Free the rows that may be published twice and that a former life of this core has claimed."""
        ...

    def due_timers(self, now: datetime, limit: int) -> list[TimerRow]:
        """Return timers that are due, the longest overdue first."""
        ...

    def next_timer_at(self) -> datetime | None:
        """Return when the next timer is due, or None without timers."""
        ...

    def shift_times(self, by: timedelta) -> None:
        """Move timers, claims and delays of tasks: the clock has jumped by this much; durations must stay."""
        ...

    def shifted_s(self) -> float:
        """Return by how much `note_shift` says they were moved ever; nobody else notes until we end."""
        ...

    def note_shift(self, total_s: float) -> None:
        """Note by how much they were moved ever: of several cores that see a jump, one moves them."""
        ...


class Locks(Protocol):
    """Names that one deployment holds at a time, in the order in which they were asked for."""

    def take_locks(self, deployment_id: str, names: Collection[str], now: datetime) -> LockResult:
        """Take all of these locks, or none and stand in line; one that has its locks is told so again.

        The first call takes a place in line, later ones try again from there, whatever `names` they give.
        """
        ...

    def drop_locks(self, deployment_id: str) -> list[str]:
        """Give up a deployment's locks and places in line.

        Returns:
            The deployments that are now first in one of these lines, in the order they came: each should
            try again, and may find that it still waits for another lock.
        """
        ...


class Unit(Queues, Locks, PeopleUnit, CodeUnit, TaskUnit, ScheduleUnit, DefinitionUnit, Protocol):
    """One writing transaction; it ends with the block that `Storage.begin` opened."""

    def deployments(self, ids: Collection[str]) -> dict[str, DeploymentRow]:
        """Return the rows that exist, locked against other cores until the end of the transaction."""
        ...

    def versions(self, ids: Collection[str]) -> dict[str, int]:
        """Return the versions of the rows that exist, which are locked as by `deployments`."""
        ...

    def plan(self, deployment_id: str) -> bytes:
        """Return the frozen plan's JSON.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        ...

    def known_keys(self, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return those (deployment id, dedup key) that an event has; fast when keys are almost unique."""
        ...

    def events(self, deployment_id: str) -> list[EventRow]:
        """Return all events of a deployment, in order."""
        ...

    def attempts(self, ids: Collection[str]) -> dict[str, AttemptRow]:
        """Return the attempts that exist, by id."""
        ...

    def find_deployment(self, *, idempotency_key: str = "", request_digest: str = "") -> str | None:
        """Return the id of the deployment that was made with this key or from this request."""
        ...

    def playbook(self, playbook_id: str) -> PlaybookRow | None:
        """Return the newest version of a playbook."""
        ...

    def add_playbook(self, row: PlaybookRow) -> None:
        """Store one version of a playbook."""
        ...

    def save(self, changes: Changes, *, is_last: bool = False) -> None:
        """Write everything.

        Args:
            changes: what to write.
            is_last: nothing but claims of the outbox follows in this transaction. Then it may be carried out
                together with the COMMIT, and it is the end of the block that raises.

        Raises:
            StaleVersion: a deployment's row is not of the version before, or has an event of this dedup key
                already; nothing may be committed.
        """
        ...

    def beat(self, row: InstanceRow) -> None:
        """Note that a core is alive."""
        ...

    def save_setting(self, name: str, value: bytes) -> None:
        """Keep a setting that all processes on this database share; `value` is JSON."""
        ...

    def ended(self, before: datetime, event_count: int) -> list[str]:
        """Return the deployments that ended first and may be pruned: those without anything to publish.

        Args:
            before: only those that ended before this time.
            event_count: how many events they have together at most, unless the first alone has more.
        """
        ...

    def prune(self, ids: Collection[str]) -> list[str]:
        """Delete deployments that have ended, with all their rows; return which: others may be in use."""
        ...


class DeploymentReader(Protocol):
    """The reads that find deployments among very many."""

    def deployments(
        self,
        *,
        limit: int,
        before_id: str = "",
        status: str = "",
        wanted: DeploymentFilter = ALL_DEPLOYMENTS,
    ) -> list[DeploymentRow]:
        """Return deployments that are wanted, newest first; `before_id` is the last id of the page before."""
        ...

    def deployment_with_key(self, idempotency_key: str) -> DeploymentRow | None:
        """Return the deployment that was made with this key."""
        ...

    def counts_by_status(self, wanted: DeploymentFilter = ALL_DEPLOYMENTS) -> dict[str, int]:
        """Return how many of those wanted have each status; one without any is not there."""
        ...

    def counts_by_place(self, wanted: DeploymentFilter = ALL_DEPLOYMENTS) -> list[PlaceCount]:
        """Return how many of those wanted have each status in each place, in no order."""
        ...


class Reader(
    DeploymentReader,
    HeadReader,
    MarkReader,
    PeopleReader,
    CodeReader,
    TaskReader,
    ScheduleReader,
    WorkReader,
    DefinitionReader,
    Protocol,
):
    """Reads beside the writer, each a consistent view of the last commit; any thread."""

    def deployment(self, deployment_id: str) -> DeploymentRow:
        """Return a deployment.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        ...

    def plan(self, deployment_id: str) -> bytes:
        """Return the frozen plan's JSON.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        ...

    def events(self, deployment_id: str, *, after_seq: int = 0, limit: int = 1000) -> list[EventRow]:
        """Return events in order."""
        ...

    def attempts(self, deployment_id: str, *, after_number: int = 0, limit: int = 1000) -> list[AttemptRow]:
        """Return attempts in order."""
        ...

    def playbook(self, playbook_id: str, version: int = 0) -> PlaybookRow:
        """Return a version of a playbook; 0 is the newest.

        Raises:
            PlaybookNotFound: no such playbook or version.
        """
        ...

    def playbooks(self, *, group: str = "", limit: int = 1000) -> list[PlaybookRow]:
        """Return the newest version of each playbook, the newest first."""
        ...

    def source(self, deployment_id: str) -> SourceRow | None:
        """Return what a deployment was made from; None for those made before version 2 of the schema."""
        ...

    def instances(self) -> list[InstanceRow]:
        """Return the cores that were seen, by name."""
        ...

    def setting(self, name: str) -> bytes | None:
        """Return a setting of the database, or None when it was never saved."""
        ...

    def outbox_count(self) -> int:
        """Return how many messages wait for the broker."""
        ...

    def outbox(self) -> list[WaitingRow]:
        """Return what waits for the broker, oldest first."""
        ...

    def timers(self) -> list[TimerRow]:
        """Return all timers, the first due first."""
        ...

    def locks(self) -> list[LockRow]:
        """Return locks and places in line, by name, the holder first."""
        ...


class Storage(Protocol):
    """The database; methods may be called from any thread, writers take turns."""

    @property
    def reader(self) -> Reader:
        """Reads beside the writer."""
        ...

    @property
    def packages(self) -> PackageStore:
        """The bytes of code packages."""
        ...

    def begin(self) -> AbstractContextManager[Unit]:
        """Open a writing transaction: commits at the end of the block, rolls back when it raises."""
        ...

    def has_foreign_writes(self) -> bool:
        """Tell whether another process has committed since the last call; cheap."""
        ...

    def lock_core(self, name: str) -> None:
        """Make sure that one core of this name runs on the database; held until `close`.

        Raises:
            StorageError: another one runs.
        """
        ...

    def clock_offset_s(self) -> float:
        """Return what to add to this machine's wall clock to get the database's; cheap, and never raises.

        Several cores on one database share that clock. A database file has the clock of its machine: 0.
        """
        ...

    def report(self) -> StorageReport:
        """Look at the database as a whole; may take a while."""
        ...

    def close(self) -> None:
        """Close every connection. Safe twice."""
        ...


class LogStore(Protocol):
    """Output lines of deployments, apart from the database so that a flood delays no transition."""

    def last_nos(self, deployment_ids: Collection[str]) -> dict[str, tuple[int, int]]:
        """Return (number of the last line, bytes stored) of those deployments that have lines."""
        ...

    def add(self, rows: Iterable[LogRow]) -> None:
        """Append lines in one transaction."""
        ...

    def lines(self, deployment_id: str, *, after_no: int = 0, limit: int = 1000) -> list[LogRow]:
        """Return chunks that hold lines after a number, until `limit` lines are reached."""
        ...

    def last_lines(self, deployment_id: str, *, limit: int) -> list[LogRow]:
        """Return the last chunks, in order, that hold so many lines, however many there are before them."""
        ...

    def heads(self, deployment_ids: Collection[str]) -> dict[str, int]:
        """Return, of those that have lines, a number that grows whenever lines are added; cheap."""
        ...

    def remove(self, deployment_id: str, *, limit: int) -> bool:
        """Delete so many chunks of a deployment at most, in one transaction; tell whether some are left."""
        ...

    def close(self) -> None:
        """Close every connection. Safe twice."""
        ...
