"""The worker's end of a keeper: starts it, gives it tasks, hears how they end. See `keeper`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from reworker.codes import keeper
from reworker.errors import JobError, JobFailed

#: seconds that a keeper may take for a word.
START_S = 20.0


class Place(msgspec.Struct, frozen=True):
    """Where a keeper and its tasks live; the same for all that it starts.

    Args:
        namespaces: of pids, mounts, IPC and host name.
        users: a user namespace, too, which gives who is not root the right to the other ones.
        own_proc: a /proc that shows none but the slot's processes.
        top: the slot's folder; where there are namespaces, of all folders only this one can be written.
        private: (place, folder) pairs: what is seen there instead.
        hidden: files and folders that are seen empty.
        uid: user and group of tasks; None stays who we are.
        limits: of each process of a task: values of resource limits, by their names.
    """

    namespaces: bool = False
    users: bool = False
    own_proc: bool = False
    top: str = ""
    private: list[tuple[str, str]] = []
    hidden: list[str] = []
    uid: int | None = None
    limits: dict[str, int] = {}


class Request(msgspec.Struct, frozen=True):
    """A task that a keeper starts.

    Args:
        argv: program, as an absolute path, and arguments.
        env: all of its environment.
        cwd: working folder.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str


class KeeperLost(JobError):
    """The keeper of this slot has ended, and with it the task; the next task gets a new one."""


class Keeper:
    """One keeper process, and at most one task in it; one thread at a time.

    It is started by a thread of its own: what the worker's instances start, the pool ends with their jobs.

    Args:
        place: where it and its tasks live.

    Raises:
        KeeperLost: it does not start.
    """

    def __init__(self, place: Place) -> None:
        self._leash, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        starter = threading.Thread(target=self._start, args=(theirs, place), name="keeper")
        with theirs:
            starter.start()
            starter.join()
        word, problem = self._answer(START_S)
        if word != "ready" or problem:
            self.close()
            raise KeeperLost(f"the keeper of this slot cannot start: {problem or word}")
        self._first = self._pid_of_first() if place.namespaces else self._process.pid

    def _start(self, theirs: socket.socket, place: Place) -> None:
        argv = [sys.executable, "-I", "-S", str(Path(keeper.__file__)), str(theirs.fileno())]
        self._process = subprocess.Popen(
            [*argv, msgspec.json.encode(place).decode()],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )

    def _pid_of_first(self) -> int:
        """Return the number of the first process of the namespace, the only child of what was started."""
        pid = self._process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])

    @property
    def pid(self) -> int:
        """The process that all of a task descends from."""
        return self._first

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a task; if it has none and does not, it has ended."""
        try:
            self._leash.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        return False

    def fileno(self) -> int:
        """Return what can be read when there is news; for `poll`."""
        return self._leash.fileno()

    def run(self, request: Request, stdout: int, stderr: int) -> None:
        """Have a task started; `exit_code` says whether it could be.

        Raises:
            KeeperLost: the keeper has ended.
        """
        message = b"run " + msgspec.json.encode(request)
        outputs = [stdout] if stdout == stderr else [stdout, stderr]
        try:
            if len(message) <= keeper.MESSAGE_BYTES:
                socket.send_fds(self._leash, [message], outputs)
            else:
                self._send_long(message, outputs)
        except OSError as error:
            raise KeeperLost(f"the keeper of this slot was lost: {error}") from error

    def _send_long(self, message: bytes, outputs: list[int]) -> None:
        word, _, text = message.partition(b" ")
        file = os.memfd_create("request")
        try:
            os.write(file, text)
            os.lseek(file, 0, os.SEEK_SET)
            socket.send_fds(self._leash, [word], [*outputs, file])
        finally:
            os.close(file)

    def signal(self, number: signal.Signals) -> None:
        """Tell the task to end, by SIGTERM, or end all of it by SIGKILL."""
        with contextlib.suppress(OSError):
            self._leash.send(b"kill" if number == signal.SIGKILL else b"term")

    def exit_code(self, timeout_s: float = START_S) -> int:
        """Return the exit code of the task, as a shell gives it, when there is news.

        Raises:
            JobFailed: the task could not be started.
            KeeperLost: the keeper has ended.
        """
        word, rest = self._answer(timeout_s)
        if word != "ended":
            raise JobFailed(f"the task cannot be started: {rest}")
        return int(rest)

    def close(self) -> None:
        """End it and its task. Safe twice."""
        self._leash.close()
        if self._process.poll() is None:
            try:
                self._process.wait(START_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _answer(self, timeout_s: float) -> tuple[str, str]:
        """Return what it says next, the first word apart."""
        said = b""
        with contextlib.suppress(OSError):
            said = self._received(timeout_s)
        if not said:
            raise KeeperLost("the keeper of this slot was lost, and its task with it")
        word, _, rest = said.decode("utf-8", "replace").partition(" ")
        return word, rest

    def _received(self, timeout_s: float) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return self._leash.recv(keeper.ANSWER_BYTES, socket.MSG_DONTWAIT)
        poll = select.poll()
        poll.register(self._leash, select.POLLIN)
        return self._leash.recv(keeper.ANSWER_BYTES) if poll.poll(timeout_s * 1000) else b""
