"""Commands that a job runs: a process group of their own, output line by line, ended with the job.

A guard stands between, see `jobs.guard`: not even a worker that is killed leaves a command behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from reworker.clock import Clock
from reworker.errors import JobFailed
from reworker.jobs import guard
from reworker.jobs.lines import ByteLines

#: seconds between two looks at a command that says nothing.
POLL_S = 0.1
#: seconds for its last words after SIGTERM, before SIGKILL.
GRACE_S = 2.0
#: lines of output that are kept for the result.
LAST_LINES = 20
#: bytes of output taken at once: what a pipe holds.
CHUNK_BYTES = 65_536
#: chunks that are read once the command has ended: a child it left may write for ever.
LATE_CHUNKS = 2


class CommandResult(msgspec.Struct, frozen=True):
    """How a command ended.

    Args:
        exit_code: negative for a signal.
        last_lines: the end of its output, 20 lines at most.
    """

    exit_code: int
    last_lines: list[str]

    @property
    def end(self) -> str:
        """The exit code in words."""
        return f"exit code {self.exit_code}" if self.exit_code >= 0 else f"signal {-self.exit_code}"


class Command(msgspec.Struct, frozen=True):
    """What to run.

    Args:
        argv: program and arguments; no shell reads them.
        cwd: working folder; None is ours.
        env: all of its environment; None is ours.
        timeout_s: seconds after which it is killed; None is without limit of its own.
    """

    argv: Sequence[str]
    cwd: str | None = None
    env: Mapping[str, str] | None = None
    timeout_s: float | None = None

    @property
    def name(self) -> str:
        """The program."""
        return str(self.argv[0]) if self.argv else "a command without a program"


def run_command(
    command: Command, on_line: Callable[[str], None], check: Callable[[], None], clock: Clock
) -> CommandResult:
    """Run a command to its end on this thread; whatever is left of its group is killed then.

    Args:
        command: what to run.
        on_line: gets each line of its stdout and stderr.
        check: called for each line and several times a second; what it raises ends the command.
        clock: for `timeout_s`.

    Raises:
        JobFailed: it cannot be started, or ran longer than `timeout_s`.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    own, theirs = socket.socketpair()
    with own:
        with theirs:
            process = _started(command, theirs)
        check = _check_with_limit(command, check, clock)
        try:
            for line in _lines_of(process, check):
                last.append(line)
                on_line(line)
                check()
        finally:
            _end_group(process)
        if process.returncode == guard.NO_START_EXIT_CODE:
            _refuse_start(command, own)
    return CommandResult(process.returncode, list(last))


def _started(command: Command, leash: socket.socket) -> subprocess.Popen[bytes]:
    own = [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(leash.fileno())]
    try:
        return subprocess.Popen(
            [*own, *command.argv],
            cwd=command.cwd,
            env=None if command.env is None else dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=(leash.fileno(),),
            start_new_session=True,
        )
    except (OSError, ValueError, TypeError) as error:
        raise JobFailed(f"{command.name} cannot be started: {error}") from error


def _refuse_start(command: Command, leash: socket.socket) -> None:
    """Raise when the guard could not start the program; other programs end with that code too."""
    leash.setblocking(False)
    said = b""
    with contextlib.suppress(OSError):
        said = leash.recv(16)
    if said.isdigit():
        number = int(said)
        name = errno.errorcode.get(number, str(number))
        raise JobFailed(f"{command.name} cannot be started: {os.strerror(number)} ({name})")


def _check_with_limit(command: Command, check: Callable[[], None], clock: Clock) -> Callable[[], None]:
    begin_mono_s = clock.mono_s()

    def check_both() -> None:
        check()
        if command.timeout_s is not None and clock.mono_s() - begin_mono_s >= command.timeout_s:
            raise JobFailed(f"{command.name} was killed: it ran longer than {command.timeout_s:g} s")

    return check_both


def _lines_of(process: subprocess.Popen[bytes], check: Callable[[], None]) -> Iterator[str]:
    """Yield lines until the command has ended; what its children write later is nobody's."""
    assert process.stdout is not None
    lines = ByteLines()
    with process.stdout, _end_of(process) as end:
        output = process.stdout.fileno()
        sources, left_count = [output, end], LATE_CHUNKS
        while sources and left_count:
            ready = _ready(sources, POLL_S)
            check()
            left_count -= end in ready
            if output in ready:
                data = os.read(output, CHUNK_BYTES)
                yield from lines.feed(data)
                sources = sources if data else [end]
            elif end in ready:
                sources = []
        yield from lines.end()


def _ready(descriptors: Iterable[int], timeout_s: float) -> set[int]:
    """Return those that can be read, or have ended, as soon as there is one or the time is over."""
    poll = select.poll()
    for one in descriptors:
        poll.register(one, select.POLLIN)
    return {one for one, _ in poll.poll(timeout_s * 1000)}


@contextlib.contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Give a descriptor that can be read once the process has ended; it is not reaped by that."""
    end = os.pidfd_open(process.pid)
    try:
        yield end
    finally:
        os.close(end)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the command and whatever it has started in its group, first politely.

    Its exit code is asked for last: until then nobody else can get the number of the group.
    """
    if not _has_ended(process.pid):
        _signal_group(process.pid, signal.SIGTERM)
        with _end_of(process) as end:
            _ready([end], GRACE_S)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def texts_of(argv: Iterable[object]) -> list[str]:
    """Return program and arguments as texts, paths included.

    Raises:
        JobFailed: one of them is something else.
    """
    words = list(argv)
    texts = [os.fspath(one) for one in words if isinstance(one, str | os.PathLike)]
    if not words or len(texts) < len(words):
        raise JobFailed(f"a command is a list of texts, program first; found {words!r:.100}")
    return texts
