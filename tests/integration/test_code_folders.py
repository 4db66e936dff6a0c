"""The code worker's folders, removed or replaced by somebody: no task is lost by it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker.errors import ConfigError
from tests.integration.code_support import Bed, log_of
from tests.support.http_server import HttpServer


@pytest.fixture
def bed() -> Iterator[Bed]:
    with tempfile.TemporaryDirectory() as top, HttpServer() as server:
        Path(top).chmod(0o755)  # pytest's own folders let nobody else through
        found = Bed(Path(top), server)
        yield found
        found.close()


@pytest.mark.parametrize("name", ["work", "cache"])
def test_task_runs_when_a_folder_was_removed_under_the_worker(bed: Bed, name: str) -> None:
    assert log_of(bed.shell("echo first")) == "first\n"
    shutil.rmtree(bed.top / name)
    found = bed.shell("echo second")
    assert (found.statuses[-1], log_of(found)) == ("completed", "second\n")


def test_task_is_given_back_while_its_folder_cannot_be_used(bed: Bed) -> None:
    bed.config["uid_count"] = 1
    assert log_of(bed.shell("echo first")) == "first\n"
    work = bed.top / "work"
    shutil.rmtree(work)
    work.write_text("in the way")
    for _ in range(2):
        found = bed.shell("echo second")
        assert found.statuses == ["started", "running"]
        assert found.replies[-1]["again_in_s"] == 5
        assert "has no place for a task: work_dir" in found.replies[-1]["message"]
    work.unlink()
    assert log_of(bed.shell("echo second")) == "second\n"


def test_worker_does_not_start_when_its_folder_is_none(bed: Bed) -> None:
    (bed.top / "work").write_text("in the way")
    with pytest.raises(ConfigError, match=r"work_dir: .* is no folder"):
        bed.shell("echo never")


def test_worker_does_not_start_when_its_folder_cannot_be_made(bed: Bed) -> None:
    bed.config["work_dir"] = "/proc/none/of/these"
    with pytest.raises(ConfigError, match=r"work_dir: cannot be made"):
        bed.shell("echo never")
