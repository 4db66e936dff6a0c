"""Code packages that were unpacked before, by their digest; several processes may share the folder.

A package is unpacked beside its place and gets it by one rename, and it leaves it by one. So a place is
whole whenever it is there, whoever is killed meanwhile. It may go while somebody copies it, who starts again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from reworker.clock import Clock, SystemClock
from reworker.codes.unpacking import NEW_PREFIX, unpack
from reworker.task_errors import PackageInvalid

#: how folders begin that are on their way out.
OLD_PREFIX = ".old-"
#: seconds after which one that is not whole, or on its way out, belongs to somebody who was killed.
LEFT_S = 3600.0
#: how often a copy is tried whose source goes away under it.
_TRIES = 5
_DIGEST = re.compile(r"[0-9a-f]{64}")

#: writes the bytes of a package into a file; returns their SHA-256.
Fetch = Callable[[BinaryIO], str]
#: waits a moment for somebody else; raises what ends the wait.
Wait = Callable[[], None]


class PackageCache:
    """A folder of unpacked packages; any thread, any process.

    Args:
        folder: made if it is missing, with mode 0700.
        limit_bytes: of all packages in it; those that were used longest ago go first.
        clock: for what was left behind.
    """

    def __init__(self, folder: Path, limit_bytes: int, clock: Clock | None = None) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes
        self._clock = clock or SystemClock()
        folder.mkdir(0o700, parents=True, exist_ok=True)

    def copy_to(self, digest: str, target: Path, fetch: Fetch, wait: Wait, *, uid: int | None = None) -> None:
        """Copy the files of a package into a folder that is there; fetch it first if it is not in the cache.

        Args:
            digest: SHA-256 of the package in hexadecimal.
            target: an empty folder.
            fetch: called at most once at a time for one package.
            wait: called while somebody else fetches it.
            uid: whose the files shall be; None is ours.

        Raises:
            PackageInvalid: what came is not what was meant, or cannot be unpacked.
            OSError: the files cannot be read or written.
        """
        if not _DIGEST.fullmatch(digest):
            raise PackageInvalid(f"{digest[:100]!a} is no SHA-256 digest")
        for left in reversed(range(_TRIES)):
            place = self._ensured(digest, fetch, wait)
            try:
                copy_tree(place, target, uid)
                return
            except FileNotFoundError:
                if not left or place.exists():
                    raise
                empty(target)

    def sweep(self) -> None:
        """Remove what was left by processes that were killed."""
        limit = self._clock.now().timestamp() - LEFT_S
        left = [one for one in os.scandir(self._folder) if one.name.startswith((NEW_PREFIX, OLD_PREFIX))]
        for entry in left:
            if _used_at(entry) < limit:
                shutil.rmtree(entry.path, ignore_errors=True)

    def _ensured(self, digest: str, fetch: Fetch, wait: Wait) -> Path:
        place = self._folder / digest
        if _touched(place):
            return place
        with self._lock(digest, wait):
            if not _touched(place):
                self._add(digest, place, fetch)
        return place

    def _add(self, digest: str, place: Path, fetch: Fetch) -> None:
        with tempfile.TemporaryFile(dir=self._folder) as file:
            found = fetch(file)
            if found != digest:
                raise PackageInvalid(f"the package that came has the SHA-256 {found}, not {digest}")
            with contextlib.suppress(FileExistsError):
                unpack(file, place)
        self._make_room(place)

    @contextlib.contextmanager
    def _lock(self, digest: str, wait: Wait) -> Iterator[None]:
        """Be the only one who fetches this package; the file stays, there are sixteen of them."""
        self._folder.mkdir(0o700, parents=True, exist_ok=True)  # people empty their caches
        with open(self._folder / f".lock-{digest[0]}", "wb") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    wait()
            yield

    def _make_room(self, newest: Path) -> None:
        places = [entry for entry in os.scandir(self._folder) if _DIGEST.fullmatch(entry.name)]
        sizes = {entry.path: size_of(Path(entry.path)) for entry in places}
        excess_bytes = sum(sizes.values()) - self._limit_bytes
        for entry in sorted(places, key=_used_at):
            if excess_bytes > 0 and entry.path != str(newest):
                excess_bytes -= sizes[entry.path]
                old = self._folder / f"{OLD_PREFIX}{secrets.token_hex(8)}"
                with contextlib.suppress(FileNotFoundError):
                    os.rename(entry.path, old)
                    os.utime(old)
                shutil.rmtree(old, ignore_errors=True)


def _touched(place: Path) -> bool:
    """Note that a package is used; tell whether it is there."""
    try:
        os.utime(place)
    except FileNotFoundError:
        return False
    return True


def _used_at(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0.0


def size_of(folder: Path) -> int:
    """Return the bytes of the files in a folder; one that goes meanwhile has fewer."""
    total_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total_bytes += os.lstat(os.path.join(place, name)).st_size
    return total_bytes


def copy_tree(source: Path | str, target: Path | str, uid: int | None) -> None:
    """Copy files and folders, with permissions, into a folder that is there.

    Args:
        source: only files and folders, as `unpack` makes them.
        target: gets them.
        uid: whose the copies shall be, user and group; None is ours.
    """
    for entry in list(os.scandir(source)):
        copy = os.path.join(target, entry.name)
        if not entry.is_dir(follow_symlinks=False):
            _copy_file(entry.path, copy, uid)
            continue
        os.mkdir(copy, 0o700)
        copy_tree(entry.path, copy, uid)
        if uid is not None:
            os.chown(copy, uid, uid)


def _copy_file(source: str, target: str, uid: int | None) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(reader)
        writer = os.open(target, flags, 0o600)
        try:
            left_bytes = status.st_size
            while left_bytes > 0 and (sent := os.sendfile(writer, reader, None, left_bytes)):
                left_bytes -= sent
            if uid is not None:
                os.fchown(writer, uid, uid)
            os.fchmod(writer, status.st_mode & 0o777)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def empty(folder: Path) -> None:
    """Remove all that is in a folder, which is no link, also from folders in it that were closed to us."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for entry in list(os.scandir(place)):
            if entry.is_dir(follow_symlinks=False):
                remove_tree(folder / entry.name)
            else:
                os.unlink(entry.name, dir_fd=place)
    finally:
        os.close(place)


def remove_tree(folder: Path) -> None:
    """Remove a folder of which nobody uses anything any more, whatever permissions it has."""
    try:
        shutil.rmtree(folder)
    except PermissionError:
        _open_up(folder)
        shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    os.chmod(folder, 0o700)
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            _open_up(Path(entry.path))
