"""A code worker whose disk is full: it says so, and gives the task back for another worker, or for later."""

from __future__ import annotations

import os
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


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Give a code worker whose folders are on a disk of their own, of `DISK_BYTES`."""
    with tempfile.TemporaryDirectory() as name, HttpServer() as server:
        top = Path(name)
        top.chmod(0o755)  # so that the users of tasks get through
        disk = top / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "none", str(disk)]
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
