"""The cache of packages: fetched once, whole whenever it is there, and no larger than it may be."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from reworker.codes.cache import Fetch, PackageCache, empty, remove_tree
from reworker.task_errors import PackageInvalid
from tests.unit.codes.zips import zipped

MUCH = 1 << 30


def never() -> None:
    raise AssertionError("nobody else fetches anything")


class Server:
    """Has packages, and counts how often each was fetched."""

    def __init__(self) -> None:
        self.count = 0
        self.packages: dict[str, bytes] = {}

    def add(self, name: str, size_bytes: int = 10) -> str:
        """Have a package of one file; return its digest."""
        content = zipped({name: os.urandom(size_bytes)}).getvalue()
        digest = hashlib.sha256(content).hexdigest()
        self.packages[digest] = content
        return digest

    def fetch(self, digest: str) -> Fetch:
        """Return what fetches a package."""

        def fetched(file: BinaryIO) -> str:
            self.count += 1
            file.write(self.packages[digest])
            return hashlib.sha256(self.packages[digest]).hexdigest()

        return fetched


def copy(cache: PackageCache, server: Server, digest: str, target: Path) -> list[str]:
    target.mkdir()
    cache.copy_to(digest, target, server.fetch(digest), never)
    return sorted(one.name for one in target.iterdir())


def kept(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir() if not one.name.startswith(".lock")}


def test_package_is_fetched_once(tmp_path: Path) -> None:
    cache, server = PackageCache(tmp_path / "cache", MUCH), Server()
    digest = server.add("a.py")
    assert copy(cache, server, digest, tmp_path / "1") == ["a.py"]
    assert copy(PackageCache(tmp_path / "cache", MUCH), server, digest, tmp_path / "2") == ["a.py"]
    assert server.count == 1
    (tmp_path / "1/a.py").write_text("changed")
    assert (tmp_path / "2/a.py").read_bytes() != b"changed"


def test_oldest_package_goes_when_there_is_no_room(tmp_path: Path) -> None:
    cache, server = PackageCache(tmp_path / "cache", 2500), Server()
    digests = [server.add(f"{number}", 1000) for number in range(3)]
    for number, digest in enumerate(digests[:2]):
        copy(cache, server, digest, tmp_path / f"{number}")
        os.utime(tmp_path / "cache" / digest, (1000 + number, 1000 + number))
    copy(cache, server, digests[0], tmp_path / "again")  # now it is the newest
    copy(cache, server, digests[2], tmp_path / "2")
    assert kept(tmp_path / "cache") == {digests[0], digests[2]}


def test_package_that_is_larger_than_the_cache_is_kept_alone(tmp_path: Path) -> None:
    cache, server = PackageCache(tmp_path / "cache", 10), Server()
    for number in range(2):
        digest = server.add(f"{number}", 1000)
        assert copy(cache, server, digest, tmp_path / f"{number}") == [f"{number}"]
    assert kept(tmp_path / "cache") == {digest}


def test_package_is_fetched_again_when_it_went_away(tmp_path: Path) -> None:
    cache, server = PackageCache(tmp_path / "cache", MUCH), Server()
    digest = server.add("a.py")
    copy(cache, server, digest, tmp_path / "1")
    remove_tree(tmp_path / "cache" / digest)
    assert copy(cache, server, digest, tmp_path / "2") == ["a.py"]
    assert server.count == 2


def test_other_bytes_than_were_meant_are_not_kept(tmp_path: Path) -> None:
    cache, server = PackageCache(tmp_path / "cache", MUCH), Server()
    digest, other = server.add("a"), server.add("b")
    (tmp_path / "1").mkdir()
    with pytest.raises(PackageInvalid, match="SHA-256"):
        cache.copy_to(digest, tmp_path / "1", server.fetch(other), never)
    assert kept(tmp_path / "cache") == set()


@pytest.mark.parametrize("digest", ["", "..", "A" * 64, "0" * 63, "/" + "0" * 63])
def test_digest_that_is_none_is_refused(tmp_path: Path, digest: str) -> None:
    with pytest.raises(PackageInvalid, match="no SHA-256"):
        PackageCache(tmp_path / "cache", MUCH).copy_to(digest, tmp_path, lambda _: "", never)


def test_what_was_left_half_done_is_swept_when_it_is_old(tmp_path: Path) -> None:
    cache = PackageCache(tmp_path / "cache", MUCH)
    for name in (".new-1", ".old-1", ".new-2"):
        (tmp_path / "cache" / name).mkdir()
    for name in (".new-1", ".old-1"):
        os.utime(tmp_path / "cache" / name, (1000, 1000))
    cache.sweep()
    assert kept(tmp_path / "cache") == {".new-2"}


def test_folders_that_were_closed_are_removed_too(tmp_path: Path) -> None:
    closed = tmp_path / "top" / "closed"
    (closed / "in").mkdir(parents=True)
    (closed / "in" / "file").touch()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (closed / "in").chmod(0)
    closed.chmod(0)
    empty(tmp_path / "top")
    assert list((tmp_path / "top").iterdir()) == []
    assert (tmp_path / "kept").exists()
