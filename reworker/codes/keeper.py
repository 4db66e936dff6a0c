"""Stands between a worker and the processes of tasks: starts them apart from all else, and ends them.

Run as a script: ``keeper.py LEASH PLACE``, once for each slot of a worker. `LEASH` is the number of a socket
whose other end only the worker holds, `PLACE` is `keepers.Place` in JSON. It imports none of our modules, so
that it is small: each task is a fork of it, or is spawned, which takes less time but not everybody can.

The worker sends ``run`` with three descriptors (a file with `keepers.Request` in JSON, stdout, stderr),
``term`` and ``kill``; the answers are ``{"ready": problem}``, and for each task ``{"refused": why}`` or
``{"ended": code}``. When the leash closes, whatever has ended the worker, all is killed.

With namespaces, the keeper is the first process of a pid namespace: at the end of a task one call kills all
that is left in it, daemons too, and when the keeper itself is killed, the kernel does. Without, what has been
left is looked for in /proc.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    #: starts a task by (request, stdout and stderr, place), and returns its pid.
    Start = Callable[[dict[str, Any], list[int], dict[str, Any]], int]

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

# Source: linux/sched.h, linux/mount.h, linux/prctl.h.
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USERS, NEW_PIDS = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
PR_PDEATHSIG, PR_DUMPABLE, PR_SUBREAPER, PR_NO_NEW_PRIVS = 1, 4, 36, 38
#: number of mount_setattr on every architecture; its flag for all below; its attribute for read-only.
MOUNT_SETATTR, AT_RECURSIVE, ATTR_RDONLY = 442, 0x8000, 0x1
AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


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
    except OSError as error:
        _tell(leash, {"ready": str(error)})
        os._exit(NO_START_EXIT_CODE)
    os.umask(0o022)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _noticed)
    is_spawning = place["namespaces"] and _can_keep(place["limits"])
    if is_spawning:
        _limit_all(place["limits"])
    _tell(leash, {"ready": ""})
    while True:
        word, descriptors = _received(leash)
        if word == b"run":
            _run(leash, reader, descriptors, place, _spawned if is_spawning else _forked)
            if place["namespaces"]:  # what one task leaves in it, the next one must not see
                _check("unshare", _libc.unshare(NEW_IPC))


def _run(
    leash: socket.socket, reader: int, descriptors: list[int], place: dict[str, Any], start: Start
) -> None:
    """Run one task to its end."""
    has_namespaces = place["namespaces"]
    with open(descriptors[0], "rb") as file:
        request = json.load(file)
    try:
        pid = start(request, descriptors[1:], place)
    except OSError as error:
        _end_all(has_namespaces=has_namespaces)
        _tell(leash, {"refused": str(error)})
        return
    finally:
        for one in descriptors[1:]:
            os.close(one)
    code, is_more = None, False
    while code is None:
        ready, _, _ = select.select([leash.fileno(), reader], [], [], 0 if is_more else None)
        if leash.fileno() in ready:
            _obey(_received(leash)[0], pid)
        if reader in ready:
            os.read(reader, 4096)
        code, is_more = _end_of(pid)
    _end_all(has_namespaces=has_namespaces)
    _tell(leash, {"ended": code})


def _obey(word: bytes, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if word == b"term":
            os.killpg(pid, signal.SIGTERM)
        elif word == b"kill":
            os.killpg(pid, signal.SIGKILL)


def _received(leash: socket.socket) -> tuple[bytes, list[int]]:
    """Return a message with its descriptors; end everything when there is nobody left to send one."""
    try:
        word, descriptors, _, _ = socket.recv_fds(leash, 16, 3)
    except OSError:
        word, descriptors = b"", []
    if not word:
        _end_all(has_namespaces=os.getpid() == 1)
        os._exit(0)
    for one in descriptors:
        os.set_inheritable(one, False)
    return word, descriptors


def _tell(leash: socket.socket, words: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the worker is gone, which the next look at the leash says
        leash.send(json.dumps(words).encode())


def _end_of(pid: int) -> tuple[int | None, bool]:
    """Return the exit code of a task that has ended, as a shell gives it, and whether more may be reaped."""
    code, ended = None, _reaped()
    if pid in ended:
        code = os.waitstatus_to_exitcode(ended[pid])
        code = code if code >= 0 else 128 - code
    return code, len(ended) == REAP_COUNT


def _reaped() -> dict[int, int]:
    """Reap some that have ended; return their statuses by pid."""
    found: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while len(found) < REAP_COUNT:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found[pid] = status
    return found


def _end_all(*, has_namespaces: bool) -> None:
    """Kill and reap all that the task has left."""
    with contextlib.suppress(ChildProcessError):  # there are none, as after most tasks
        while True:
            _reaped()
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if has_namespaces:
                _kill(-1, signal.SIGKILL)
            else:
                _kill_descendants()
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
    actions = [(os.POSIX_SPAWN_DUP2, one, to) for to, one in enumerate((nothing, *outputs))]
    argv = request["argv"]
    try:
        os.chdir(request["cwd"])
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, *groups[1:])
            os.setresuid(uid, *users[1:])
        return os.posix_spawn(
            argv[0], argv, request["env"], file_actions=actions, setsid=True, setsigdef=USUAL, resetids=True
        )
    finally:
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
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
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
    arguments = [ctypes.c_ulong(one) for one in (value, 0, 0, 0)]
    _check(f"prctl {option}", _libc.prctl(option, *arguments))


def _check(what: str, result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _noticed(_number: int, _frame: object) -> None:
    return None


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2]))
