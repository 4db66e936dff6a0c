"""A code worker whose disk is full: it says so, and gives the task back for another worker, or for later."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.code_support import Bed, log_of
from tests.support.http_server import HttpServer

pytestmark = pytest.mark.fault

#: bytes of the small disk.
DISK_BYTES = 1 << 20
#: files and folders that fit on it.
FILES = 200


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Give a code worker whose folders are on a disk of their own, of `DISK_BYTES`."""
    with tempfile.TemporaryDirectory() as name, HttpServer() as server:
        top = Path(name)
        top.chmod(0o755)  # so that the users of tasks get through
        disk = top / "disk"
        disk.mkdir()
        mount = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={DISK_BYTES},nr_inodes={FILES},mode=755",
            "none",
            str(disk),
        ]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("needs to be root, and allowed to mount a small disk")
        made = Bed(disk, server)
        yield made
        made.close()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_task_is_given_back_while_the_disk_is_full_and_runs_when_it_is_not(bed: Bed) -> None:
    assert log_of(bed.shell("echo first")) == "first\n"
    ballast = bed.top / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    package = {"main.sh": "echo second", "blob": os.urandom(100_000)}
    found = bed.run(package, "main.sh")
    assert found.statuses == ["started", "running"]
    assert found.replies[-1]["again_in_s"] == 5
    assert "has no room for the package" in found.replies[-1]["message"]
    assert "No space left on device" in found.replies[-1]["message"]
    ballast.unlink()
    assert log_of(bed.run(package, "main.sh")) == "second\n"


def test_slot_that_cannot_be_made_keeps_no_user_from_the_next(bed: Bed) -> None:
    bed.config["uid_count"] = 1
    assert log_of(bed.shell("echo first")) == "first\n"
    (slot,) = (bed.top / "work").glob("slot-*")
    shutil.rmtree(slot)
    ballast = bed.top / "ballast"
    ballast.mkdir()
    with suppress(OSError):
        for number in range(FILES):
            (ballast / str(number)).touch()
    found = bed.shell("echo second")
    assert found.statuses == ["started", "running"]
    assert "No space left on device" in found.replies[-1]["message"]
    shutil.rmtree(ballast)
    assert log_of(bed.shell("echo second")) == "second\n"


def test_task_is_given_back_while_the_disk_cannot_be_written(bed: Bed) -> None:
    assert log_of(bed.shell("echo first")) == "first\n"
    work = str(bed.top / "work")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=755", "none", work], check=True)
    for _ in range(2):
        found = bed.shell("echo second")
        assert found.statuses == ["started", "running"]
        assert "Read-only file system" in found.replies[-1]["message"]
    subprocess.run(["umount", "--lazy", work], check=True)
    assert log_of(bed.shell("echo second")) == "second\n"
