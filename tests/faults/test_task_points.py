"""A core that dies at any point of its work with tasks: each task ends in one true status, run at most once.

In memory and without threads, so that each point is met exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reworker.core import history
from reworker.core.tasks.options import ScheduleOptions, TaskOptions
from reworker.core.tasks.schedule_drafts import ScheduleDraft
from reworker.storage.task_rows import TaskRow
from tests.component.core.kit import Fuse, Queue
from tests.component.core.tasks.kit import CodeWorker, TaskWorld, failed

pytestmark = pytest.mark.fault

#: points that the core passes in the story below without a crash, and the distance of those that it dies at;
#: it is odd, for points before and after something take turns.
POINT_COUNT, STEP = 88, 3
RESULTS = TaskOptions(result_queue="results")


class Story:
    """Two tasks, one that fails and is tried again, one that is cancelled, two of a schedule."""

    def __init__(self, folder: Path, burns_at: int) -> None:
        self.world = TaskWorld(folder)
        self.world.start()
        self.results = Queue(self.world.broker, "results")
        self.good = CodeWorker(self.world, self.world.code("Good"))
        self.bad = CodeWorker(self.world, self.world.code("Bad", retries=1))
        self.bad.script = failed()
        service = self.world.core.service
        options = ScheduleOptions(result_queue="results")
        draft = ScheduleDraft("Good", run_every_s=60.0, run_times=2, options=options)
        (self.schedule,) = service.schedules.add(self.world.project, [draft])
        self.world.queue(2, code_name="Good", options=RESULTS)
        self.world.queue(code_name="Bad", options=RESULTS)
        (self.cancelled,) = self.world.queue(code_name="Good", delay_s=600.0)
        service.tasks.cancel(self.cancelled)
        self.fuse = Fuse(burns_at)
        self.world.storage.fuse = self.world._bus.fuse = self.fuse

    def tell(self) -> None:
        """Let it happen; a core that has died is followed by its next life."""
        for wait_s in (0, 60, 20, 0):
            self.world.advance(wait_s)
            if not self.world.is_running:
                self.world.start()
                self.world.run()

    def check(self) -> None:
        rows = self.world.rows()
        runs = Counter(str(one.properties.correlation_id) for one in (*self.good.steps, *self.bad.steps))
        assert set(runs.values()) == {1}
        for row in rows:
            assert (row.phase, row.status) == ("over", self._truth(row, f"{row.id}.1" in runs))
        reader = self.world.storage.reader
        assert [history.problems(reader, row.id) for row in rows if row.id != self.cancelled] == [[]] * (
            len(rows) - 1
        )
        counts = Counter((row.code_name, bool(row.schedule_id), row.retry_no) for row in rows)
        bad_has_run = bool(self.bad.steps)
        expected = {("Good", False, 0): 3, ("Good", True, 0): 2, ("Bad", False, 0): 1}
        assert counts == expected | ({("Bad", False, 1): 1} if bad_has_run else {})
        schedule = self.world.core.service.schedules.schedule(self.schedule.id)
        assert (schedule.status, schedule.run_count, schedule.msg) == ("complete", 2, "Ran max times.")
        told = {one["id"]: one["status"] for one in self.results.bodies()}
        assert told == {row.id: row.status for row in rows if row.id != self.cancelled}

    def _truth(self, row: TaskRow, has_run: bool) -> str:
        if row.id == self.cancelled:
            return "cancelled"
        if not has_run:
            # Its message may not be sent again: nobody knows whether it was sent, and it might run twice.
            assert "the core stopped while publishing it" in row.msg
            return "killed"
        return "complete" if row.code_name == "Good" else "error"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder in memory: the core dies here, not the machine."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with TemporaryDirectory(prefix="reworker-points-", dir=place) as name:
        yield Path(name)


def test_story_ends_well_without_a_crash(folder: Path) -> None:
    story = Story(folder, 0)
    story.tell()
    story.check()
    assert Counter(row.status for row in story.world.rows()) == {"complete": 4, "error": 2, "cancelled": 1}
    assert len(story.fuse.passed) == POINT_COUNT
    story.world.kill()


@pytest.mark.parametrize("burns_at", range(1, POINT_COUNT + 1, STEP))
def test_each_task_has_one_true_end_when_the_core_dies(folder: Path, burns_at: int) -> None:
    story = Story(folder, burns_at)
    story.tell()
    story.check()
    story.world.kill()
