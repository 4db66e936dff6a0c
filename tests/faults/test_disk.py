"""A core on a file whose disk is full, refuses writes, or is taken away: it waits, and goes on afterwards."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pika
import pytest

from reworker.broker.server import BrokerThread
from reworker.drill.worker import AGAIN, ONCE
from reworker.errors import StorageUnavailable
from reworker.topology import names
from tests.support.processes import Process
from tests.support.system import READY_S, System
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fault

AWAY = "the database is away"
#: bytes of the small disk: room for a database and its journals.
DISK_BYTES = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that is a disk of its own, of `DISK_BYTES`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to be root, and allowed to mount a small disk")
    yield folder
    # lazily: a process of the test may still have a file open
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def held_count(broker: BrokerThread, url: str) -> int:
    """Return how many replies a core has taken and not acknowledged."""
    vhost = broker.inspect()["vhosts"][url.rpartition("/")[2]]
    return int(vhost["queues"][names.REPLY_QUEUE]["unacked"])


def fill(folder: Path) -> Path:
    """Write a file until the disk is full."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@contextmanager
def full(system: System) -> Iterator[None]:
    """Fill the disk of the database."""
    ballast = fill(system.folder)
    with pytest.raises(StorageUnavailable, match="full"):
        system.submit(AGAIN)
    yield
    ballast.unlink()


@contextmanager
def write_protected(system: System) -> Iterator[None]:
    """Have every write of the core to a file refused, as on a disk that has become read-only."""
    own, none = resource.RLIM_INFINITY, 0
    resource.prlimit(system.core.pid, resource.RLIMIT_FSIZE, (none, own))
    yield
    resource.prlimit(system.core.pid, resource.RLIMIT_FSIZE, (own, own))


@contextmanager
def removed(system: System) -> Iterator[None]:
    """Take the file away."""
    file = system.folder / "reworker.db"
    moved = file.rename(file.with_name("moved"))
    yield
    moved.rename(file)


@contextmanager
def replaced(system: System) -> Iterator[None]:
    """Put a copy in the place of the file, as a restored backup."""
    with removed(system):
        shutil.copy(system.folder / "moved", system.folder / "reworker.db")
        yield


@contextmanager
def locked(system: System) -> Iterator[None]:
    """Hold the write lock from another process, longer than the core waits for it."""
    connection = sqlite3.connect(system.folder / "reworker.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.rollback()
    connection.close()


Harm = Callable[[System], AbstractContextManager[None]]


def survive(system: System, harm: Harm, words: str, held: Callable[[], int]) -> None:
    """Harm the disk while steps run; nothing may be acknowledged meanwhile, and all ends afterwards."""
    system.run()
    for key in (AGAIN, ONCE):
        system.submit(key, hosts=["a"], step_count=4, seconds=0.5)
    wait_until(lambda: len(system.marks()) >= 2, READY_S, "two steps to run")
    with harm(system):
        line = system.core.wait_for_line(f"{AWAY}.*", READY_S)[0]
        assert words in line
        wait_until(lambda: held() >= 2, READY_S, "both replies to be held")
        assert system.core.is_running
        assert {view.is_over for view in map(system.service.deployment, system.ids)} == {False}
    assert check_all(system)["completed"] >= 2


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (write_protected, "disk I/O error"),
        (removed, "was removed or replaced while open; put it back"),
        (replaced, "was removed or replaced while open; put it back"),
        (locked, "database is locked"),
    ],
    ids=["write-protected", "removed", "replaced", "locked"],
)
def test_core_waits_and_goes_on_when_its_file_cannot_be_written(
    new_system: Callable[..., System], broker: BrokerThread, broker_url: str, harm: Harm, words: str
) -> None:
    survive(new_system(broker_url), harm, words, partial(held_count, broker, broker_url))


def test_core_waits_and_goes_on_when_its_disk_is_full(
    process: Callable[..., Process], small_disk: Path, broker: BrokerThread, broker_url: str
) -> None:
    system = System(process, broker_url, small_disk)
    survive(system, full, "database or disk is full", partial(held_count, broker, broker_url))
    system.close()


def test_core_says_why_when_its_disk_is_read_only(
    process: Callable[..., Process], small_disk: Path, broker_url: str
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    core = process("-m", "reworker", "core", "--mq", broker_url, "--db", str(small_disk / "reworker.db"))
    assert core.wait(READY_S) == 1
    assert "Read-only file system" in core.output
    assert "Traceback" not in core.output


def test_deployments_go_on_when_a_flood_of_lines_has_filled_the_disk_of_the_lines(
    new_system: Callable[..., System], small_disk: Path, broker_url: str
) -> None:
    system = new_system(broker_url)
    for end in ("", "-wal", "-shm"):
        (system.folder / f"reworker.log.db{end}").unlink(missing_ok=True)
    (system.folder / "reworker.log.db").symlink_to(small_disk / "lines.db")
    system.run()
    own_id = system.submit(AGAIN, seconds=0.1, step_count=4)
    publish_lines(broker_url, own_id, 8000)
    system.core.wait_for_line("lines of output are lost: .* full", READY_S)
    assert system.wait_for_rest([system.submit(ONCE), own_id])[0].state.status == "completed"
    assert AWAY not in system.core.output
    assert check_all(system) == {"completed": 2}


def publish_lines(url: str, own_id: str, count: int) -> None:
    """Publish lines of output of a deployment, 1 KB each: more than the small disk holds."""
    body = json.dumps({"message": "x" * 1000}).encode()
    properties = pika.BasicProperties(correlation_id=own_id)
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        for _ in range(count):
            channel.basic_publish(names.EXCHANGE, names.OUTPUT_KEY, body, properties)
