"""code: runs the tasks of code packages, each in a process kept apart from all else.

Its settings are in conf/code.yaml; docs/code-worker.md says what keeps tasks apart.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import socket
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

import msgspec

from replugin.codeworker.listing import code_ids
from replugin.codeworker.settings import CodeSettings
from reworker.codes import PackageInvalid
from reworker.codes.cache import PackageCache
from reworker.codes.fetching import AGAIN_S, DISK_ERRORS, Source, fetch
from reworker.codes.isolation import isolation_here
from reworker.codes.keepers import KeeperLost, Request
from reworker.codes.limits import others_count
from reworker.codes.process import (
    TaskOrder,
    arguments_of,
    environment_of,
    make_python,
    path_with,
    write_files,
)
from reworker.codes.running import Bounds, End, Status, TaskRun
from reworker.codes.runtimes import Runtimes
from reworker.codes.slots import Slot, require_place, require_way_to
from reworker.errors import ConfigError, JobCancelled, JobFailed, JobRetry, JobTimeout
from reworker.worker import Job, Worker, runner, step, tls_context

#: seconds between two looks at a package that somebody else fetches.
WAIT_S = 0.05
#: characters of a token that is taken out of what a task writes; shorter texts may be words of it.
TOKEN_CHARACTERS = 32
#: what is said of a task that was cut short by the end of its worker.
STOPPED = "its worker was stopped while it ran"
#: what our folders, not the package, are to blame for: the disk, or somebody who has removed or closed them.
PLACE_ERRORS = DISK_ERRORS | {errno.ENOENT, errno.EACCES, errno.EPERM}
_ID = re.compile(r"[0-9A-Za-z._-]{1,200}")


class CodeWorker(Worker):
    """Performs tasks: fetches the package, gives it a folder, runs its process, tells how that ended."""

    #: it takes work from the queues of all codes.
    queues_key: ClassVar[str] = "worker.code.#"
    #: a task that only waited in a broker that was killed must not end as killed.
    confirms_start = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            given = self.own_settings(CodeSettings)
            self._own = given.completed(os.environ)
            tls = tls_context(self._own.ca) if self._own.ca else None
        except ValueError as error:
            raise ConfigError(str(error), path=self._config_path) from error
        self._source = Source(self._own.server, self._own.token or "", self._own.download_timeout_s, tls)
        self._cache = self._opened_cache()
        require_place(Path(self._own.work_dir))
        self._isolation = isolation_here(self._own.first_uid)
        if self._isolation.own_users:
            require_way_to(Path(self._own.work_dir))
        self._hidden = _hidden(self._own, [self._config_path, given.token_file or ""])
        self._path, self._runtimes = self._own.path, Runtimes(self._own.path, {})
        self._slot: Slot | None = None
        self._others_count = 0

    def known_queues(self) -> Iterable[str]:
        """Return the queues of all codes that the server knows."""
        return [f"worker.code.{one}" for one in code_ids(self._source)]

    @step("*")
    def run(self, job: Job, **parameters: Any) -> dict[str, Any]:
        """Run the task that the parameters describe."""
        order = _order_of(parameters)
        slot = self._opened_slot()
        try:
            end = self._ended(job, order, slot)
        except PackageInvalid as error:
            _fail(End(Status.ERROR, message=str(error)))
        except (JobFailed, JobRetry):
            raise
        except BaseException as error:
            slot.end_keeper()  # whatever has interrupted us, nothing of the task goes on
            cut_short = _end_by(error)
            if isinstance(error, JobCancelled) and not self._is_asked_for(job):
                cut_short = End(Status.KILLED, message=STOPPED)
            if cut_short is None:
                raise
            _fail(cut_short)
        finally:
            self._cleared(slot)
        if end.status is Status.CANCELLED and self._is_asked_for(job):
            raise JobCancelled(end.message)
        if end.status is Status.CANCELLED:
            _fail(End(Status.KILLED, message=STOPPED))
        if end.status is not Status.COMPLETE:
            _fail(end)
        return {"exit_code": end.exit_code}

    def close(self) -> None:
        """Remove the slot's folder and end its keeper."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.close()

    def _ended(self, job: Job, order: TaskOrder, slot: Slot) -> End:
        """Run the process of a task to its end, and return that."""
        try:
            argv = self._prepared(job, order, slot)
        except OSError as error:
            if error.errno not in PLACE_ERRORS:
                raise
            where = f"{error.filename}: " if error.filename else ""
            text = f"{socket.gethostname()} has no room for the package: {where}{error.strerror}"
            raise JobRetry(AGAIN_S, text) from error
        own, temporary = self._own, str(slot.temporary)
        request = Request(
            argv=argv,
            env=environment_of(order, slot.folder, temporary, self._path, own.server, own.environment),
            cwd=str(slot.folder),
        )
        bounds = Bounds(
            order.timeout_s, own.cancel_grace_s, own.limits, slot.top, splits_output=order.splits_output
        )
        redact, numbers = job.output.redact, itertools.count(1)

        def send(text: str, stream: str) -> None:
            text = text if redact is None else redact(text)
            shown = _without_token(text, order.token)
            self.send("output", job.id, {"message": shown, "stream": stream, "piece": next(numbers)})

        keeper = slot.keeper(own.limits.of_process(self._others_count))
        return TaskRun(keeper, bounds, send, lambda: job.cancelled, self._clock()).run(request)

    def _prepared(self, job: Job, order: TaskOrder, slot: Slot) -> list[str]:
        """Put the files of a task into its folder; return how its process is called."""
        slot.renew()
        self._cache.copy_to(
            order.digest,
            slot.folder,
            lambda file: self._fetched(job, order, file),
            lambda: job.sleep(WAIT_S),
            uid=slot.uid,
        )
        argv = arguments_of(order, slot.folder, self._runtimes)
        write_files(order, slot.folder, slot.uid)
        return argv

    def _is_asked_for(self, job: Job) -> bool:
        """Tell whether somebody has cancelled a task; else its worker has, because it stops."""
        assert self._station is not None
        return self._station.cancellations.reason(job.id) is not None

    def _fetched(self, job: Job, order: TaskOrder, file: BinaryIO) -> str:
        path = f"/2/projects/{order.project_id}/codes/{order.code_id}/download?revision={order.rev}"
        return fetch(self._source, path, file, job.sleep, self._clock())

    def _clock(self) -> Any:
        assert self._station is not None
        return self._station.clock

    def _cleared(self, slot: Slot) -> None:
        """Remove what the task has left; a slot of which something stays is not used again."""
        try:
            slot.clear()
        except OSError as error:
            self.app_logger.error("a folder is left to the next start: %s", error)
            self.close()

    def _opened_slot(self) -> Slot:
        if self._slot is not None and not self._slot.top.exists():  # somebody has removed it
            self.close()
        if self._slot is None:
            try:
                self._open_slot()
            except (ConfigError, OSError) as error:
                self.close()
                text = f"{socket.gethostname()} has no place for a task: {error}"
                raise JobRetry(AGAIN_S, text) from error
        assert self._slot is not None
        return self._slot

    def _open_slot(self) -> None:
        own = self._own
        uids = range(own.first_uid, own.first_uid + own.uid_count)
        self._slot = slot = Slot(Path(own.work_dir), self._isolation, uids, self._hidden)
        weakref.finalize(self, slot.close)
        self._others_count = 0 if self._isolation.counts_processes else others_count()
        programs = slot.top / "bin"
        self._path = path_with([str(programs)] if make_python(programs, own.path) else [], own.path)
        self._runtimes = Runtimes(self._path, own.runtimes)

    def _opened_cache(self) -> PackageCache:
        try:
            cache = PackageCache(Path(self._own.cache_dir), self._own.cache_mib << 20)
            cache.sweep()
        except OSError as error:
            raise ConfigError(f"cannot be used: {error}", key="cache_dir", path=self._config_path) from error
        return cache


def _hidden(own: CodeSettings, files: Iterable[str]) -> list[str]:
    """Return what tasks see empty: what holds secrets, and the packages of others."""
    found = [Path(one).absolute() for one in (*files, *own.hide) if one]
    return [own.cache_dir, *(str(one) for one in found if one.exists())]


def _end_by(error: BaseException) -> End | None:
    """Return how a task has ended whose run was interrupted; None is not for us to say."""
    if isinstance(error, KeeperLost):
        return End(Status.KILLED, message=error.message)
    if isinstance(error, JobTimeout):
        return End(Status.TIMEOUT, message="its time was over, with what it had waited for its package")
    return None


def _order_of(parameters: dict[str, Any]) -> TaskOrder:
    try:
        order = msgspec.convert(parameters, TaskOrder)
    except msgspec.ValidationError as error:
        _fail(End(Status.ERROR, message=f"the task is not described as it should be: {error}"))
    for name in ("task_id", "project_id", "code_id"):
        if not _ID.fullmatch(getattr(order, name)):
            _fail(End(Status.ERROR, message=f"{name}: {getattr(order, name)[:100]!a} is no id"))
    return order


def _without_token(text: str, token: str) -> str:
    """Return what a task has written with a mask for its token: who reads the log must not get its rights."""
    return text.replace(token, "***") if len(token) >= TOKEN_CHARACTERS else text


def _fail(end: End) -> NoReturn:
    raise JobFailed(end.message, {"status": str(end.status), "exit_code": end.exit_code})


def main() -> None:
    """Run this worker: ``python replugin/codeworker/__init__.py mq.json -w code.yaml``."""
    runner(CodeWorker)


if __name__ == "__main__":
    main()
