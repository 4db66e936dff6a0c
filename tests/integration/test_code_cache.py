"""The cache of packages with several users at once, one of which is killed."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from reworker.codes.cache import PackageCache
from tests.integration.code_support import package
from tests.support.processes import Process
from tests.support.waiting import wait_until

HOLD = """
import sys, time
from pathlib import Path
from reworker.codes.cache import PackageCache
def fetch(file):
    file.write(b"half")
    print("fetching", flush=True)
    time.sleep(60)
target = Path(sys.argv[1]) / "copy-of-the-dead"
target.mkdir()
PackageCache(Path(sys.argv[1]) / "cache", 1 << 20).copy_to(sys.argv[2], target, fetch, lambda: None)
"""


def fetched(content: bytes) -> Callable[[BinaryIO], str]:
    def fetch(file: BinaryIO) -> str:
        file.write(content)
        return hashlib.sha256(content).hexdigest()

    return fetch


@pytest.mark.fault
def test_package_is_fetched_by_the_next_one_when_the_first_is_killed(
    tmp_path: Path, process: Callable[..., Process]
) -> None:
    content = package({"a": "text"})
    digest = hashlib.sha256(content).hexdigest()
    first = process("-c", HOLD, str(tmp_path), digest)
    first.wait_for_line("fetching")
    cache, waits, target = (
        PackageCache(tmp_path / "cache", 1 << 20),
        threading.Semaphore(0),
        tmp_path / "copy",
    )
    target.mkdir()

    def wait() -> None:
        waits.release()
        first.send_signal(signal.SIGKILL)

    cache.copy_to(digest, target, fetched(content), wait)
    assert waits.acquire(blocking=False)
    assert (target / "a").read_text() == "text"
    assert not (tmp_path / "cache" / digest / "half").exists()


def test_copies_are_whole_while_packages_come_and_go(tmp_path: Path) -> None:
    contents = {f"{number}": package({f"{number}": f"{number}" * 5000, "x/y": "z"}) for number in range(4)}
    problems: list[str] = []

    def work(own: int) -> None:
        cache = PackageCache(tmp_path / "cache", 12_000)
        for turn in range(40):
            name = f"{(turn + own) % 4}"
            content, target = contents[name], tmp_path / f"{own}-{turn}"
            target.mkdir()
            cache.copy_to(hashlib.sha256(content).hexdigest(), target, fetched(content), lambda: None)
            if (target / name).read_text() != name * 5000 or (target / "x/y").read_text() != "z":
                problems.append(f"{own}-{turn}")

    threads = [threading.Thread(target=work, args=(own,)) for own in range(3)]
    for one in threads:
        one.start()
    wait_until(lambda: not any(one.is_alive() for one in threads), 60)
    assert problems == []
    assert len(list(tmp_path.glob("?-*/x/y"))) == 120
