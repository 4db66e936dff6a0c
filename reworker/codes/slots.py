"""Where tasks run: a folder and a user for each slot of a worker, swept when its process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from reworker.clock import SystemClock
from reworker.codes.cache import empty, remove_tree
from reworker.codes.isolation import Isolation
from reworker.codes.keepers import Keeper
from reworker.errors import ConfigError

#: how folders of slots begin, and what is locked in one as long as its process lives.
_SLOT_PREFIX, _NEW_PREFIX, _LOCK = "slot-", ".new-", ".lock"
#: seconds after which a folder that has not got its name has lost its process.
_NEW_S = 60.0
#: folders of everybody, in whose place a task sees one of its own.
_PRIVATE = ("/tmp", "/var/tmp", "/dev/shm")


class Slot:
    """A folder and a user for one task at a time; one thread.

    Duties: a fresh folder for each task, the keeper that runs it, and that nothing is left of it afterwards.
    End of life: `close`; when its process is killed before, the next worker removes the folder.

    Args:
        work: folder of all slots, which may be shared by processes.
        isolation: what is in force.
        uids: of which one is taken that nobody on this machine has; counts only for root.
        hidden: files and folders that tasks see empty.

    Attributes:
        folder: of the task, its working folder.
        temporary: folder for what the task does not keep, seen as /tmp where that is possible.

    Raises:
        ConfigError: the folder cannot be used, or all users are taken.
    """

    def __init__(self, work: Path, isolation: Isolation, uids: Sequence[int], hidden: Sequence[str]) -> None:
        self.isolation, self._hidden, self._work = isolation, hidden, work
        self._keeper: Keeper | None = None
        self._is_clear = False
        self._locks = contextlib.ExitStack()
        try:
            _make_way(work)
            _sweep(work)
            self.uid = self._taken(uids) if isolation.own_users else None
            self.top = self._made()
        except BaseException as error:
            self._locks.close()  # the next one may have this user
            if isinstance(error, OSError):
                raise ConfigError(f"cannot be used: {error}", key="work_dir") from error
            raise
        self.folder, self.temporary = self.top / "task", self.top / "tmp"

    def keeper(self, limits: dict[str, int]) -> Keeper:
        """Return the keeper of this slot, which has no task; it is started when there is none.

        Args:
            limits: of its tasks, which are the same for all of them; see `keepers.Place`.
        """
        if self._keeper is not None and not self._keeper.is_waiting:
            self.end_keeper()
        if self._keeper is None:
            private = [(place, str(self.temporary)) for place in _PRIVATE if _can_be_private(place, self.top)]
            hidden = [*self._hidden, str(self._work)]
            place = self.isolation.place(str(self.top), private, hidden)
            self._keeper = Keeper(msgspec.structs.replace(place, uid=self.uid, limits=limits))
        return self._keeper

    def renew(self) -> None:
        """Make an empty folder for the next task.

        Raises:
            OSError: what is left of the last one cannot be removed.
        """
        if not self._is_clear:
            self.clear()
        self._is_clear = False
        os.mkdir(self.folder, 0o700)
        os.chmod(self.temporary, 0o1777 if self.uid is not None else 0o700)
        if self.uid is not None:
            os.chown(self.folder, self.uid, self.uid)

    def clear(self) -> None:
        """Remove what a task has left."""
        os.chmod(self.temporary, 0o700)
        empty(self.temporary)
        try:
            empty(self.folder)
            os.rmdir(self.folder)
        except FileNotFoundError:  # there was no task yet
            pass
        except PermissionError:
            remove_tree(self.folder)
        self._is_clear = True

    def end_keeper(self) -> None:
        """End the keeper and all that it has started; the next task gets a new one."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.close()

    def close(self) -> None:
        """End what runs, and remove the folder. Safe twice."""
        self.end_keeper()
        if self.top.exists():
            with contextlib.suppress(OSError):
                remove_tree(self.top)
        self._locks.close()

    def _taken(self, uids: Sequence[int]) -> int:
        for uid in uids:
            file = os.open(self._work / f".uid-{uid}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if _is_locked(file):
                self._locks.callback(os.close, file)
                return uid
            os.close(file)
        raise ConfigError(
            f"all {len(uids)} users for tasks are taken by other slots; allow more", key="uid_count"
        )

    def _made(self) -> Path:
        """Return a new folder, locked before it has its name."""
        name = secrets.token_hex(6)
        new, top = self._work / f"{_NEW_PREFIX}{name}", self._work / f"{_SLOT_PREFIX}{name}"
        os.mkdir(new, 0o711)
        os.chmod(new, 0o711)
        file = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._locks.callback(os.close, file)
        _is_locked(file)
        os.mkdir(new / "tmp")
        os.rename(new, top)
        return top


def _make_way(work: Path) -> None:
    """Make a folder and those above it, so that others get through, whatever the umask says."""
    if not work.exists():
        _make_way(work.parent)
        work.mkdir(exist_ok=True)
        work.chmod(0o711)


def _sweep(work: Path) -> None:
    """Remove the folders of processes that are gone."""
    for top in work.glob(f"{_SLOT_PREFIX}*"):
        with contextlib.suppress(OSError):
            _sweep_one(top)
    for new in work.glob(f"{_NEW_PREFIX}*"):
        with contextlib.suppress(OSError):
            if SystemClock().now().timestamp() - new.stat().st_mtime > _NEW_S:
                _sweep_one(new)


def _sweep_one(top: Path) -> None:
    try:
        file = open(top / _LOCK, "r+b")  # noqa: SIM115  # closed below
    except FileNotFoundError:  # whoever removed this folder was killed over it
        remove_tree(top)
        return
    with file:
        if _is_locked(file.fileno()):
            remove_tree(top)


def _is_locked(file: int) -> bool:
    """Lock a file as long as it is open; tell whether nobody else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _can_be_private(place: str, top: Path) -> bool:
    """Tell whether a folder can be put in place of another one, which must not be above it."""
    return os.path.isdir(place) and not os.path.islink(place) and Path(place) not in top.resolve().parents


def require_place(work: Path) -> None:
    """See that a folder for slots is there, is one, and can be written.

    Raises:
        ConfigError: it cannot be made, or not be used.
    """
    try:
        _make_way(work)
    except OSError as error:
        raise ConfigError(f"cannot be made: {error}", key="work_dir") from error
    if not work.is_dir():
        raise ConfigError(f"{work} is no folder", key="work_dir")
    if not os.access(work, os.W_OK | os.X_OK):
        raise ConfigError(f"{work} cannot be written", key="work_dir")


def require_way_to(work: Path) -> None:
    """See that users without rights get to the folders of their tasks, as far as these are there.

    Raises:
        ConfigError: a folder on the way does not let everybody through.
    """
    for folder in (work.resolve(), *work.resolve().parents):
        if folder.exists() and not folder.stat().st_mode & 0o001:
            raise ConfigError(f"{folder} lets no other user through; choose another work_dir", key="work_dir")
