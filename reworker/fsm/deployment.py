"""The snapshot of a deployment: everything the machine remembers.

It is rewritten with every event, so it grows with the hosts that are at work at once, not with the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reworker.fsm.commands import TimerKind
from reworker.fsm.plan import Role
from reworker.fsm.ranges import Ranges
from reworker.fsm.states import AttemptStatus, DeploymentStatus, Stage

#: what this version writes; a snapshot of another one is made anew from the events.
FORMAT = 2

#: hosts of one deployment at work at once; our choice, keeps the snapshot small for any `strategy`.
MAX_TRACKS = 100


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One open attempt: not ended, or ended in a doubt that nobody has settled yet.

    `is_unconfirmed` says that the doubt is about its publish, so a worker's answer can still end it;
    `approved_by` are the people who consented so far, of an attempt whose role is that; `reason` says what
    people are asked; `is_queued_again` that a try has ended and the next one waits for a worker; `domain`
    where its message goes, empty without one, or while that is not chosen.
    """

    number: int
    step_index: int
    role: Role = Role.STEP
    status: AttemptStatus = AttemptStatus.READY
    timers: tuple[TimerKind, ...] = ()
    is_unconfirmed: bool = False
    approved_by: tuple[str, ...] = ()
    reason: str = ""
    is_queued_again: bool = False
    domain: str = ""

    @property
    def is_for_people(self) -> bool:
        """Tell whether only a person can bring it on."""
        is_consent = self.role is Role.APPROVAL and self.status is AttemptStatus.WAITING
        return is_consent or self.status is AttemptStatus.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Track:
    """One host's way through a sequence, or a step being taken back.

    Args:
        index: of the step it is at.
        role: of the next attempt there.
        tries: how often the step was dispatched.
        failures: how often of these it failed.
        is_doubtful: one of the tries may have taken effect, nobody knows.
    """

    index: int
    role: Role = Role.STEP
    tries: int = 0
    failures: int = 0
    is_doubtful: bool = False


@dataclass(frozen=True, kw_only=True)
class SequenceState:
    """A sequence that has begun: its hosts before `next_host` have, those before `batch_end` may.

    `is_begun` says that there was something to do on one of them.
    """

    index: int
    next_host: int = 0
    batch_end: int = 0
    is_begun: bool = False
    failed_host_count: int = 0


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Where and why a deployment failed; without a step when the deployment as a whole did."""

    step_index: int
    host: str
    step: str
    attempt: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment between two events.

    Args:
        format: version of this form; 1 had no tracks.
        stage: the part of the plan it is at.
        reason: why it failed or was cancelled, or what it waits for: a lock, or people, who may be asked
            while other hosts are at work.
        actor: who started it.
        fence: of its locks; 0 without.
        timers: its own that run; those of attempts are with them.
        tracks: the hosts at work, or the step being taken back.
        sequences: those that have begun and not ended.
        ready: indexes of those that may begin as soon as there is room for a track.
        ended: indexes of the sequences that have ended.
        completed: indexes of the steps that were done, by it or by the one it continues.
        left_out: indexes of the steps that are not to be done.
        doubtful: indexes of the steps that did not complete and may have taken effect all the same; kept only
            if the plan can take back any.
        facts: conditions that hold: ``<sequence>.<place>`` of the step with the `when`, with ``@<host>`` when
            it is about one host of the same sequence.
        rollback_end: steps from here on need no rollback any more.
        rolled_back_count: rollback steps that completed.
        rollback_failure: why the rollback ended early, or empty.
    """

    id: str
    format: int = 1
    status: DeploymentStatus = DeploymentStatus.QUEUED
    stage: Stage = Stage.CHECKS
    is_unattended: bool = False
    actor: str = ""
    fence: int = 0
    timers: tuple[TimerKind, ...] = ()
    attempt_count: int = 0
    attempts: tuple[Attempt, ...] = ()
    tracks: tuple[Track, ...] = ()
    sequences: tuple[SequenceState, ...] = ()
    ready: Ranges = ()
    ended: Ranges = ()
    completed: Ranges = ()
    left_out: Ranges = ()
    doubtful: Ranges = ()
    facts: tuple[str, ...] = ()
    rollback_end: int = -1
    rolled_back_count: int = 0
    rollback_failure: str = ""
    completed_count: int = 0
    failed_count: int = 0
    skipped_count: int = 0
    failure: Failure | None = None
    reason: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def attempt(self, number: int) -> Attempt | None:
        """Return the open attempt of this number, or None."""
        # Written out: asked for several times per event, and a generator takes three times as long.
        for attempt in self.attempts:
            if attempt.number == number:
                return attempt
        return None

    def track(self, index: int) -> Track | None:
        """Return the track that is at this step, or None."""
        for track in self.tracks:
            if track.index == index:
                return track
        return None

    @property
    def is_failing(self) -> bool:
        """Tell whether it has failed and only has to come to its end."""
        return self.failure is not None
