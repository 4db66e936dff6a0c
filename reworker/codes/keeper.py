"""Stands between a worker and the processes of tasks: starts them apart from all else, and ends them.

Run as a script: ``keeper.py LEASH PLACE``, once for each slot of a worker. `LEASH` is the number of a socket
whose other end only the worker holds, `PLACE` is `keepers.Place` in JSON. It imports none of our modules, so
that it is small: each task is a fork of it, or is spawned, which takes less time but not everybody can.

The worker sends ``run`` and `keepers.Request` in JSON (in a file, if it is long) with one descriptor for all
that the task writes, or two; and ``term`` and ``kill``. The answers are ``ready`` and the problem; for each
task ``refused`` and why, or ``ended`` and the code. When the leash closes, all is killed.

With namespaces, the keeper is the first process of a pid namespace: at the end of a task one call kills all
that is left in it, daemons too, and when the keeper itself is killed, the kernel does. Without, what has been
left is looked for in /proc.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import resource
import select
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    #: starts a task by (request, stdout and stderr, place), and returns its pid.
    Start = Callable[[dict[str, Any], list[int], dict[str, Any]], int]

#: bytes of a message, of what comes with three descriptors, and of an answer, at most.
MESSAGE_BYTES, MORE_BYTES, ANSWER_BYTES = 16 << 10, socket.CMSG_SPACE(12), 8 << 10
#: exit code of a process that could not become what it should.
NO_START_EXIT_CODE = 127
#: ended processes that are reaped at once: while a task leaves ever more, its end has to be heard of, too.
REAP_COUNT = 200
#: times that we look for processes to stop before the found ones are killed.
STOP_ROUNDS = 20
#: how much sooner than others a task is killed when the kernel has no memory left.
OOM_SCORE = b"500"
#: the least limits of tasks with which we can live ourselves.
LEAST_LIMITS = {"RLIMIT_DATA": 64 << 20, "RLIMIT_NOFILE": 64, "RLIMIT_NPROC": 8}
#: signals that mean to a task what they usually do: some of them we ignore, some Python, and those of the
#: keyboard a shell, for what it starts in the background.
USUAL = (
    *(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    signal.SIGCHLD,
)
_SPAWNING: dict[str, Any] = {"setsid": True, "setsigdef": USUAL, "setsigmask": (), "resetids": True}

# Source: linux/sched.h, linux/mount.h, linux/prctl.h.
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USERS, NEW_PIDS = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
PR_PDEATHSIG, PR_DUMPABLE, PR_SUBREAPER, PR_NO_NEW_PRIVS = 1, 4, 36, 38
#: number of mount_setattr on every architecture; its flag for all below; its attribute for read-only.
MOUNT_SETATTR, AT_RECURSIVE, ATTR_RDONLY = 442, 0x8000, 0x1
AT_FDCWD = -100
#: bytes of a set of signals at most.
SIGSET_BYTES = 128

_libc, _NOTHING = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)


def main(leash: socket.socket, place: dict[str, Any]) -> NoReturn:
    """Go to the place, and run tasks there, one after the other, until the leash closes."""
    os.set_inheritable(leash.fileno(), False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        _prefer_for_oom()
        if place["namespaces"]:
            _enter(place)
        else:
            _prctl(PR_SUBREAPER, 1)
        _prctl(PR_NO_NEW_PRIVS, 1)
        _prctl(PR_DUMPABLE, 0)
        ends = _file_of_ends()
    except OSError as error:
        _tell(leash, f"ready {error}")
        os._exit(NO_START_EXIT_CODE)
    os.umask(0o022)
    is_spawning = place["namespaces"] and _can_keep(place["limits"])
    if is_spawning:
        _limit_all(place["limits"])
    start = _spawned if is_spawning else _forked
    _tell(leash, "ready ")
    while True:
        word, text, descriptors = _received(leash)
        if word == b"run":
            task = functools.partial(start, json.loads(text or _content(descriptors)), descriptors, place)
            _run(leash, ends, task, has_namespaces=place["namespaces"])
            for one in descriptors:
                os.close(one)
            if place["namespaces"]:  # what one task leaves in it, the next one must not see
                _check("unshare", _libc.unshare(NEW_IPC))


def _run(leash: socket.socket, ends: int, start: Callable[[], int], *, has_namespaces: bool) -> None:
    """Run one task to its end."""
    try:
        pid = start()
    except OSError as error:
        _end_all(has_namespaces=has_namespaces)
        _tell(leash, f"refused {error}")
        return
    ended: dict[int, int] = {}
    while pid not in ended:
        wait_s = 0 if len(ended) == REAP_COUNT else None
        ready, _, _ = select.select([leash.fileno(), ends], [], [], wait_s)
        if leash.fileno() in ready:
            _obey(_received(leash)[0], pid)
        if ends in ready:
            os.read(ends, 4096)
        ended, _ = _reaped()
    _end_all(has_namespaces=has_namespaces)
    code = os.waitstatus_to_exitcode(ended[pid])
    _tell(leash, f"ended {code if code >= 0 else 128 - code}")


def _obey(word: bytes, pid: int) -> None:
    if number := {b"term": signal.SIGTERM, b"kill": signal.SIGKILL}.get(word):
        _kill(-pid, number)


def _received(leash: socket.socket) -> tuple[bytes, bytes, list[int]]:
    """Return a word, what is behind it, and descriptors; end all when nobody is left to send them."""
    try:
        data, more, _, _ = leash.recvmsg(MESSAGE_BYTES, MORE_BYTES, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        data, more = b"", []
    if not data:
        _end_all(has_namespaces=os.getpid() == 1)
        os._exit(0)
    word, _, text = data.partition(b" ")
    return word, text, [one for _, _, found in more for (one,) in struct.iter_unpack("i", found)]


def _content(descriptors: list[int]) -> bytes:
    with open(descriptors.pop(), "rb") as file:
        return file.read()


def _tell(leash: socket.socket, words: str) -> None:
    with contextlib.suppress(OSError):  # the worker is gone, which the next look at the leash says
        leash.send(words.encode("utf-8", "replace")[:ANSWER_BYTES])


def _file_of_ends() -> int:
    """Return a file that can be read when children have ended; they interrupt nothing then."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    wanted = ctypes.create_string_buffer(SIGSET_BYTES)
    _libc.sigemptyset(wanted)
    _libc.sigaddset(wanted, signal.SIGCHLD)
    file: int = _libc.signalfd(-1, wanted, os.O_NONBLOCK | os.O_CLOEXEC)
    _check("signalfd", min(file, 0))
    return file


def _reaped() -> tuple[dict[int, int], bool]:
    """Reap some that have ended; return their statuses by pid, and whether there may be others."""
    found: dict[int, int] = {}
    try:
        while len(found) < REAP_COUNT:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found[pid] = status
    except ChildProcessError:
        return found, False
    return found, True


def _end_all(*, has_namespaces: bool) -> None:
    """Kill and reap all that the task has left."""
    while _reaped()[1]:
        if has_namespaces:
            _kill(-1, signal.SIGKILL)
        else:
            _kill_descendants()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _kill_descendants() -> None:
    """Kill what has come from us, stopped first.

    What is stopped starts no others, and keeps its place among the processes that its user may have; what is
    killed would leave that to the next one.
    """
    stopped: set[int] = set()
    for _ in range(STOP_ROUNDS):
        fresh = set(_descendants()) - stopped
        if not fresh:
            break
        for pid in fresh:
            _kill(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in _descendants():
        _kill(pid, signal.SIGKILL)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _descendants() -> list[int]:
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        for child in _children_of(waiting.pop()):
            found.append(child)
            waiting.append(child)
    return found


def _children_of(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                yield from map(int, file.read().split())


def _spawned(request: dict[str, Any], outputs: list[int], place: dict[str, Any]) -> int:
    """Start a task by a call that copies nothing of our memory, and return its pid.

    What it inherits we have to be for that moment: in its folder, and its user by our real id. We are the
    first of a pid namespace, to which others of that user can do nothing.

    Raises:
        OSError: it cannot be started.
    """
    users, groups, uid = os.getresuid(), os.getresgid(), place["uid"]
    nothing = os.open(os.devnull, os.O_RDONLY)
    files = enumerate((nothing, outputs[0], outputs[-1]))
    actions = [(os.POSIX_SPAWN_DUP2, one, number) for number, one in files]
    argv = request["argv"]
    try:
        os.chdir(request["cwd"])
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, *groups[1:])
            os.setresuid(uid, *users[1:])
        return os.posix_spawn(argv[0], argv, request["env"], file_actions=actions, **_SPAWNING)
    finally:
        if uid is not None:
            os.setresuid(*users)
            os.setresgid(*groups)
        os.chdir("/")
        os.close(nothing)
        _prctl(PR_DUMPABLE, 0)  # the child had our memory, and changed this by changing its user


def _forked(request: dict[str, Any], outputs: list[int], place: dict[str, Any]) -> int:
    """Start a task as a fork of ours, and return its pid.

    Raises:
        OSError: it cannot be started; says at what.
    """
    reports, report = os.pipe()
    pid = os.fork()
    if not pid:
        _leave(report, request, outputs, place)
    os.close(report)
    said = b""
    while part := os.read(reports, 4096):
        said += part
    os.close(reports)
    if said:
        raise OSError(said.decode("utf-8", "replace"))
    return pid


def _leave(report: int, request: dict[str, Any], outputs: list[int], place: dict[str, Any]) -> NoReturn:
    """Become the task, in a child of ours; say what went wrong, and never come back."""
    try:
        _become_task(request, outputs, place)
    except BaseException as error:  # noqa: BLE001  top of the process
        with contextlib.suppress(OSError):
            os.write(report, f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:2000])
    finally:
        os._exit(NO_START_EXIT_CODE)


def _become_task(request: dict[str, Any], outputs: list[int], place: dict[str, Any]) -> None:
    os.setsid()
    for one in USUAL:
        signal.signal(one, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, outputs[0], outputs[-1])):
        os.dup2(descriptor, number)
    _limit_all(place["limits"])
    if place["uid"] is not None:
        os.setgroups([])
        os.setresgid(*[place["uid"]] * 3)
        os.setresuid(*[place["uid"]] * 3)
    if not place["namespaces"]:
        _prctl(PR_PDEATHSIG, signal.SIGKILL)
    os.chdir(request["cwd"])
    os.execve(request["argv"][0], request["argv"], request["env"])


def _prefer_for_oom() -> None:
    """Let the kernel rather end a task than its worker; children have what we have."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
        file.write(OOM_SCORE)


def _can_keep(limits: dict[str, int]) -> bool:
    """Tell whether we could still do our work with these limits, of which we may never have more again."""
    return all(limits.get(name, least) >= least for name, least in LEAST_LIMITS.items())


def _limit_all(limits: dict[str, int]) -> None:
    """Set limits, as far as we may."""
    for name, value in limits.items():
        number = getattr(resource, name)
        most = resource.getrlimit(number)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(number, (value, value))


def _enter(place: dict[str, Any]) -> None:
    """Become the first process of new namespaces; the one that we were waits, and ends like us."""
    if place["users"]:
        _own_users()
    _check("unshare", _libc.unshare(NEW_PIDS | NEW_MOUNTS | NEW_IPC | NEW_UTS))
    first = os.fork()
    if first:
        _, status = os.waitpid(first, 0)
        os._exit(min(os.waitstatus_to_exitcode(status) & 0xFF, NO_START_EXIT_CODE))
    _prctl(PR_PDEATHSIG, signal.SIGKILL)
    _arrange(place)


def _own_users() -> None:
    """Enter a user namespace in which we may make the other ones; we stay who we are."""
    uid, gid = os.getuid(), os.getgid()
    _check("unshare", _libc.unshare(NEW_USERS))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _arrange(place: dict[str, Any]) -> None:
    """Give tasks a view of the files in which only their own folder can be written."""
    top = place["top"]
    own = os.open(top, os.O_PATH | os.O_CLOEXEC)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    if place["own_proc"]:
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for target, folder in place["private"]:
        _mount(folder, target, "", MS_BIND)
    for path in place["hidden"]:
        if os.path.isdir(path):
            _mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV)
            os.chmod(path, 0o711)
        elif os.path.exists(path):
            _mount(os.devnull, path, "", MS_BIND)
    os.makedirs(top, 0o711, exist_ok=True)
    _mount(f"/proc/self/fd/{own}", top, "", MS_BIND)
    if _set_read_only("/", AT_RECURSIVE, is_set=True):
        for target in (top, *(target for target, _ in place["private"])):
            _set_read_only(target, 0, is_set=False)


def _set_read_only(path: str, flags: int, *, is_set: bool) -> bool:
    """Tell whether this kernel can do it, as they can since 5.12."""
    own = (ATTR_RDONLY, 0) if is_set else (0, ATTR_RDONLY)
    attributes = (ctypes.c_uint64 * 4)(*own, 0, 0)
    arguments = AT_FDCWD, os.fsencode(path), flags, ctypes.byref(attributes), ctypes.sizeof(attributes)
    return not _libc.syscall(MOUNT_SETATTR, *arguments)


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    arguments = os.fsencode(source), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), None
    _check(f"mount {target}", _libc.mount(*arguments))


def _prctl(option: int, value: int) -> None:
    _check("prctl", _libc.prctl(option, ctypes.c_ulong(value), _NOTHING, _NOTHING, _NOTHING))


def _check(what: str, result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2]))
