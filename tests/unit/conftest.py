"""What keeps unit tests cheap: fewer examples on request, folders in memory, nobody to trust.

`--hypothesis-profile=quick` tries fewer examples; `make unit` uses it, `make test` tries all.
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

#: where files are in memory; and the bytes that have to be free there.
MEMORY, ROOM_BYTES = Path("/dev/shm"), 100 << 20


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collections: each would go through all tests again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder whose files need no disk, where the system has one."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        yield tmp_path_factory.mktemp("unit")
        return
    with tempfile.TemporaryDirectory(prefix="reworker-unit-", dir=MEMORY) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def folder_numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def tmp_path(memory_folder: Path, folder_numbers: Iterator[int]) -> Iterator[Path]:
    """Give an empty folder in memory; it goes with the test: a database on disk waits for the disk."""
    folder = memory_folder / str(next(folder_numbers))
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def no_trust_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read no certificates of the system: no unit test connects, and each reading takes a while."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)
